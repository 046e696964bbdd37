//! `network`: what the one who runs a network does: make its file, sign the list of its bootstrap
//! nodes, look at both, and bring the list into the DHT.
//!
//! ```text
//! new ─▶ NAME.toml (for everybody) ─┬─▶ sign ─▶ NAME.registry ─▶ beside NAME.toml on the nodes
//!   └──▶ NAME.key (for the holder) ─┘                   └──────▶ publish ─▶ the DHT
//! ```
//!
//! Only `publish` needs a network; the key is needed by `sign` alone.

mod new;
mod publish;
mod show;
mod sign;

use std::path::Path;

use clap::Subcommand;
use dht_context::network_file::NetworkFile;
use dht_kad::ErrorNumber;
use dht_kad::bootstrap_list::SignedList;

use super::Failure;

#[derive(Debug, Subcommand)]
pub(super) enum Network {
    /// Make a network file, and with --registry the key that signs its bootstrap nodes
    New(new::New),
    /// Sign the list of the network's bootstrap nodes
    Sign(sign::Sign),
    /// Print a network file or a signed list, checked
    Show(show::Show),
    /// Put a signed list into the DHT, for nodes that do not have it as a file
    Publish(publish::Publish),
}

impl Network {
    pub(super) fn run(self) -> Result<(), Failure> {
        match self {
            Network::New(command) => command.run(),
            Network::Sign(command) => command.run(),
            Network::Show(command) => command.run(),
            Network::Publish(command) => command.run(),
        }
    }
}

fn read_network(path: &Path) -> Result<NetworkFile, Failure> {
    NetworkFile::read(path).map_err(|error| Failure::new(error.number(), error))
}

/// The key that signs, of a network that has one.
fn registry_of(path: &Path, network: &NetworkFile) -> Result<[u8; 32], Failure> {
    network.registry.ok_or_else(|| {
        let path = path.display();
        let sentence =
            format!("{path} names no registry key; make one with network new --registry");
        Failure::new(ErrorNumber::BadConfig, sentence)
    })
}

/// The genuine list in a file; none if there is no such file.
fn read_list(
    path: &Path,
    network: &NetworkFile,
    registry: &[u8; 32],
) -> Result<Option<SignedList>, Failure> {
    let bytes = NetworkFile::read_list(path)
        .map_err(|error| Failure::new(ErrorNumber::FileAccess, error))?;
    let Some(bytes) = bytes else { return Ok(None) };
    match SignedList::verify(bytes.into(), &network.name, registry) {
        Ok(list) => Ok(Some(list)),
        Err(fault) => {
            let sentence = format!("{}: {fault}", path.display());
            Err(Failure::new(fault.number(), sentence))
        }
    }
}

fn missing(path: &Path) -> Failure {
    let sentence = format!("there is no list at {}; sign one with network sign", path.display());
    Failure::new(ErrorNumber::FileAccess, sentence)
}

fn unwritable(path: &Path, reason: &std::io::Error) -> Failure {
    let sentence =
        format!("cannot write {} ({reason}); check its folder and permissions", path.display());
    Failure::new(ErrorNumber::FileAccess, sentence)
}
