//! Key bundles: what others need of an identity before they can write to it.
//!
//! An identity's name is its signing key; what is sealed to it is sealed to another key of 1,216
//! bytes, which it publishes itself, with how much work it asks of strangers:
//!
//! ```text
//! publisher  the identity's key blinded for "bundle"       ([`blinding`](crate::identity::blinding))
//! label      derive(BundleLabel, network, identity)        slot 0, 365 days
//! body       XChaCha20-Poly1305 under derive(BundleSeal, network, identity) of
//!            version: u8 = 1 ‖ request_work: u8 ‖ sealing key: 1,216 bytes
//! ```
//!
//! So whoever knows the identity finds and reads the bundle, and is sure that the identity signed it; who
//! does not, storage nodes among them, sees that somebody keeps some 1,258 bytes.
//!
//! ```text
//! bundle_of ─▶ cache (profile, a day) ─▶ get ─▶ open ─▶ KeyBundle
//! publish, renewal ─▶ errand in the write queue ─▶ what the network has ─▶ put, unless it is as it should be
//! ```
//!
//! Without a profile there is no queue: then it is put at once, and who publishes hears whether that
//! worked.
//!
//! ```no_run
#![doc = include_str!("example.rs")]
//! ```

mod cache;
mod renewal;

use dht_context::{GetError, GetOptions, GetReport, Put, PutReport, Slot};
use dht_kad::record::{Retention, Space, WORK_BITS_MAX};
use dht_kad::{ErrorNumber, NetworkName, UnixMs, ValidRecord};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::client::Client;
use crate::derivation::{Purpose, derive};
use crate::error::ClientError;
use crate::identity::blinding::blinded_public;
use crate::sealing::{SEALING_PUBLIC_LEN, SealingPublic};
use crate::secret_box;

pub use renewal::RENEW_BELOW_MS;

/// The bits of work that are asked of a stranger's request unless the identity says otherwise: about
/// a second of one core.
pub const REQUEST_WORK_DEFAULT: u8 = 20;

/// For what the identity's key is blinded.
const WORD: &str = "bundle";
/// The version of the sealed text.
const VERSION: u8 = 1;
/// Version and work before the sealing key.
const HEAD_LEN: usize = 2;

/// What others need of an identity before they can write to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyBundle {
    /// The key to seal to.
    pub sealing: SealingPublic,
    /// The bits of work that a contact request to this identity has to bear.
    pub request_work: u8,
    /// When the bundle ends, unless it is renewed.
    pub expires_at: UnixMs,
}

/// A key bundle cannot be had or published.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BundleError {
    /// Nobody can have this identity.
    #[error("{} is nobody's identity; check its 64 digits", hex::encode(.0))]
    NotAnIdentity([u8; 32]),
    /// It has published none, or that has ended.
    #[error("{} has no key bundle in this network; its owner has to come online once", hex::encode(.0))]
    Missing([u8; 32]),
    /// What it published is not what it should be.
    #[error("the key bundle of {} cannot be read; its owner has to publish it again", hex::encode(.0))]
    Unreadable([u8; 32]),
    /// A later version of this program published it.
    #[error("the key bundle of {} has a later format; upgrade dht-client", hex::encode(.0))]
    UnknownVersion([u8; 32]),
    /// Nobody would do so much work.
    #[error("{0} bits of work are more than a request can bear; ask for at most {WORK_BITS_MAX}")]
    TooMuchWork(u8),
}

impl BundleError {
    /// The error's number.
    #[must_use]
    pub fn number(&self) -> ErrorNumber {
        match self {
            BundleError::NotAnIdentity(_) | BundleError::TooMuchWork(_) => ErrorNumber::Usage,
            BundleError::Missing(_) => ErrorNumber::NotFound,
            BundleError::Unreadable(_) => ErrorNumber::MalformedRecord,
            BundleError::UnknownVersion(_) => ErrorNumber::UnknownRecordVersion,
        }
    }
}

impl Client {
    /// Publishes this identity's key bundle, unless the network has it already. It asks of requests what
    /// it asked before, or [`REQUEST_WORK_DEFAULT`].
    ///
    /// # Cancel safety
    /// Nodes may have the bundle already. To publish again supersedes it.
    ///
    /// # Errors
    /// [`ClientError`]: without an identity, or as [`delivered`](Self::delivered); without a profile, as a
    /// get or a put.
    pub async fn publish_bundle(&self) -> Result<KeyBundle, ClientError> {
        self.publish_bundle_asking(self.own_request_work()?).await
    }

    /// Publishes this identity's key bundle, which asks `request_work` bits of work of every contact
    /// request.
    ///
    /// # Cancel safety
    /// As [`publish_bundle`](Self::publish_bundle).
    ///
    /// # Errors
    /// As [`publish_bundle`](Self::publish_bundle), and for more than [`WORK_BITS_MAX`] bits.
    pub async fn publish_bundle_asking(&self, request_work: u8) -> Result<KeyBundle, ClientError> {
        if u32::from(request_work) > WORK_BITS_MAX {
            return Err(BundleError::TooMuchWork(request_work).into());
        }
        let identity = self.identity()?;
        let expires_at = match self.profile() {
            Ok(_) => self.bundle_brought(Some(request_work)).await?,
            Err(_) => match self.bring_own_bundle(Some(request_work)).await? {
                Some(report) => report.record.expires_at(),
                None => self.fetch_bundle(&identity.public_key()).await?.bundle?.expires_at,
            },
        };
        let sealing = identity.sealing_key().public().clone();
        Ok(KeyBundle { sealing, request_work, expires_at })
    }

    /// Puts this identity's bundle, if given only over the version `expected_seq`.
    async fn put_own_bundle(
        &self,
        request_work: u8,
        expected_seq: Option<u64>,
    ) -> Result<PutReport, ClientError> {
        let identity = self.identity()?;
        let sealing = identity.sealing_key().public().clone();
        let bundle = KeyBundle { sealing, request_work, expires_at: UnixMs(0) };
        let public = identity.public_key();
        let put = Put {
            space: Space::Owned,
            label: label(self.network(), &public),
            slot: 0,
            retention: Retention::Days365,
            body: bundle.sealed(self, &public)?.into(),
            expected_seq,
            quorum: None,
            first_version: false,
        };
        let signer = identity.blinded(self.network(), WORD);
        let report = self.put_by(&signer, put).await?;
        self.note_own_bundle(request_work, report.record.expires_at())?;
        Ok(report)
    }

    /// The key bundle of an identity; for up to a day what the profile remembers of it, if there is
    /// a profile.
    ///
    /// # Cancel safety
    /// Reads only.
    ///
    /// # Errors
    /// [`ClientError`]: [`BundleError`] says what is wrong with it, or as a get.
    pub async fn bundle_of(&self, identity: &[u8; 32]) -> Result<KeyBundle, ClientError> {
        let profile = self.profile().ok();
        if let Some(profile) = profile
            && let Some(known) = cache::get(profile, identity, self.now())?
        {
            return Ok(known);
        }
        let bundle = self.fetch_bundle(identity).await?.bundle?;
        if let Some(profile) = profile {
            cache::put(profile, identity, &bundle, self.now())?;
        }
        Ok(bundle)
    }

    /// The key bundle of an identity as the network has it.
    async fn fetch_bundle(&self, identity: &[u8; 32]) -> Result<Fetched, ClientError> {
        let slot = slot(self.network(), identity)?;
        let missing = |seq| Fetched { seq, bundle: Err(BundleError::Missing(*identity)) };
        match self.get(&slot, GetOptions::default()).await {
            Ok(GetReport { record, .. }) => Ok(Fetched {
                seq: Some(record.seq()),
                bundle: KeyBundle::opened(self.network(), identity, &record),
            }),
            Err(ClientError::Get(GetError::NotFound)) => Ok(missing(Some(0))),
            Err(ClientError::Get(GetError::Deleted)) => Ok(missing(None)),
            Err(error) => Err(error),
        }
    }
}

/// What lies where a bundle should.
struct Fetched {
    /// The version's number; 0 if nothing lies there; unknown if something did.
    seq: Option<u64>,
    bundle: Result<KeyBundle, BundleError>,
}

impl KeyBundle {
    fn sealed(&self, client: &Client, identity: &[u8; 32]) -> Result<Vec<u8>, ClientError> {
        let mut text = vec![VERSION, self.request_work];
        text.extend_from_slice(&self.sealing.to_bytes());
        let key = seal_key(client.network(), identity);
        Ok(secret_box::seal(&key, &[], &text, client.entropy())?)
    }

    /// Reads what lies in the slot of `identity`, whose signature was checked.
    fn opened(
        network: &NetworkName,
        identity: &[u8; 32],
        record: &ValidRecord,
    ) -> Result<Self, BundleError> {
        let unreadable = || BundleError::Unreadable(*identity);
        let body = record.body().ok_or_else(unreadable)?;
        let key = seal_key(network, identity);
        let text = secret_box::open(&key, &[], &body).ok_or_else(unreadable)?;
        match text.split_first_chunk::<HEAD_LEN>() {
            Some(([VERSION, request_work], key)) if key.len() == SEALING_PUBLIC_LEN => {
                let sealing = SealingPublic::from_bytes(key).map_err(|_| unreadable())?;
                let expires_at = record.expires_at();
                Ok(KeyBundle { sealing, request_work: *request_work, expires_at })
            }
            Some(([version, _], _)) if *version > VERSION => {
                Err(BundleError::UnknownVersion(*identity))
            }
            _ => Err(unreadable()),
        }
    }
}

/// Where the bundle of `identity` lies.
fn slot(network: &NetworkName, identity: &[u8; 32]) -> Result<Slot, BundleError> {
    let publisher = blinded_public(network, identity, WORD);
    let publisher = publisher.ok_or(BundleError::NotAnIdentity(*identity))?;
    Ok(Slot::Owned { publisher, label: label(network, identity), slot: 0 })
}

fn label(network: &NetworkName, identity: &[u8; 32]) -> [u8; 32] {
    *derive(Purpose::BundleLabel, Some(network), &[identity])
}

fn seal_key(network: &NetworkName, identity: &[u8; 32]) -> Zeroizing<[u8; 32]> {
    derive(Purpose::BundleSeal, Some(network), &[identity])
}
