//! [`Contacts`]: the contacts of a profile, one row each.

use redb::{
    ReadTransaction, ReadableTable, ReadableTableMetadata, TableDefinition, TableError,
    WriteTransaction,
};

use super::encoding::{decode, encode};
use super::{CONTACTS_MAX, Contact, ContactsError, checked_name, identity_of};
use crate::profile::{Profile, ProfileError, TableFault};

/// Identity to contact.
const CONTACTS: TableDefinition<&[u8; 32], &[u8]> = TableDefinition::new("contacts");

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
    pub(crate) fn put(&self, contact: &Contact) -> Result<(), ProfileError> {
        self.profile.write(|transaction| put_in(transaction, contact))
    }

    /// Changes the contact with this identity, or makes it, in one transaction with what `change`
    /// does beside it; and returns it as it is now.
    pub(crate) fn change(
        &self,
        identity: &[u8; 32],
        change: impl FnOnce(&WriteTransaction, Option<Contact>) -> Result<Option<Contact>, TableFault>,
    ) -> Result<Option<Contact>, ProfileError> {
        self.profile.write(|transaction| {
            let known = get_in(transaction, identity)?;
            let changed = change(transaction, known.clone())?;
            if let Some(contact) =
                changed.as_ref().filter(|contact| Some(*contact) != known.as_ref())
            {
                put_in(transaction, contact)?;
            }
            Ok(changed)
        })
    }

    /// The name that `wanted` becomes for this identity: itself, checked, and free.
    pub(crate) fn free_name(
        &self,
        wanted: &str,
        identity: &[u8; 32],
    ) -> Result<String, ContactsError> {
        let name = checked_name(wanted)?;
        let all = self.profile.read(all)?;
        if all.iter().any(|contact| contact.name == name && contact.identity != *identity) {
            return Err(ContactsError::NameTaken(name));
        }
        let new = !all.iter().any(|contact| contact.identity == *identity);
        if new && all.len() >= CONTACTS_MAX {
            return Err(ContactsError::Full);
        }
        Ok(name)
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

/// Keeps a contact, within the caller's transaction.
pub(crate) fn put_in(transaction: &WriteTransaction, contact: &Contact) -> Result<(), TableFault> {
    let mut table = transaction.open_table(CONTACTS)?;
    table.insert(&contact.identity, encode(contact).as_slice())?;
    Ok(())
}

/// All contacts, within the caller's transaction, in the order of their identities.
pub(crate) fn all_in(transaction: &WriteTransaction) -> Result<Vec<Contact>, TableFault> {
    rows(&transaction.open_table(CONTACTS)?)
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
        for bad in ["", "  ", "a\nb", &"ab".repeat(32), &long] {
            let refused = contacts.free_name(bad, &[3; 32]).unwrap_err();
            assert!(matches!(refused, ContactsError::BadName(_)), "{bad}");
        }
    }
}
