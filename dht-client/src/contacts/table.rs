//! [`Contacts`]: the contacts of a profile, one row each.

use redb::{ReadTransaction, ReadableTable, TableDefinition, TableError, WriteTransaction};

use dht_kad::UnixMs;

use super::encoding::{decode, encode};
use super::{CONTACTS_MAX, Contact, ContactsError, checked_name, identity_of};
use crate::profile::{Profile, ProfileError, TableFault};

/// Identity to contact.
const CONTACTS: TableDefinition<&[u8; 32], &[u8]> = TableDefinition::new("contacts");

/// The number that a name gets at most so that it differs from those of other contacts.
const NUMBER_MAX: u32 = 100;

/// What is said where a row is not what was written.
const WHAT: &str = "a contact";

/// The contacts of a profile: cheap to clone, and nothing but a view of it.
#[derive(Clone, Debug)]
pub struct Contacts {
    profile: Profile,
}

impl Contacts {
    /// Those of this profile.
    #[must_use]
    pub fn of(profile: &Profile) -> Self {
        Contacts { profile: profile.clone() }
    }

    /// All of them, by name.
    ///
    /// # Errors
    /// [`ProfileError`].
    pub fn list(&self) -> Result<Vec<Contact>, ProfileError> {
        let mut all = self.profile.read(all)?;
        all.sort_by(|one, other| (&one.name, one.identity).cmp(&(&other.name, other.identity)));
        Ok(all)
    }

    /// The one with this name, or this identity in hex.
    ///
    /// # Errors
    /// [`ContactsError`]: nobody is called so, or several are.
    pub fn get(&self, name_or_identity: &str) -> Result<Contact, ContactsError> {
        let unknown = || ContactsError::Unknown(name_or_identity.to_owned());
        if let Some(identity) = identity_of(name_or_identity) {
            return self.by_identity(&identity)?.ok_or_else(unknown);
        }
        let all = self.profile.read(all)?;
        let mut named = all.into_iter().filter(|contact| contact.name == name_or_identity);
        match (named.next(), named.next()) {
            (Some(contact), None) => Ok(contact),
            (Some(_), Some(_)) => Err(ContactsError::Ambiguous(name_or_identity.to_owned())),
            (None, _) => Err(unknown()),
        }
    }

    /// The one with this identity, if it is known.
    ///
    /// # Errors
    /// [`ProfileError`].
    pub fn by_identity(&self, identity: &[u8; 32]) -> Result<Option<Contact>, ProfileError> {
        self.profile.read(|transaction| {
            let table = match transaction.open_table(CONTACTS) {
                Ok(table) => table,
                Err(TableError::TableDoesNotExist(_)) => return Ok(None),
                Err(error) => return Err(error.into()),
            };
            table.get(identity)?.map(|row| contact_of(row.value())).transpose()
        })
    }

    /// Keeps a contact as it is, instead of what was kept of it.
    #[cfg(test)]
    fn put(&self, contact: &Contact) -> Result<(), ProfileError> {
        self.profile.write(|transaction| put_in(transaction, contact))
    }

    /// Takes in what is known of a contact elsewhere, and returns what is known then.
    pub(crate) fn absorb(&self, contact: &Contact) -> Result<Contact, ProfileError> {
        self.profile.write(|transaction| absorb_in(transaction, contact))
    }

    /// Changes a contact that is known, and returns it; nothing if it is not.
    pub(crate) fn change(
        &self,
        identity: &[u8; 32],
        change: impl FnOnce(&mut Contact),
    ) -> Result<Option<Contact>, ProfileError> {
        self.profile.write(|transaction| {
            let Some(known) = get_in(transaction, identity)? else { return Ok(None) };
            let mut changed = known.clone();
            change(&mut changed);
            if changed != known {
                put_in(transaction, &changed)?;
            }
            Ok(Some(changed))
        })
    }

    /// Takes note that a contact has our secret: it acknowledges under it. From then on it is not told
    /// again. A letter of it shows nothing, which needs its own secret alone.
    pub(crate) fn heard_from(&self, identity: &[u8; 32], now: UnixMs) -> Result<(), ProfileError> {
        let known = self.by_identity(identity)?;
        // Only the first time is written: this is called again and again.
        if known.is_some_and(|contact| contact.heard_at == UnixMs(0)) {
            self.change(identity, |contact| contact.heard_at = now)?;
        }
        Ok(())
    }

    /// The name that `wanted` becomes for this identity: itself, checked, and free.
    pub(crate) fn free_name(
        &self,
        wanted: &str,
        identity: &[u8; 32],
    ) -> Result<String, ContactsError> {
        let name = checked_name(wanted)?;
        match self.taken(&name, identity)? {
            true => Err(ContactsError::NameTaken(name)),
            false => Ok(name),
        }
    }

    /// A name for somebody new who calls itself `hint`: that if it can be one and is free, or with a
    /// number, or the beginning of its identity.
    pub(crate) fn name_for(
        &self,
        hint: &str,
        identity: &[u8; 32],
    ) -> Result<String, ContactsError> {
        if let Ok(name) = checked_name(hint) {
            let numbered = (2..=NUMBER_MAX).map(|number| format!("{name} {number}"));
            for candidate in std::iter::once(name.clone()).chain(numbered) {
                if let Ok(free) = self.free_name(&candidate, identity) {
                    return Ok(free);
                }
            }
        }
        let [a, b, c, d, e, f, ..] = *identity;
        self.free_name(&hex::encode([a, b, c, d, e, f]), identity)
    }

    /// That another contact has this name; and whether there is room for one more.
    fn taken(&self, name: &str, identity: &[u8; 32]) -> Result<bool, ContactsError> {
        let all = self.profile.read(all)?;
        let new = !all.iter().any(|contact| contact.identity == *identity);
        if new && all.len() >= CONTACTS_MAX {
            return Err(ContactsError::Full);
        }
        Ok(all.iter().any(|contact| contact.name == name && contact.identity != *identity))
    }
}

/// The contact with this identity, within the caller's transaction.
pub(crate) fn get_in(
    transaction: &WriteTransaction,
    identity: &[u8; 32],
) -> Result<Option<Contact>, TableFault> {
    let table = transaction.open_table(CONTACTS)?;
    let row = table.get(identity)?;
    row.map(|row| contact_of(row.value())).transpose()
}

/// Takes in what is known of a contact elsewhere, within the caller's transaction.
pub(crate) fn absorb_in(
    transaction: &WriteTransaction,
    contact: &Contact,
) -> Result<Contact, TableFault> {
    let known = get_in(transaction, &contact.identity)?;
    let mut merged = known.clone().unwrap_or_else(|| contact.clone());
    merged.merge(contact);
    if known.as_ref() != Some(&merged) {
        put_in(transaction, &merged)?;
    }
    Ok(merged)
}

/// Keeps a contact, within the caller's transaction.
pub(crate) fn put_in(transaction: &WriteTransaction, contact: &Contact) -> Result<(), TableFault> {
    let mut table = transaction.open_table(CONTACTS)?;
    table.insert(&contact.identity, encode(contact).as_slice())?;
    Ok(())
}

fn all(transaction: &ReadTransaction) -> Result<Vec<Contact>, TableFault> {
    match transaction.open_table(CONTACTS) {
        Ok(table) => rows(&table),
        // Nobody was ever kept.
        Err(TableError::TableDoesNotExist(_)) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

fn rows(
    table: &impl ReadableTable<&'static [u8; 32], &'static [u8]>,
) -> Result<Vec<Contact>, TableFault> {
    let mut contacts = Vec::with_capacity(usize::try_from(table.len()?).unwrap_or(0));
    for row in table.iter()? {
        contacts.push(contact_of(row?.1.value())?);
    }
    Ok(contacts)
}

fn contact_of(row: &[u8]) -> Result<Contact, TableFault> {
    decode(row).ok_or(TableFault::Damaged(WHAT))
}

#[cfg(test)]
mod tests {
    use dht_kad::UnixMs;

    use super::*;
    use crate::entropy::Entropy;

    fn contacts() -> Contacts {
        let profile =
            Profile::in_memory(&[1; 32], &"main".parse().unwrap(), &Entropy::system()).unwrap();
        Contacts::of(&profile)
    }

    fn contact(byte: u8, name: &str) -> Contact {
        Contact::new([byte; 32], name.to_owned(), UnixMs(5))
    }

    #[test]
    fn a_contact_is_found_by_its_name_and_by_its_identity() {
        let contacts = contacts();
        assert_eq!(contacts.list().unwrap(), []);
        assert_eq!(contacts.by_identity(&[2; 32]).unwrap(), None);
        let (bob, alice) = (contact(2, "bob"), contact(3, "alice"));
        contacts.put(&bob).unwrap();
        contacts.put(&alice).unwrap();
        assert_eq!(contacts.list().unwrap(), [alice, bob.clone()]);
        assert_eq!(contacts.get("bob").unwrap(), bob);
        assert_eq!(contacts.get(&"02".repeat(32)).unwrap(), bob);
        let nobody = contacts.get("eve").unwrap_err();
        assert_eq!(nobody, ContactsError::Unknown("eve".to_owned()));
    }

    #[test]
    fn a_name_is_for_one_contact_alone() {
        let contacts = contacts();
        contacts.put(&contact(2, "bob")).unwrap();
        assert_eq!(contacts.free_name(" bob ", &[2; 32]).unwrap(), "bob");
        let taken = contacts.free_name("bob", &[3; 32]).unwrap_err();
        assert_eq!(taken, ContactsError::NameTaken("bob".to_owned()));
        // As two devices may have named them, each without the other.
        contacts.put(&contact(3, "bob")).unwrap();
        assert_eq!(contacts.get("bob").unwrap_err(), ContactsError::Ambiguous("bob".to_owned()));
        let long = "x".repeat(65);
        let decomposed = contacts.free_name("Zoe\u{301} \"Z\"", &[3; 32]).unwrap();
        assert_eq!(decomposed, "Zoe\u{301} \"Z\"");
        for bad in ["", "  ", "a\nb", "a\u{202e}b", "a\u{200b}b", &"ab".repeat(32), &long] {
            let refused = contacts.free_name(bad, &[3; 32]).unwrap_err();
            assert!(matches!(refused, ContactsError::BadName(_)), "{bad}");
        }
    }
}
