//! [`Fleet`]: the small file that names the nodes of one operator.
//!
//! ```toml
//! network = "main"                      # or network_file = "main.toml", beside this file
//! peers = ["NODEID@192.0.2.1:4400", "node2.example.org:4400"]
//! ```
//!
//! Without either, the network is the default one. A peer without its node id is whoever answers there. Unknown
//! fields are errors, so that a misspelt one is not dropped in silence.

use std::path::{Path, PathBuf};

use dht_context::NetworkFile;
use dht_context::config::DEFAULT_NETWORK;
use dht_context::network_file::NetworkFileError;
use dht_context::toml_file::{self, TomlFileError};
use dht_kad::{ErrorNumber, NetworkName};
use serde::Deserialize;
use thiserror::Error;

use crate::PeerAddress;

/// The most nodes of one fleet: each is asked through a socket of its own, all at once.
pub const FLEET_MAX: usize = 256;
/// The largest file that is read, in KiB.
const FILE_KIB_MAX: u64 = 64;

/// The nodes of one operator.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fleet {
    /// Their network.
    pub network: NetworkName,
    /// Where they are: at least one, at most [`FLEET_MAX`].
    pub peers: Vec<PeerAddress>,
}

/// A fleet's file cannot be used.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FleetError {
    /// It cannot be read, or is not what it should be.
    #[error(transparent)]
    File(#[from] TomlFileError),
    /// The network's file cannot be used.
    #[error(transparent)]
    Network(#[from] NetworkFileError),
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

impl FleetError {
    /// The error's number.
    #[must_use]
    pub fn number(&self) -> ErrorNumber {
        ErrorNumber::BadConfig
    }
}

/// The file's fields as they are written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    network: Option<String>,
    network_file: Option<PathBuf>,
    peers: Vec<String>,
}

impl Fleet {
    /// Reads a file.
    ///
    /// # Errors
    /// [`FleetError`] names the first thing to correct.
    pub fn read(path: &Path) -> Result<Self, FleetError> {
        let text = toml_file::read("the fleet's file", path, FILE_KIB_MAX)?;
        let Fields { network, network_file, peers } = toml_file::parse(&text, path)?;
        let unusable =
            |field, reason: String| FleetError::Unusable { field, path: path.to_owned(), reason };
        let named = |name: &str| {
            name.parse::<NetworkName>().map_err(|error| unusable("network", error.to_string()))
        };
        let network = match (network, network_file) {
            (Some(_), Some(_)) => {
                let reason = "give this or network_file, not both".to_owned();
                return Err(unusable("network", reason));
            }
            (Some(name), None) => named(&name)?,
            (None, Some(file)) => NetworkFile::read(&path.with_file_name(file))?.name,
            (None, None) => named(DEFAULT_NETWORK)?,
        };
        if peers.is_empty() || peers.len() > FLEET_MAX {
            let reason = format!("give at least one node, and at most {FLEET_MAX}");
            return Err(unusable("peers", reason));
        }
        let peers = peers.iter().map(|peer| peer.parse::<PeerAddress>());
        let peers = peers.collect::<Result<_, _>>();
        Ok(Fleet { network, peers: peers.map_err(|error| unusable("peers", error.to_string()))? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Fleet, FleetError> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("main.toml"), "name = \"beside\"\n").unwrap();
        let path = folder.path().join("fleet.toml");
        std::fs::write(&path, text).unwrap();
        Fleet::read(&path)
    }

    #[test]
    fn a_fleet_has_a_network_and_nodes() {
        let peers = "peers = [\"192.0.2.1:4400\", \"[::1]:2\"]\n";
        let fleet = read(peers).unwrap();
        assert_eq!((fleet.network.to_string().as_str(), fleet.peers.len()), (DEFAULT_NETWORK, 2));
        assert_eq!(fleet.peers[0], "192.0.2.1:4400".parse().unwrap());
        let fleet = read(&format!("network = \"own\"\n{peers}")).unwrap();
        assert_eq!(fleet.network.to_string(), "own");
        let fleet = read(&format!("network_file = \"main.toml\"\n{peers}")).unwrap();
        assert_eq!(fleet.network.to_string(), "beside");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let peers = "peers = [\"192.0.2.1:4400\"]\n";
        for (text, says) in [
            ("peers = []\n".to_owned(), "at least one node"),
            (format!("peers = {:?}\n", vec!["a:1"; FLEET_MAX + 1]), "at most 256"),
            ("peers = [\"nowhere\"]\n".to_owned(), "«nowhere» is not a peer"),
            (format!("{peers}seeds = []\n"), "line 2"),
            (format!("network = \"BIG\"\n{peers}"), "network in "),
            (format!("network = \"a\"\nnetwork_file = \"main.toml\"\n{peers}"), "not both"),
            (format!("network_file = \"none.toml\"\n{peers}"), "cannot read the network file"),
        ] {
            let error = read(&text).unwrap_err();
            assert!(error.to_string().contains(says), "{says}: {error}");
            assert_eq!(error.number(), ErrorNumber::BadConfig);
        }
        let missing = Fleet::read(Path::new("/nonexistent/fleet.toml")).unwrap_err();
        assert!(missing.to_string().starts_with("cannot read the fleet's file"), "{missing}");
    }
}
