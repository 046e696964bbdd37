//! Requests that wait for the user's word, and which records of the inbox were read already.
//!
//! ```text
//! requests       sender ─▶ what it asks, at most one each, the newest
//! requests seen  digest of a record (16 bytes) ─▶ when the record ends
//! ```
//!
//! Both are bounded. Where too many ask, those that show the least work go first. A record that was
//! read is not read again, so that to show it once more does nothing.

use dht_kad::UnixMs;
use redb::{ReadableTable, ReadableTableMetadata, TableDefinition, TableError, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::merge::add_secret;
use super::request::Request;
use super::{ContactsError, DirectionSecret, identity_of};
use crate::profile::{Profile, ProfileError, TableFault, from_row, to_row};

const PENDING: TableDefinition<&[u8; 32], &[u8]> = TableDefinition::new("requests");
const SEEN: TableDefinition<&[u8; 16], u64> = TableDefinition::new("requests seen");

/// What is said where a row is not what was written.
const WHAT: &str = "a contact request";

/// Requests that are kept and shown: more than anyone reads.
pub(super) const PENDING_MAX: usize = 1_000;
/// Records that are known to have been read: several times what one listing shows. When there are
/// more, those that end first are forgotten; to read them again costs a little time, and does nothing.
const SEEN_MAX: u64 = 8_192;

/// Somebody asks to become a contact.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ContactRequest {
    /// What the request is called: the first eight bytes of the sender's identity.
    pub id: [u8; 8],
    /// Who asks: the Ed25519 public key, proven by its signature.
    pub sender: [u8; 32],
    /// What the sender calls itself; proves nothing, and may be empty.
    pub name: String,
    /// What it says; may be empty.
    pub text: String,
    /// When it was written, by the sender's clock.
    pub created_at: UnixMs,
    /// The leading zero bits of work that it shows.
    pub work: u32,
}

/// A row of [`PENDING`].
#[derive(Serialize, Deserialize)]
struct Row {
    /// When each was made, and itself.
    secrets: Vec<(u64, [u8; 32])>,
    name: String,
    text: String,
    created_at: u64,
    expires_at: u64,
    work: u32,
}

/// A request that waits, with the secrets that its sender told: several, if its devices asked at one
/// moment.
pub(super) struct Pending {
    pub(super) request: ContactRequest,
    pub(super) secrets: Vec<DirectionSecret>,
    expires_at: UnixMs,
}

impl Pending {
    pub(super) fn of(request: Request, work: u32, expires_at: UnixMs) -> Self {
        let Request { sender, secret, made_at, created_at, name, text, .. } = request;
        let [a, b, c, d, e, f, g, h, ..] = sender;
        let id = [a, b, c, d, e, f, g, h];
        let request = ContactRequest { id, sender, name, text, created_at, work };
        let secrets = vec![DirectionSecret { secret, made_at }];
        Pending { request, secrets, expires_at }
    }

    fn from_row(sender: [u8; 32], bytes: &[u8]) -> Result<Self, TableFault> {
        let Row { secrets, name, text, created_at, expires_at, work } = from_row(WHAT, bytes)?;
        let [a, b, c, d, e, f, g, h, ..] = sender;
        let id = [a, b, c, d, e, f, g, h];
        let created_at = UnixMs(created_at);
        let secret = |(made_at, secret): (u64, [u8; 32])| DirectionSecret {
            secret: secret.into(),
            made_at: UnixMs(made_at),
        };
        Ok(Pending {
            request: ContactRequest { id, sender, name, text, created_at, work },
            secrets: secrets.into_iter().map(secret).collect(),
            expires_at: UnixMs(expires_at),
        })
    }

    fn to_row(&self) -> Result<Vec<u8>, TableFault> {
        let ContactRequest { name, text, created_at, work, .. } = &self.request;
        let secret = |secret: &DirectionSecret| (secret.made_at.0, *secret.secret);
        let row = Row {
            secrets: self.secrets.iter().map(secret).collect(),
            name: name.clone(),
            text: text.clone(),
            created_at: created_at.0,
            expires_at: self.expires_at.0,
            work: *work,
        };
        to_row(WHAT, &row)
    }

    /// Takes in another request of the same sender: what it says if it is newer, its secrets anyway.
    fn merge(&mut self, other: Pending) {
        for secret in other.secrets {
            add_secret(&mut self.secrets, secret);
        }
        if other.request.created_at > self.request.created_at {
            self.request = other.request;
            self.expires_at = other.expires_at;
        }
    }
}

/// All requests that wait, those that show the most work first.
pub(super) fn list(profile: &Profile, now: UnixMs) -> Result<Vec<Pending>, ProfileError> {
    profile.read(|transaction| {
        let table = match transaction.open_table(PENDING) {
            Ok(table) => table,
            Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let mut all = rows(&table)?;
        all.retain(|pending| pending.expires_at > now);
        Ok(all)
    })
}

/// The request with this name, or of this identity in hex.
pub(super) fn named(profile: &Profile, name: &str, now: UnixMs) -> Result<Pending, ContactsError> {
    let sender = identity_of(name);
    let mut id = [0; 8];
    let id = hex::decode_to_slice(name, &mut id).ok().map(|()| id);
    let mut fitting = list(profile, now)?
        .into_iter()
        .filter(|pending| Some(pending.request.sender) == sender || Some(pending.request.id) == id);
    match (fitting.next(), fitting.next()) {
        (Some(pending), None) => Ok(pending),
        (Some(_), Some(_)) => Err(ContactsError::Ambiguous(name.to_owned())),
        (None, _) => Err(ContactsError::UnknownRequest(name.to_owned())),
    }
}

/// Keeps a request, merged with what its sender asked before; and drops what has ended or is too much.
pub(super) fn put_in(
    transaction: &WriteTransaction,
    mut pending: Pending,
    now: UnixMs,
) -> Result<(), TableFault> {
    let mut table = transaction.open_table(PENDING)?;
    let sender = pending.request.sender;
    let known = table.get(&sender)?.map(|row| Pending::from_row(sender, row.value()));
    if let Some(known) = known.transpose()? {
        pending.merge(known);
    }
    table.insert(&sender, pending.to_row()?.as_slice())?;
    for (place, known) in rows(&table)?.iter().enumerate() {
        if known.expires_at <= now || place >= PENDING_MAX {
            table.remove(&known.request.sender)?;
        }
    }
    Ok(())
}

/// Forgets what somebody asked.
pub(super) fn remove_in(
    transaction: &WriteTransaction,
    sender: &[u8; 32],
) -> Result<(), TableFault> {
    transaction.open_table(PENDING)?.remove(sender)?;
    Ok(())
}

/// Whether this record was read already.
pub(super) fn is_seen(profile: &Profile, digest: &[u8; 32]) -> Result<bool, ProfileError> {
    profile.read(|transaction| match transaction.open_table(SEEN) {
        Ok(table) => Ok(table.get(&short(digest))?.is_some()),
        Err(TableError::TableDoesNotExist(_)) => Ok(false),
        Err(error) => Err(error.into()),
    })
}

/// Takes note that a record was read, which ends at `expires_at`.
pub(super) fn see_in(
    transaction: &WriteTransaction,
    digest: &[u8; 32],
    expires_at: UnixMs,
    now: UnixMs,
) -> Result<(), TableFault> {
    let mut table = transaction.open_table(SEEN)?;
    table.insert(&short(digest), expires_at.0)?;
    if table.len()? > SEEN_MAX {
        // Half of them at once, so that this is rare.
        let ends: Result<Vec<u64>, _> =
            table.iter()?.map(|row| row.map(|(_, end)| end.value())).collect();
        let mut ends = ends?;
        ends.sort_unstable();
        let middle = ends.get(ends.len() / 2).copied().unwrap_or(0).max(now.0);
        table.retain(|_, end| end > middle)?;
        table.insert(&short(digest), expires_at.0)?;
    }
    Ok(())
}

fn short(digest: &[u8; 32]) -> [u8; 16] {
    let mut short = [0; 16];
    short.iter_mut().zip(digest).for_each(|(to, from)| *to = *from);
    short
}

/// All rows, those that show the most work first, of equals the oldest.
fn rows(
    table: &impl ReadableTable<&'static [u8; 32], &'static [u8]>,
) -> Result<Vec<Pending>, TableFault> {
    let mut all = Vec::new();
    for row in table.iter()? {
        let (sender, bytes) = row?;
        all.push(Pending::from_row(*sender.value(), bytes.value())?);
    }
    all.sort_by_key(|Pending { request, .. }| {
        (std::cmp::Reverse(request.work), request.created_at, request.sender)
    });
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::Entropy;

    const NOW: UnixMs = UnixMs(1_000);

    fn profile() -> Profile {
        Profile::in_memory(&[1; 32], &"main".parse().unwrap(), &Entropy::system()).unwrap()
    }

    fn pending(number: u32, work: u32, created_at: u64) -> Pending {
        let mut sender = [0; 32];
        sender[..4].copy_from_slice(&number.to_be_bytes());
        let request = Request {
            sender,
            secret: [number.to_be_bytes()[3]; 32].into(),
            made_at: UnixMs(created_at),
            created_at: UnixMs(created_at),
            answers: false,
            name: "n".to_owned(),
            text: format!("{created_at}"),
        };
        Pending::of(request, work, UnixMs(2_000))
    }

    #[test]
    fn a_sender_has_one_request_the_newest_and_the_most_work_comes_first() {
        let profile = profile();
        let put = |pending: Pending| {
            profile.write(|transaction| put_in(transaction, pending, NOW)).unwrap();
        };
        for request in [pending(1, 9, 5), pending(2, 20, 5), pending(1, 9, 7), pending(1, 30, 6)] {
            put(request);
        }
        let texts = |now| -> Vec<String> {
            list(&profile, now).unwrap().into_iter().map(|one| one.request.text).collect()
        };
        assert_eq!(texts(NOW), ["5", "7"]);
        assert_eq!(named(&profile, "0000000100000000", NOW).unwrap().request.text, "7");
        assert_eq!(
            named(&profile, &hex::encode(pending(2, 0, 0).request.sender), NOW)
                .unwrap()
                .request
                .work,
            20
        );
        assert!(matches!(named(&profile, "07", NOW), Err(ContactsError::UnknownRequest(_))));
        let secrets = named(&profile, "0000000100000000", NOW).unwrap().secrets;
        assert_eq!(secrets.len(), 1, "told three times");
        assert_eq!(texts(UnixMs(2_000)), Vec::<String>::new(), "they end");
        profile
            .write(|transaction| remove_in(transaction, &pending(1, 0, 0).request.sender))
            .unwrap();
        assert_eq!(texts(NOW), ["5"]);
    }

    #[test]
    fn of_too_many_requests_the_cheapest_go() {
        let profile = profile();
        let most = u32::try_from(PENDING_MAX).unwrap();
        profile
            .write(|transaction| {
                for number in 0..most {
                    transaction.open_table(PENDING)?.insert(
                        &pending(number, 0, 0).request.sender,
                        pending(number, 10 + number % 2, 5).to_row()?.as_slice(),
                    )?;
                }
                put_in(transaction, pending(most, 20, 5), NOW)?;
                put_in(transaction, pending(most + 1, 5, 5), NOW)
            })
            .unwrap();
        let all = list(&profile, NOW).unwrap();
        assert_eq!(all.len(), PENDING_MAX);
        assert_eq!(all[0].request.work, 20);
        assert!(
            all.iter().all(|one| one.request.work >= 10),
            "the cheap newcomer is not among them"
        );
    }

    #[test]
    fn what_was_read_is_remembered_within_a_bound() {
        let profile = profile();
        let digest = |number: u64| {
            let mut digest = [7; 32];
            digest[..8].copy_from_slice(&number.to_be_bytes());
            digest
        };
        profile
            .write(|transaction| {
                (0..=SEEN_MAX).try_for_each(|number| {
                    see_in(transaction, &digest(number), UnixMs(2_000 + number), NOW)
                })
            })
            .unwrap();
        assert!(is_seen(&profile, &digest(SEEN_MAX)).unwrap());
        assert!(is_seen(&profile, &digest(SEEN_MAX - 1)).unwrap());
        assert!(!is_seen(&profile, &digest(0)).unwrap(), "it would have ended first");
        assert!(!is_seen(&profile, &digest(SEEN_MAX + 1)).unwrap());
    }
}
