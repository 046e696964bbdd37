//! A contact as bytes: a row of the profile, and the inside of a self-record.
//!
//! ```text
//! version u8 (1) ‖ identity 32 ‖ name u16 + bytes (UTF-8) ‖ named_at u64 ‖ since u64 ‖
//! blocked u8 (0, 1) ‖ blocked_changed_at u64 ‖ accepted_at u64 ‖
//! secrets out: count u8 (≤ 4) × (made_at u64 ‖ secret 32) ‖ secrets in: likewise ‖
//! sealing key u16 + bytes (0 or 1,216) ‖ sealing_at u64 ‖ told_at u64 ‖ told u8 ‖ heard_at u64 ‖
//! anything: ignored, so that later versions can add to it
//! ```
//!
//! Numbers have the most significant byte first; moments are in Unix milliseconds, zero for none.

use dht_kad::UnixMs;
use zeroize::Zeroizing;

use super::{Contact, DirectionSecret, NAME_CHARS_MAX, SECRETS_MAX};
use crate::fields::{FieldReader, put_short};
use crate::sealing::SEALING_PUBLIC_LEN;

/// The version of this layout.
const VERSION: u8 = 1;
/// Bytes of the longest name: a character has at most four.
const NAME_BYTES_MAX: usize = 4 * NAME_CHARS_MAX;

/// Bytes of the longest contact; all are made as long in a self-record.
pub(super) const CONTACT_LEN_MAX: usize = 1
    + 32
    + (2 + NAME_BYTES_MAX)
    + 2 * 8
    + (1 + 8 + 8)
    + 2 * (1 + SECRETS_MAX * (8 + 32))
    + (2 + SEALING_PUBLIC_LEN)
    + (8 + 8 + 1 + 8);

/// The contact's bytes, at most [`CONTACT_LEN_MAX`].
pub(super) fn encode(contact: &Contact) -> Zeroizing<Vec<u8>> {
    // As much as may be needed at once, so that no copy of a secret stays behind when it grows.
    let mut bytes = Zeroizing::new(Vec::with_capacity(CONTACT_LEN_MAX));
    let to = &mut *bytes;
    to.push(VERSION);
    to.extend_from_slice(&contact.identity);
    put_short(to, contact.name.as_bytes());
    put_moments(to, &[contact.named_at, contact.since]);
    to.push(u8::from(contact.blocked));
    put_moments(to, &[contact.blocked_changed_at, contact.accepted_at]);
    for secrets in [&contact.secrets_out, &contact.secrets_in] {
        // Never more than SECRETS_MAX.
        to.push(u8::try_from(secrets.len()).unwrap_or(u8::MAX));
        for secret in secrets {
            put_moments(to, &[secret.made_at]);
            to.extend_from_slice(&*secret.secret);
        }
    }
    put_short(to, &contact.sealing);
    put_moments(to, &[contact.sealing_at, contact.told_at]);
    to.push(contact.told);
    put_moments(to, &[contact.heard_at]);
    bytes
}

/// The contact with these bytes, if they are one.
pub(super) fn decode(bytes: &[u8]) -> Option<Contact> {
    let mut reader = FieldReader::new(bytes);
    if reader.u8()? != VERSION {
        return None;
    }
    let identity = reader.array()?;
    let name = std::str::from_utf8(reader.short(NAME_BYTES_MAX)?).ok()?.to_owned();
    let (named_at, since) = (moment(&mut reader)?, moment(&mut reader)?);
    let blocked = match reader.u8()? {
        0 => false,
        1 => true,
        _ => return None,
    };
    let (blocked_changed_at, accepted_at) = (moment(&mut reader)?, moment(&mut reader)?);
    let (secrets_out, secrets_in) = (secrets(&mut reader)?, secrets(&mut reader)?);
    let sealing = reader.short(SEALING_PUBLIC_LEN)?.to_vec();
    let (sealing_at, told_at) = (moment(&mut reader)?, moment(&mut reader)?);
    let told = reader.u8()?;
    let heard_at = moment(&mut reader)?;
    Some(Contact {
        identity,
        name,
        since,
        named_at,
        blocked,
        blocked_changed_at,
        accepted_at,
        secrets_out,
        secrets_in,
        sealing,
        sealing_at,
        told_at,
        told,
        heard_at,
    })
}

fn put_moments(to: &mut Vec<u8>, moments: &[UnixMs]) {
    for moment in moments {
        to.extend_from_slice(&moment.0.to_be_bytes());
    }
}

fn moment(reader: &mut FieldReader<'_>) -> Option<UnixMs> {
    reader.u64().map(UnixMs)
}

fn secrets(reader: &mut FieldReader<'_>) -> Option<Vec<DirectionSecret>> {
    let count = usize::from(reader.u8()?);
    let secret = |_| {
        let made_at = moment(reader)?;
        Some(DirectionSecret { made_at, secret: Zeroizing::new(reader.array()?) })
    };
    (count <= SECRETS_MAX).then(|| (0..count).map(secret).collect())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn longest() -> Contact {
        let mut contact = Contact::new([7; 32], "\u{1F600}".repeat(NAME_CHARS_MAX), UnixMs(1_000));
        for number in 1..=4 {
            let secret = |byte| DirectionSecret {
                secret: [byte; 32].into(),
                made_at: UnixMs(u64::from(number)),
            };
            contact.add_secret_out(secret(number));
            contact.add_secret_in(secret(0x80 | number));
        }
        contact.sealing = vec![9; SEALING_PUBLIC_LEN];
        (contact.sealing_at, contact.told_at, contact.told) = (UnixMs(1), UnixMs(2), 3);
        (contact.blocked, contact.blocked_changed_at) = (true, UnixMs(4));
        (contact.accepted_at, contact.heard_at) = (UnixMs(5), UnixMs(6));
        contact
    }

    #[test]
    fn a_contact_survives_its_bytes_and_what_is_added_to_them() {
        let longest = longest();
        let bytes = encode(&longest);
        assert_eq!(bytes.len(), CONTACT_LEN_MAX);
        assert_eq!(decode(&bytes), Some(longest.clone()));
        assert_eq!(decode(&[&bytes[..], b"later"].concat()), Some(longest));
        let new = Contact::new([1; 32], "bob".to_owned(), UnixMs(3));
        assert_eq!(decode(&encode(&new)), Some(new));
    }

    #[test]
    fn what_is_cut_short_or_of_another_version_is_no_contact() {
        let bytes = encode(&longest());
        for length in 0..bytes.len() {
            assert_eq!(decode(&bytes[..length]), None, "{length}");
        }
        let mut later = bytes.to_vec();
        later[0] = 2;
        assert_eq!(decode(&later), None);
    }
}
