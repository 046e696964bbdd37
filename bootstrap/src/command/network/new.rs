//! `network new`: a network file, and the key of its registry.

use std::path::PathBuf;

use clap::Args;
use dht_bootstrap::registry_key::RegistryKey;
use dht_bootstrap::whole_file;
use dht_context::network_file::NetworkFile;
use dht_kad::record::RecordSigner;
use dht_kad::{ErrorNumber, NetworkName, PeerAddress};

use super::super::{Failure, print};
use super::unwritable;

/// The ending of the registry key's file.
const KEY_ENDING: &str = "key";

#[derive(Debug, Args)]
pub(crate) struct New {
    /// The network's name, 1 to 64 of a-z, 0-9 and -
    name: NetworkName,
    /// A peer to join by, host:port or NODEID@host:port; may be given several times
    #[arg(long = "seed", value_name = "PEER")]
    seeds: Vec<PeerAddress>,
    /// A name whose TXT records name peers; may be given several times
    #[arg(long, value_name = "NAME")]
    dns: Vec<String>,
    /// Make a registry key, too, beside the file and with the ending .key; keep it off the servers
    #[arg(long)]
    registry: bool,
    /// The file to write [default: NAME.toml]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl New {
    pub(super) fn run(self) -> Result<(), Failure> {
        let path = self.out.unwrap_or_else(|| format!("{}.toml", self.name).into());
        let key_path = path.with_extension(KEY_ENDING);
        if path.symlink_metadata().is_ok() {
            let sentence = format!("{} is there already; give another --out", path.display());
            return Err(Failure::new(ErrorNumber::FileAccess, sentence));
        }
        let mut file =
            NetworkFile { seeds: self.seeds, dns: self.dns, ..NetworkFile::new(self.name) };
        // What is written is what will be read: checked before anything is made.
        file = NetworkFile::parse(&file.to_string(), &path)
            .map_err(|error| Failure::new(error.number(), error))?;
        if self.registry {
            let key = RegistryKey::create(&key_path)
                .map_err(|error| Failure::new(error.number(), error))?;
            file.registry = Some(key.publisher());
        }
        whole_file::write_public(&path, file.to_string().as_bytes())
            .map_err(|reason| unwritable(&path, &reason))?;
        print::line(format_args!("network file {}", path.display()))?;
        if self.registry {
            print::line(format_args!(
                "registry key {} (secret: whoever has it names the bootstrap nodes)",
                key_path.display()
            ))?;
        }
        print::text(file)
    }
}
