//! Self-records: contacts as the network keeps them, for their owner alone.
//!
//! ```text
//! publisher  the Ed25519 key of derive(ContactPublisher, network, self secret)
//! label      derive(ContactLabel, network, self secret)                Owned, 365 days
//! slot       the first 8 bytes of derive(ContactSlot, network, self secret, contact's identity)
//! body       XChaCha20-Poly1305 under derive(ContactSeal, network, self secret), aad = slot,
//!            of the contact's [bytes](super::encoding), then zeros to 2,048
//! ```
//!
//! Storage nodes see that somebody keeps so many records of one length, not who or of whom: key, label
//! and slots follow from a secret of the identity.
//!
//! A record is never overwritten, but [merged](super::merge): read, merged, and written if the version
//! that was read is still the newest. What two devices write at one moment can both be told to have
//! failed or succeeded while the greater version wins; so it is read again after it was written.
//!
//! All of that is done by an errand of the [write queue](crate::writes), taken in the transaction that
//! changes the contact in the profile: what was changed offline is brought when the network is there,
//! whatever happens to the process, and another device's edit is no conflict to report, as both are kept.

use dht_context::{GetError, GetOptions, ListReport, Put, PutReport, Slot};
use dht_kad::lookup::Consistency;
use dht_kad::record::{Retention, Space};
use dht_kad::{NetworkName, UnixMs, ValidRecord};
use ed25519_dalek::SigningKey;
use zeroize::Zeroizing;

use super::encoding::{CONTACT_LEN_MAX, decode, encode};
use super::{Contact, Contacts, ContactsError};
use crate::bundle::RENEW_BELOW_MS;
use crate::client::Client;
use crate::derivation::{Purpose, derive};
use crate::entropy::{Entropy, EntropyError};
use crate::error::ClientError;
use crate::identity::Identity;
use crate::secret_box;
use crate::writes::is_overtaken;

/// Bytes of what is sealed, whatever the contact's name and however many secrets it has.
const PLAINTEXT_LEN: usize = 2_048;
const _: () = assert!(CONTACT_LEN_MAX <= PLAINTEXT_LEN);

/// How often a contact is merged and written again because another device was faster. Each time costs
/// a few round trips; devices that lose so often write without rest.
const ATTEMPTS_MAX: u32 = 8;

/// Who keeps contacts, and where.
pub(super) struct SelfRecords {
    signer: SigningKey,
    label: [u8; 32],
    network: NetworkName,
    identity: Identity,
}

/// A contact as the network has it.
pub(super) struct Stored {
    pub(super) contact: Contact,
    expires_at: UnixMs,
}

impl SelfRecords {
    pub(super) fn of(identity: &Identity, network: &NetworkName) -> Self {
        let own = identity.self_secret();
        let part = |purpose| derive(purpose, Some(network), &[own]);
        SelfRecords {
            signer: SigningKey::from_bytes(&part(Purpose::ContactPublisher)),
            label: *part(Purpose::ContactLabel),
            network: network.clone(),
            identity: identity.clone(),
        }
    }

    pub(super) fn publisher(&self) -> [u8; 32] {
        self.signer.verifying_key().to_bytes()
    }

    pub(super) fn label(&self) -> [u8; 32] {
        self.label
    }

    pub(super) fn slot(&self, contact: &[u8; 32]) -> u64 {
        let own = self.identity.self_secret();
        let name = derive(Purpose::ContactSlot, Some(&self.network), &[own, contact]);
        let [a, b, c, d, e, f, g, h, ..] = *name;
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }

    fn seal(&self, contact: &Contact, entropy: &Entropy) -> Result<Vec<u8>, EntropyError> {
        let mut text = encode(contact);
        text.resize(PLAINTEXT_LEN, 0);
        let aad = self.slot(&contact.identity).to_be_bytes();
        secret_box::seal(&self.key(), &aad, &text, entropy)
    }

    pub(super) fn key(&self) -> Zeroizing<[u8; 32]> {
        derive(Purpose::ContactSeal, Some(&self.network), &[self.identity.self_secret()])
    }

    /// The contact in a record of ours, if it can be read.
    pub(super) fn open(&self, record: &ValidRecord) -> Option<Stored> {
        let body = record.body()?;
        let text = secret_box::open(&self.key(), &record.slot().to_be_bytes(), &body)?;
        let contact = decode(&text)?;
        let expires_at = record.expires_at();
        (self.slot(&contact.identity) == record.slot()).then_some(Stored { contact, expires_at })
    }
}

impl Stored {
    /// Whether it says all that `contact` says, and for long enough.
    pub(super) fn says(&self, contact: &Contact, now: UnixMs) -> bool {
        self.expires_at >= now.after(RENEW_BELOW_MS) && !self.contact.clone().merge(contact)
    }
}

impl Client {
    /// Who keeps this client's contacts.
    pub(super) fn self_records(&self) -> Result<SelfRecords, ClientError> {
        Ok(SelfRecords::of(self.identity()?, self.network()))
    }

    /// All contacts that the network has.
    pub(super) async fn list_self_records(&self) -> Result<ListReport, ClientError> {
        let records = self.self_records()?;
        self.list(&records.publisher(), &records.label()).await
    }

    /// Brings a contact to the network, merged with what is there, and what is there to the profile.
    /// Nothing is reported if the network had all of it.
    pub(super) async fn save(&self, contact: &[u8; 32]) -> Result<Option<PutReport>, ClientError> {
        let records = self.self_records()?;
        let profile = Contacts::of(self.profile()?);
        let (mut error, mut written) = (None, None);
        for _ in 0..ATTEMPTS_MAX {
            let (stored, based_on) = self.stored(&records, contact).await?;
            let known = match &stored {
                Some(stored) => Some(profile.absorb(&stored.contact)?),
                None => profile.by_identity(contact)?,
            };
            let Some(known) = known else { return Ok(None) };
            if stored.as_ref().is_some_and(|stored| stored.says(&known, self.now())) {
                return Ok(written);
            }
            match self.write_self_record(&records, &known, based_on).await {
                // It is read again, and then either there or merged.
                Ok(report) => (written, error) = (Some(report), None),
                Err(ClientError::Put(fault)) if is_overtaken(&fault) => error = Some(fault),
                Err(other) => return Err(other),
            }
        }
        match error {
            Some(error) => Err(error.into()),
            None => Ok(written),
        }
    }

    /// What the network has of one contact, and the version that the next one is based on.
    async fn stored(
        &self,
        records: &SelfRecords,
        contact: &[u8; 32],
    ) -> Result<(Option<Stored>, Option<u64>), ClientError> {
        let publisher = records.publisher();
        let slot = Slot::Owned { publisher, label: records.label, slot: records.slot(contact) };
        let options = GetOptions { consistency: Consistency::Quorum, ..GetOptions::default() };
        match self.get(&slot, options).await {
            Ok(report) => match records.open(&report.record) {
                Some(stored) => Ok((Some(stored), Some(report.record.seq()))),
                // What a later version keeps there is not overwritten.
                None => Err(ContactsError::Unreadable(*contact).into()),
            },
            Err(ClientError::Get(GetError::NotFound)) => Ok((None, Some(0))),
            Err(ClientError::Get(GetError::Deleted)) => Ok((None, None)),
            Err(error) => Err(error),
        }
    }

    async fn write_self_record(
        &self,
        records: &SelfRecords,
        contact: &Contact,
        based_on: Option<u64>,
    ) -> Result<PutReport, ClientError> {
        let put = Put {
            space: Space::Owned,
            label: records.label,
            slot: records.slot(&contact.identity),
            retention: Retention::Days365,
            body: records.seal(contact, self.entropy())?.into(),
            expected_seq: based_on,
            quorum: None,
            first_version: false,
        };
        self.put_by(&records.signer, put).await
    }
}
