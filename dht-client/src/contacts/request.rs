//! A contact request: what one identity tells another before the two know each other.
//!
//! It lies in the recipient's inbox of requests, a topic in which everyone may write, under a key that
//! was made for it alone; so that nobody but the recipient sees who asks, or that two requests are of
//! one sender. It tells the secret of the direction from the sender to the recipient. The answer to a
//! request is a request the other way, and looks the same from outside.
//!
//! ```text
//! label      derive(RequestLabel, network, recipient)       Topic, slot 0, 7 days
//! publisher  a fresh Ed25519 key
//! work       as many bits as the recipient's key bundle asks for
//! body       sealed to the recipient's sealing key, info = "dht 1 contact request",
//!            aad = network ‖ recipient, of
//!   version u8 (1) ‖ answers u8 (0, 1) ‖ sender 32 ‖ secret 32 ‖ made_at u64 ‖ created_at u64 ‖
//!   name u16 + bytes (≤ 64, UTF-8) ‖ text u16 + bytes (≤ 1,024, UTF-8) ‖ signature 64 ‖ zeros to 2,048
//! signature  of the sender, over derive(RequestSigned, network,
//!            sender, recipient, publisher, all that comes before the signature)
//! ```
//!
//! The signature covers the publisher: a request that somebody copies under another key, at another's
//! expense or to make it last, is none. Numbers have the most significant byte first.

use dht_kad::time::{DAY_MS, MINUTE_MS};
use dht_kad::{NetworkName, UnixMs};
use ed25519_dalek::{Signature, Signer, VerifyingKey};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::derivation::{Purpose, derive};
use crate::entropy::Entropy;
use crate::fields::{FieldReader, put_short};
use crate::identity::Identity;
use crate::sealing::{SealError, SealingPublic};

/// What is sealed is a request.
const INFO: &[u8] = b"dht 1 contact request";
/// The version of the layout.
const VERSION: u8 = 1;
/// Bytes of every plaintext: its length tells nothing.
const PLAINTEXT_LEN: usize = 2_048;
/// Bytes of the sender's signature.
const SIGNATURE_LEN: usize = 64;
/// The longest name that a sender gives itself, in bytes.
pub const OWN_NAME_BYTES_MAX: usize = 64;
/// The longest text of a request, in bytes.
pub const TEXT_BYTES_MAX: usize = 1_024;
/// For how long a request counts: a day more than its record lives, since clocks differ.
const FRESH_MS: u64 = 8 * DAY_MS;
/// How far a sender's clock may be ahead: as much as a record's.
const AHEAD_MS: u64 = 10 * MINUTE_MS;

/// What a request says.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Request {
    /// Who asks: the Ed25519 public key.
    pub(super) sender: [u8; 32],
    /// The secret of the direction from the sender to the recipient.
    pub(super) secret: Zeroizing<[u8; 32]>,
    /// When the secret was made: not after the request.
    pub(super) made_at: UnixMs,
    /// When it was written.
    pub(super) created_at: UnixMs,
    /// Whether it answers a request of the recipient.
    pub(super) answers: bool,
    /// What the sender calls itself; may be empty.
    pub(super) name: String,
    /// What it says; may be empty.
    pub(super) text: String,
}

/// What was opened is no request to us.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub(super) enum RequestFault {
    /// Sealed to somebody else, or changed.
    #[error("it was sealed to somebody else, or changed")]
    Foreign,
    /// Not of this layout, or not signed by its sender for this place.
    #[error("it is not what its sender signed for this place")]
    Forged,
    /// Too old, or of the future.
    #[error("it is too old, or of the future")]
    Stale,
}

/// Where requests to an identity lie.
pub(super) fn label(network: &NetworkName, recipient: &[u8; 32]) -> [u8; 32] {
    *derive(Purpose::RequestLabel, Some(network), &[recipient])
}

/// The body of the record that carries the request, under `publisher`'s key.
pub(super) fn seal(
    request: &Request,
    network: &NetworkName,
    sender: &Identity,
    recipient: (&[u8; 32], &SealingPublic),
    publisher: &[u8; 32],
    entropy: &Entropy,
) -> Result<Vec<u8>, SealError> {
    let text = plaintext(request, network, sender, recipient.0, publisher);
    recipient.1.seal(INFO, &aad(network, recipient.0), &text, entropy)
}

/// What is sealed.
pub(super) fn plaintext(
    request: &Request,
    network: &NetworkName,
    sender: &Identity,
    recipient: &[u8; 32],
    publisher: &[u8; 32],
) -> Zeroizing<Vec<u8>> {
    // As much as is needed at once, so that no copy of the secret stays behind when it grows.
    let mut text = Zeroizing::new(Vec::with_capacity(PLAINTEXT_LEN));
    text.push(VERSION);
    text.push(u8::from(request.answers));
    text.extend_from_slice(&request.sender);
    text.extend_from_slice(&*request.secret);
    text.extend_from_slice(&request.made_at.0.to_be_bytes());
    text.extend_from_slice(&request.created_at.0.to_be_bytes());
    put_short(&mut text, request.name.as_bytes());
    put_short(&mut text, request.text.as_bytes());
    let message = signed(network, &request.sender, recipient, publisher, &text);
    text.extend_from_slice(&sender.signing_key().sign(&*message).to_bytes());
    text.resize(PLAINTEXT_LEN, 0);
    text
}

/// What `body` says, of a record of `publisher` in the inbox of `recipient`.
pub(super) fn open(
    body: &[u8],
    network: &NetworkName,
    recipient: &Identity,
    publisher: &[u8; 32],
    now: UnixMs,
) -> Result<Request, RequestFault> {
    let own = recipient.public_key();
    let text = recipient.sealing_key().open(INFO, &aad(network, &own), body);
    let text = text.map_err(|_| RequestFault::Foreign)?;
    let (request, signed_len) = read(&text).ok_or(RequestFault::Forged)?;
    let (fields, rest) = text.split_at_checked(signed_len).ok_or(RequestFault::Forged)?;
    let (signature, zeros) =
        rest.split_first_chunk::<SIGNATURE_LEN>().ok_or(RequestFault::Forged)?;
    if text.len() != PLAINTEXT_LEN || zeros.iter().any(|byte| *byte != 0) {
        return Err(RequestFault::Forged);
    }
    let message = signed(network, &request.sender, &own, publisher, fields);
    VerifyingKey::from_bytes(&request.sender)
        .and_then(|key| key.verify_strict(&*message, &Signature::from_bytes(signature)))
        .map_err(|_| RequestFault::Forged)?;
    let early = request.created_at > now.after(AHEAD_MS);
    if early || now.since(request.created_at) > FRESH_MS {
        return Err(RequestFault::Stale);
    }
    Ok(request)
}

/// The fields, and how many bytes they take.
fn read(text: &[u8]) -> Option<(Request, usize)> {
    let mut reader = FieldReader::new(text);
    if reader.u8()? != VERSION {
        return None;
    }
    let answers = match reader.u8()? {
        0 => false,
        1 => true,
        _ => return None,
    };
    let sender = reader.array()?;
    let secret = Zeroizing::new(reader.array()?);
    let (made_at, created_at) = (UnixMs(reader.u64()?), UnixMs(reader.u64()?));
    if made_at > created_at {
        return None;
    }
    let name = std::str::from_utf8(reader.short(OWN_NAME_BYTES_MAX)?).ok()?.to_owned();
    let said = std::str::from_utf8(reader.short(TEXT_BYTES_MAX)?).ok()?.to_owned();
    let length = text.len() - reader.rest().len();
    Some((Request { sender, secret, made_at, created_at, answers, name, text: said }, length))
}

/// What the sender signs.
fn signed(
    network: &NetworkName,
    sender: &[u8; 32],
    recipient: &[u8; 32],
    publisher: &[u8; 32],
    fields: &[u8],
) -> Zeroizing<[u8; 32]> {
    derive(Purpose::RequestSigned, Some(network), &[sender, recipient, publisher, fields])
}

fn aad(network: &NetworkName, recipient: &[u8; 32]) -> Vec<u8> {
    [network.as_str().as_bytes(), recipient].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sealing::SEAL_OVERHEAD;

    const NOW: UnixMs = UnixMs(1_800_000_000_000);
    const PUBLISHER: [u8; 32] = [5; 32];

    fn main() -> NetworkName {
        "main".parse().unwrap()
    }

    fn alice() -> Identity {
        Identity::from_root(&[1; 32])
    }

    fn bob() -> Identity {
        Identity::from_root(&[2; 32])
    }

    fn request() -> Request {
        Request {
            sender: alice().public_key(),
            secret: [3; 32].into(),
            made_at: UnixMs(NOW.0 - 1),
            created_at: NOW,
            answers: false,
            name: "alice".to_owned(),
            text: "It is me, from the bus.".to_owned(),
        }
    }

    fn sealed_by(signer: &Identity, request: &Request) -> Vec<u8> {
        let to = bob();
        let recipient = (&to.public_key(), to.sealing_key().public());
        seal(request, &main(), signer, recipient, &PUBLISHER, &Entropy::from_seed([9; 32])).unwrap()
    }

    fn opened(body: &[u8], now: UnixMs) -> Result<Request, RequestFault> {
        open(body, &main(), &bob(), &PUBLISHER, now)
    }

    /// Whatever text, sealed to Bob as a request is.
    fn sealed_text(text: &[u8]) -> Vec<u8> {
        let to = bob();
        let aad = aad(&main(), &to.public_key());
        let entropy = Entropy::from_seed([9; 32]);
        to.sealing_key().public().seal(INFO, &aad, text, &entropy).unwrap()
    }

    fn text_of(body: &[u8]) -> Vec<u8> {
        let to = bob();
        to.sealing_key().open(INFO, &aad(&main(), &to.public_key()), body).unwrap().to_vec()
    }

    #[test]
    fn a_request_is_opened_as_it_was_written_and_its_length_tells_nothing() {
        let short =
            Request { name: String::new(), text: String::new(), answers: true, ..request() };
        let long = Request {
            name: "n".repeat(OWN_NAME_BYTES_MAX),
            text: "t".repeat(TEXT_BYTES_MAX),
            ..request()
        };
        for request in [request(), short, long] {
            let body = sealed_by(&alice(), &request);
            assert_eq!(body.len(), PLAINTEXT_LEN + SEAL_OVERHEAD);
            assert!(opened(&body, NOW) == Ok(request));
        }
    }

    #[test]
    fn no_byte_of_a_request_can_be_changed_or_cut() {
        let body = sealed_by(&alice(), &request());
        // Every byte of the text, as somebody could who sealed it himself; the signature ends there.
        let text = text_of(&body);
        let end = read(&text).unwrap().1 + SIGNATURE_LEN;
        for at in (0..end).chain([end, PLAINTEXT_LEN - 1]) {
            let mut changed = text.clone();
            changed[at] ^= 1;
            assert!(opened(&sealed_text(&changed), NOW) == Err(RequestFault::Forged), "byte {at}");
        }
        for length in (0..end + 2).chain([PLAINTEXT_LEN - 1]) {
            let cut = sealed_text(&text[..length]);
            assert!(opened(&cut, NOW) == Err(RequestFault::Forged), "{length} bytes");
        }
        for at in (0..body.len()).step_by(97).chain([body.len() - 1]) {
            let mut changed = body.clone();
            changed[at] ^= 1;
            assert!(opened(&changed, NOW) == Err(RequestFault::Foreign), "byte {at} of the body");
            assert!(opened(&body[..at], NOW) == Err(RequestFault::Foreign), "{at} bytes of it");
        }
    }

    #[test]
    fn whatever_is_sealed_as_a_request_is_read_without_harm() {
        let text = text_of(&sealed_by(&alice(), &request()));
        // Lengths that lie: the two of the name lie after 82 bytes.
        for length in 0..=u16::MAX {
            let mut lying = text.clone();
            lying[82..84].copy_from_slice(&length.to_be_bytes());
            if let Some((request, end)) = read(&lying) {
                assert!(end <= PLAINTEXT_LEN && request.name.len() <= OWN_NAME_BYTES_MAX);
            }
        }
        for byte in 0..=u8::MAX {
            let _ = read(&vec![byte; PLAINTEXT_LEN]);
        }
    }

    #[test]
    fn a_request_of_somebody_else_is_forged() {
        let eve = Identity::from_root(&[7; 32]);
        assert!(opened(&sealed_by(&eve, &request()), NOW) == Err(RequestFault::Forged));
        // A key of small order, under which one signature fits many messages.
        let weak = Request { sender: [0; 32], ..request() };
        assert!(opened(&sealed_by(&eve, &weak), NOW) == Err(RequestFault::Forged));
    }

    #[test]
    fn a_request_counts_in_its_place_alone() {
        let body = sealed_by(&alice(), &request());
        let replayed = open(&body, &main(), &bob(), &[6; 32], NOW);
        assert!(replayed == Err(RequestFault::Forged), "copied under another key");
        let elsewhere = open(&body, &"test".parse().unwrap(), &bob(), &PUBLISHER, NOW);
        assert!(elsewhere == Err(RequestFault::Foreign), "in another network");
        let eve = Identity::from_root(&[7; 32]);
        assert!(open(&body, &main(), &eve, &PUBLISHER, NOW) == Err(RequestFault::Foreign));
        // Bob passes Alice's words on to Carol, as if she had written to her.
        let carol = Identity::from_root(&[8; 32]);
        let aad = aad(&main(), &carol.public_key());
        let entropy = Entropy::from_seed([9; 32]);
        let passed_on =
            carol.sealing_key().public().seal(INFO, &aad, &text_of(&body), &entropy).unwrap();
        let read = open(&passed_on, &main(), &carol, &PUBLISHER, NOW);
        assert!(read == Err(RequestFault::Forged), "written to another");
    }

    #[test]
    fn a_request_counts_for_eight_days() {
        let body = sealed_by(&alice(), &request());
        assert!(opened(&body, NOW.after(FRESH_MS)).is_ok());
        assert!(opened(&body, NOW.after(FRESH_MS + 1)) == Err(RequestFault::Stale));
        assert!(opened(&body, UnixMs(NOW.0 - AHEAD_MS)).is_ok());
        assert!(opened(&body, UnixMs(NOW.0 - AHEAD_MS - 1)) == Err(RequestFault::Stale));
    }
}
