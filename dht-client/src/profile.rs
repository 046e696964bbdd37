//! [`Profile`]: what one installation of the client remembers, in one embedded database.
//!
//! ```text
//! the parts of the client, each with tables of its own ─▶ read / write (one transaction) ─▶ redb
//! ```
//!
//! A part that has to change two things together changes them in one [`Profile::write`]: it is on
//! disk as a whole when that returns, whatever happens to the process then, and not at all before.
//! Several processes may use one profile at a time; their transactions follow one another.
//!
//! A profile belongs to one identity, in one network. It has no secret that the identity's words could
//! not bring back, but what it does hold is told in the clear: its file is for its owner alone. So a new
//! machine begins with the words and an empty profile:
//!
//! ```no_run
#![doc = include_str!("profile/example.rs")]
//! ```

use std::fmt;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dht_kad::codec::{decode_value, encode_value};
use dht_kad::{ErrorNumber, NetworkName};
use redb::backends::InMemoryBackend;
use redb::{
    ConcurrencyMode, Database, DatabaseError, ReadTransaction, ReadableDatabase, ReadableTable,
    StorageError, TableDefinition, WriteTransaction,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::entropy::{Entropy, EntropyError};

/// What the profile says of itself.
const ABOUT: TableDefinition<&str, &[u8]> = TableDefinition::new("about");
const ABOUT_SCHEMA: &str = "schema";
const ABOUT_OWNER: &str = "owner";
const ABOUT_INSTALLATION: &str = "installation";

/// The version of the tables.
const SCHEMA: u32 = 1;
/// Pages that are kept in memory: a client's working set is small.
const CACHE_BYTES: usize = 8 * 1024 * 1024;
/// Only the owner reads and writes.
const MODE: u32 = 0o600;

/// The memory of one installation: cheap to clone, all clones are the same one.
#[derive(Clone)]
pub struct Profile {
    inner: Arc<Inner>,
}

impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Profile({})", self.inner.path.display())
    }
}

struct Inner {
    database: Database,
    path: PathBuf,
    installation: [u8; 16],
}

/// A profile cannot be used.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProfileError {
    /// The operating system or the database refuses.
    #[error("the profile {} cannot be {action} ({reason}); check its place and the room on disk", path.display())]
    Access {
        /// Which file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What was said.
        reason: String,
    },
    /// What is in it is not what was written.
    #[error("the profile {} is damaged ({what}); move it away, and what the network keeps comes back", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What cannot be read.
        what: &'static str,
    },
    /// A later version of this program wrote it.
    #[error("the profile {} was written by a later version; upgrade dht-client", .0.display())]
    NewerSchema(PathBuf),
    /// It belongs to somebody else.
    #[error("the profile {} belongs to another identity or network; move it away, or use the identity that it was made for", .0.display())]
    NotOurs(PathBuf),
    /// No random bytes.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
}

impl ProfileError {
    /// The error's number.
    #[must_use]
    pub fn number(&self) -> ErrorNumber {
        match self {
            ProfileError::Entropy(_) => ErrorNumber::Internal,
            _ => ErrorNumber::FileAccess,
        }
    }
}

/// What goes wrong inside a transaction: the database, or what it holds.
#[derive(Debug)]
pub(crate) enum TableFault {
    /// The database refuses.
    Database(redb::Error),
    /// A row is not what was written there.
    Damaged(&'static str),
}

impl<E: Into<redb::Error>> From<E> for TableFault {
    fn from(error: E) -> Self {
        TableFault::Database(error.into())
    }
}

impl Profile {
    /// Opens the profile at `path`, or makes it, for the identity with this public key.
    ///
    /// # Errors
    /// [`ProfileError`].
    pub fn open(
        path: &Path,
        owner: &[u8; 32],
        network: &NetworkName,
        entropy: &Entropy,
    ) -> Result<Self, ProfileError> {
        let refused =
            |action, reason: String| ProfileError::Access { path: path.to_owned(), action, reason };
        let absent = matches!(path.try_exists(), Ok(false));
        if absent {
            make(path, entropy).map_err(|error| refused("made", error.to_string()))?;
        }
        // Whatever the umask was when it was made.
        std::fs::set_permissions(path, Permissions::from_mode(MODE))
            .map_err(|error| refused("opened", error.to_string()))?;
        let database = builder().create(path).map_err(|error| match is_damaged(&error) {
            true => ProfileError::Damaged { path: path.to_owned(), what: "it is no database" },
            false => refused("opened", error.to_string()),
        })?;
        Profile::over(database, path, owner, network, entropy)
    }

    /// A profile that is forgotten with the process: for tests and simulations.
    ///
    /// # Errors
    /// [`ProfileError`].
    pub fn in_memory(
        owner: &[u8; 32],
        network: &NetworkName,
        entropy: &Entropy,
    ) -> Result<Self, ProfileError> {
        let path = Path::new("in memory");
        let database = Database::builder().create_with_backend(InMemoryBackend::new());
        let database = database.map_err(|error| ProfileError::Access {
            path: path.to_owned(),
            action: "made",
            reason: error.to_string(),
        })?;
        Profile::over(database, path, owner, network, entropy)
    }

    fn over(
        database: Database,
        path: &Path,
        owner: &[u8; 32],
        network: &NetworkName,
        entropy: &Entropy,
    ) -> Result<Self, ProfileError> {
        let path = path.to_owned();
        let fresh = *entropy.secret::<16>()?;
        let inner = Inner { database, path: path.clone(), installation: fresh };
        let owned_by = [owner.as_slice(), network.as_str().as_bytes()].concat();
        let found = inner.write(|transaction| {
            let mut about = transaction.open_table(ABOUT)?;
            let known = |name| about.get(name).map(|row| row.map(|row| row.value().to_vec()));
            let found = (known(ABOUT_SCHEMA)?, known(ABOUT_OWNER)?, known(ABOUT_INSTALLATION)?);
            if found.0.is_none() {
                about.insert(ABOUT_SCHEMA, SCHEMA.to_be_bytes().as_slice())?;
                about.insert(ABOUT_OWNER, owned_by.as_slice())?;
                about.insert(ABOUT_INSTALLATION, fresh.as_slice())?;
            }
            Ok(found)
        })?;
        let installation = match found {
            (None, _, _) => fresh,
            (Some(schema), _, _) if schema != SCHEMA.to_be_bytes() => {
                return Err(ProfileError::NewerSchema(path));
            }
            (Some(_), Some(owner), _) if owner != owned_by => {
                return Err(ProfileError::NotOurs(path));
            }
            (Some(_), _, installation) => installation
                .and_then(|bytes| <[u8; 16]>::try_from(bytes).ok())
                .ok_or(ProfileError::Damaged { path, what: "its installation's name" })?,
        };
        Ok(Profile { inner: Arc::new(Inner { installation, ..inner }) })
    }

    /// What tells this installation of the identity from others: random, never shown to the network
    /// as it is.
    #[must_use]
    pub fn installation(&self) -> &[u8; 16] {
        &self.inner.installation
    }

    /// Where it is kept.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Reads, all of it from one moment.
    pub(crate) fn read<T>(
        &self,
        work: impl FnOnce(&ReadTransaction) -> Result<T, TableFault>,
    ) -> Result<T, ProfileError> {
        let result = self.inner.database.begin_read().map_err(TableFault::from);
        result
            .and_then(|transaction| work(&transaction))
            .map_err(|fault| self.inner.told("read", fault))
    }

    /// Changes: on disk when this returns `Ok`; after an error nothing has changed.
    pub(crate) fn write<T>(
        &self,
        work: impl FnOnce(&WriteTransaction) -> Result<T, TableFault>,
    ) -> Result<T, ProfileError> {
        self.inner.write(work)
    }
}

/// How every process opens the file: several at a time may.
fn builder() -> redb::Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES).set_concurrency_mode(ConcurrencyMode::MultiWriter);
    builder
}

/// Puts an empty database in its place as a whole. A process that dies meanwhile leaves nothing there; it
/// may leave a file beside it, which nobody reads.
fn make(path: &Path, entropy: &Entropy) -> io::Result<()> {
    let tag = hex::encode(*entropy.secret::<8>().map_err(io::Error::other)?);
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{tag}.new"));
    let beside = PathBuf::from(beside);
    OpenOptions::new().write(true).create_new(true).mode(MODE).open(&beside)?;
    let made = builder().create(&beside).map_err(io::Error::other);
    let placed = made.map(drop).and_then(|()| std::fs::hard_link(&beside, path));
    std::fs::remove_file(&beside)?;
    match placed {
        // Another process was quicker.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(()),
        other => other?,
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

impl Inner {
    fn write<T>(
        &self,
        work: impl FnOnce(&WriteTransaction) -> Result<T, TableFault>,
    ) -> Result<T, ProfileError> {
        let change = || {
            let transaction = self.database.begin_write()?;
            let result = work(&transaction)?;
            transaction.commit()?;
            Ok(result)
        };
        change().map_err(|fault| self.told("written", fault))
    }

    fn told(&self, action: &'static str, fault: TableFault) -> ProfileError {
        let path = self.path.clone();
        match fault {
            TableFault::Database(error) => {
                ProfileError::Access { path, action, reason: error.to_string() }
            }
            TableFault::Damaged(what) => ProfileError::Damaged { path, what },
        }
    }
}

/// Whether a file that cannot be opened holds something else than a whole database.
fn is_damaged(error: &DatabaseError) -> bool {
    match error {
        DatabaseError::Storage(StorageError::Corrupted(_)) => true,
        DatabaseError::Storage(StorageError::Io(error)) => {
            matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof)
        }
        _ => false,
    }
}

/// A row's value as it is kept. What does not fit a row is a fault of this program, and refused.
pub(crate) fn to_row<T: Serialize>(what: &'static str, value: &T) -> Result<Vec<u8>, TableFault> {
    encode_value(value).map_err(|_| TableFault::Damaged(what))
}

/// A row's value as it was; `what` names it where it is damaged.
pub(crate) fn from_row<T: DeserializeOwned>(
    what: &'static str,
    bytes: &[u8],
) -> Result<T, TableFault> {
    decode_value(bytes).map_err(|_| TableFault::Damaged(what))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: TableDefinition<u64, &[u8]> = TableDefinition::new("test");

    fn main() -> NetworkName {
        "main".parse().unwrap()
    }

    fn open(path: &Path) -> Result<Profile, ProfileError> {
        Profile::open(path, &[1; 32], &main(), &Entropy::system())
    }

    #[test]
    fn a_profile_is_the_same_when_it_is_opened_again_and_only_for_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("profile");
        let first = open(&path).unwrap();
        let installation = *first.installation();
        first
            .write(|transaction| {
                transaction.open_table(TABLE)?.insert(7, b"seven".as_slice())?;
                Ok(())
            })
            .unwrap();
        drop(first);
        let again = open(&path).unwrap();
        assert_eq!(again.installation(), &installation);
        let seven = again.read(|transaction| {
            Ok(transaction.open_table(TABLE)?.get(7)?.map(|row| row.value().to_vec()))
        });
        assert_eq!(seven.unwrap().as_deref(), Some(b"seven".as_slice()));
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, MODE);
    }

    #[test]
    fn a_profile_of_another_identity_or_network_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("profile");
        drop(open(&path).unwrap());
        let (system, test) = (Entropy::system(), "test".parse().unwrap());
        let stranger = Profile::open(&path, &[2; 32], &main(), &system).err().unwrap();
        assert_eq!(stranger, ProfileError::NotOurs(path.clone()));
        let elsewhere = Profile::open(&path, &[1; 32], &test, &system).err().unwrap();
        assert_eq!(elsewhere, ProfileError::NotOurs(path));
    }

    #[test]
    fn two_handles_write_one_after_the_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("profile");
        let (one, other) = (open(&path).unwrap(), open(&path).unwrap());
        assert_eq!(one.installation(), other.installation());
        for (profile, key) in [(&one, 1), (&other, 2), (&one, 3)] {
            profile
                .write(|transaction| {
                    transaction.open_table(TABLE)?.insert(key, b"x".as_slice())?;
                    Ok(())
                })
                .unwrap();
        }
        let keys = other.read(|transaction| {
            let table = transaction.open_table(TABLE)?;
            let keys: Result<Vec<_>, _> =
                table.iter()?.map(|row| row.map(|row| row.0.value())).collect();
            Ok(keys?)
        });
        assert_eq!(keys.unwrap(), [1, 2, 3]);
    }

    #[test]
    fn a_change_that_fails_half_way_changes_nothing() {
        let profile = Profile::in_memory(&[1; 32], &main(), &Entropy::system()).unwrap();
        let failed: Result<(), _> = profile.write(|transaction| {
            transaction.open_table(TABLE)?.insert(1, b"x".as_slice())?;
            Err(TableFault::Damaged("a test"))
        });
        assert!(matches!(failed, Err(ProfileError::Damaged { what: "a test", .. })));
        let exists = profile.read(|transaction| Ok(transaction.open_table(TABLE).is_ok()));
        assert!(!exists.unwrap());
    }

    #[test]
    fn what_is_no_profile_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("profile");
        std::fs::write(&path, b"something else").unwrap();
        assert!(matches!(open(&path), Err(ProfileError::Damaged { .. })));
        assert_eq!(std::fs::read(&path).unwrap(), b"something else");
    }
}
