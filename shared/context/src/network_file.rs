//! [`NetworkFile`]: the small file that defines a network for whoever wants to take part in it.
//!
//! ```toml
//! name = "main"
//! seeds = ["seed.example.org:4400", "NODEID@192.0.2.1:4400"]
//! dns = ["_dht.example.org"]
//! registry = "the 64 hex digits of an Ed25519 public key"
//! ```
//!
//! Only `name` has to be there. The file is no secret, and all of a network share it: daemon, library
//! and both command lines read it here. Unknown fields are errors, so that a misspelt one is not
//! dropped in silence.
//!
//! Beside the file may lie the [list](NetworkFile::list_path) that the registry's holder has signed:
//! `main.registry` beside `main.toml`. It is for the first start, when nobody can be asked for it yet.

use std::fmt;
use std::path::{Path, PathBuf};

use dht_kad::id::parse_hex;
use dht_kad::record::layout::RECORD_MAX;
use dht_kad::{ErrorNumber, NetworkName};
use serde::Deserialize;
use thiserror::Error;

use crate::config::BOOTSTRAP_MAX;
use crate::peer_address::PeerAddress;
use crate::toml_file::{self, TomlFileError};

/// The most names that are asked in the DNS: each costs a question at each attempt to join.
pub const DNS_NAMES_MAX: usize = 8;
/// The largest file that is read, in KiB.
const FILE_KIB_MAX: u64 = 64;
/// The longest name in the DNS (RFC 1035, section 2.3.4), without the dot at its end.
const DNS_NAME_MAX: usize = 253;
/// The ending of the list's file.
const LIST_ENDING: &str = "registry";

/// What defines a network.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NetworkFile {
    /// The network's name.
    pub name: NetworkName,
    /// Peers to join by. At most [`BOOTSTRAP_MAX`].
    pub seeds: Vec<PeerAddress>,
    /// Names whose TXT records in the DNS name peers. At most [`DNS_NAMES_MAX`].
    pub dns: Vec<String>,
    /// The Ed25519 public key whose holder signs the list of bootstrap nodes.
    pub registry: Option<[u8; 32]>,
}

/// A network file cannot be used.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NetworkFileError {
    /// It cannot be read, or is not what it should be.
    #[error(transparent)]
    File(#[from] TomlFileError),
    /// The list beside it cannot be read.
    #[error("cannot read the list of bootstrap nodes {} ({reason}); check its permissions", path.display())]
    List {
        /// The list's file.
        path: PathBuf,
        /// What the operating system said.
        reason: String,
    },
    /// A value cannot be used.
    #[error("{field} in {}: {reason}", path.display())]
    Unusable {
        /// The field.
        field: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
}

/// The file's fields as they are written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    name: String,
    #[serde(default)]
    seeds: Vec<String>,
    #[serde(default)]
    dns: Vec<String>,
    registry: Option<String>,
}

impl NetworkFileError {
    /// The error's number.
    #[must_use]
    pub fn number(&self) -> ErrorNumber {
        ErrorNumber::BadConfig
    }
}

impl NetworkFile {
    /// A network with this name, and nothing else known of it.
    #[must_use]
    pub fn new(name: NetworkName) -> Self {
        NetworkFile { name, seeds: Vec::new(), dns: Vec::new(), registry: None }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`NetworkFileError`] names the first thing to correct.
    pub fn read(path: &Path) -> Result<Self, NetworkFileError> {
        let text = toml_file::read("the network file", path, FILE_KIB_MAX)?;
        NetworkFile::parse(&text, path)
    }

    /// Reads a file's text; `path` is for the error.
    ///
    /// # Errors
    /// [`NetworkFileError`] names the first thing to correct.
    pub fn parse(text: &str, path: &Path) -> Result<Self, NetworkFileError> {
        let fields: Fields = toml_file::parse(text, path)?;
        fields.check().map_err(|(field, reason)| {
            let path = path.to_owned();
            NetworkFileError::Unusable { field, path, reason }
        })
    }

    /// Where the signed list of bootstrap nodes lies for the first start, if it does.
    #[must_use]
    pub fn list_path(path: &Path) -> PathBuf {
        path.with_extension(LIST_ENDING)
    }

    /// The bytes of a signed list's file, which are proven by its signature alone; none if there is no
    /// such file.
    ///
    /// # Errors
    /// [`NetworkFileError::List`].
    pub fn read_list(path: &Path) -> Result<Option<Vec<u8>>, NetworkFileError> {
        let unreadable = |reason: String| NetworkFileError::List { path: path.to_owned(), reason };
        match std::fs::metadata(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(error.to_string())),
            Ok(meta) if meta.len() > RECORD_MAX as u64 => {
                return Err(unreadable("it is longer than any signed list".to_owned()));
            }
            Ok(_) => {}
        }
        std::fs::read(path).map(Some).map_err(|error| unreadable(error.to_string()))
    }
}

impl Fields {
    fn check(self) -> Result<NetworkFile, (&'static str, String)> {
        let name = self.name.parse::<NetworkName>().map_err(|error| ("name", error.to_string()))?;
        let mut file = NetworkFile::new(name);
        for text in at_most(BOOTSTRAP_MAX, "seeds", self.seeds)? {
            let seed = text.parse::<PeerAddress>().map_err(|error| ("seeds", error.to_string()))?;
            add("seeds", &text, seed, &mut file.seeds)?;
        }
        for text in at_most(DNS_NAMES_MAX, "dns", self.dns)? {
            let name = dns_name(&text).ok_or_else(|| {
                ("dns", format!("«{text}» is no name in the DNS; write one like _dht.example.org"))
            })?;
            add("dns", &text, name, &mut file.dns)?;
        }
        if let Some(text) = self.registry {
            let key = parse_hex(&text).ok_or_else(|| {
                let reason = "write the 64 hex digits that dht-bootstrap network new printed";
                ("registry", reason.to_owned())
            })?;
            file.registry = Some(key);
        }
        Ok(file)
    }
}

fn at_most(
    max: usize,
    field: &'static str,
    list: Vec<String>,
) -> Result<Vec<String>, (&'static str, String)> {
    match list.len() > max {
        true => Err((field, format!("more than {max} entries; give fewer"))),
        false => Ok(list),
    }
}

fn add<T: PartialEq>(
    field: &'static str,
    text: &str,
    entry: T,
    list: &mut Vec<T>,
) -> Result<(), (&'static str, String)> {
    if list.contains(&entry) {
        return Err((field, format!("«{text}» is named twice; remove one")));
    }
    list.push(entry);
    Ok(())
}

/// A name as the DNS has it, in small letters and without the dot at its end.
fn dns_name(text: &str) -> Option<String> {
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(letter);
    (name.len() <= DNS_NAME_MAX && name.split('.').all(label)).then_some(name)
}

/// The file's text.
impl fmt::Display for NetworkFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "name = \"{}\"", self.name)?;
        // None of these texts has a quote or a backslash.
        let quoted = |texts: Vec<String>| {
            texts.iter().map(|text| format!("\"{text}\"")).collect::<Vec<_>>().join(", ")
        };
        if !self.seeds.is_empty() {
            let seeds = quoted(self.seeds.iter().map(ToString::to_string).collect());
            writeln!(f, "seeds = [{seeds}]")?;
        }
        if !self.dns.is_empty() {
            writeln!(f, "dns = [{}]", quoted(self.dns.clone()))?;
        }
        if let Some(registry) = self.registry {
            writeln!(f, "registry = \"{}\"", dht_kad::Key(registry))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<NetworkFile, NetworkFileError> {
        NetworkFile::parse(text, Path::new("net.toml"))
    }

    #[test]
    fn a_file_reads_as_it_prints() {
        let id = "ab".repeat(32);
        let text = format!(
            "name = \"n-1\"\nseeds = [\"a.example:1\", \"{id}@[::1]:2\"]\n\
             dns = [\"_dht.example.org\"]\nregistry = \"{id}\"\n"
        );
        let file = parse(&text).unwrap();
        assert_eq!(file.to_string(), text);
        assert_eq!((file.seeds.len(), file.registry), (2, Some([0xab; 32])));
        assert_eq!(parse("name = \"n\"").unwrap(), NetworkFile::new("n".parse().unwrap()));
    }

    #[test]
    fn what_cannot_be_is_refused_by_file_and_field() {
        let refused = |text: &str, named: &[&str]| {
            let sentence = parse(text).unwrap_err().to_string();
            for part in named.iter().chain(&["net.toml"]) {
                assert!(sentence.contains(part), "«{sentence}» does not name {part}");
            }
        };
        refused("", &["name"]);
        refused("name = \"n\"\nseed = []", &["line 2", "seed"]);
        refused("name = \"No\"", &["name in"]);
        refused("name = \"n\"\nseeds = [\"x\"]", &["seeds in", "«x»"]);
        refused("name = \"n\"\nseeds = [\"x:1\", \"x:1\"]", &["named twice"]);
        refused("name = \"n\"\ndns = [\"a b\"]", &["dns in", "«a b»"]);
        refused("name = \"n\"\ndns = [\"a..b\"]", &["dns in"]);
        refused("name = \"n\"\ndns = [\"a.b\", \"A.b.\"]", &["named twice"]);
        refused("name = \"n\"\nregistry = \"ab\"", &["registry in", "64 hex"]);
        let many: Vec<String> = (1..10).map(|n| format!("\"n{n}.example\"")).collect();
        refused(&format!("name = \"n\"\ndns = [{}]", many.join(",")), &["dns in", "more than 8"]);
    }
}
