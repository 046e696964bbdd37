//! `network sign`: the list of bootstrap nodes, signed. Nothing is asked and nothing is sent.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use dht_bootstrap::registry_key::RegistryKey;
use dht_bootstrap::whole_file;
use dht_context::clock::{Clock, SystemClock};
use dht_context::network_file::NetworkFile;
use dht_kad::bootstrap_list::{BootstrapList, BootstrapNode};
use dht_kad::record::RecordSigner;
use dht_kad::{ErrorNumber, NodeId, PeerAddress};

use super::super::{Failure, print};
use super::{read_list, read_network, registry_of, unwritable};

#[derive(Debug, Args)]
pub(crate) struct Sign {
    /// The registry key's file
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The network file
    #[arg(long, value_name = "FILE")]
    network_file: PathBuf,
    /// A bootstrap node, NODEID@host:port, and after a blank what to say of it; may be given several
    /// times, also for several addresses of one node
    #[arg(long = "node", value_name = "NODEID@HOST:PORT [TAGS]", required = true)]
    nodes: Vec<NamedNode>,
    /// The file to write [default: beside the network file, with the ending .registry]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// A node as it is written on the command line.
#[derive(Clone, Debug)]
struct NamedNode {
    id: NodeId,
    addr: PeerAddress,
    tags: String,
}

impl FromStr for NamedNode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (peer, tags) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let addr: PeerAddress = peer.parse().map_err(|error| format!("{error}"))?;
        let id = addr.id.ok_or("a bootstrap node needs its id; write NODEID@host:port")?;
        Ok(NamedNode { id, addr, tags: tags.trim().to_owned() })
    }
}

impl Sign {
    pub(super) fn run(self) -> Result<(), Failure> {
        let network = read_network(&self.network_file)?;
        let registry = registry_of(&self.network_file, &network)?;
        let key =
            RegistryKey::load(&self.key).map_err(|error| Failure::new(error.number(), error))?;
        if key.publisher() != registry {
            let sentence = format!(
                "{} is not the key of {}'s registry; give the one that was made with it",
                self.key.display(),
                self.network_file.display()
            );
            return Err(Failure::new(ErrorNumber::IdentityFile, sentence));
        }
        let list = BootstrapList::new(merged(self.nodes))
            .map_err(|error| Failure::new(ErrorNumber::Usage, error))?;
        let out = self.out.unwrap_or_else(|| NetworkFile::list_path(&self.network_file));
        let now = SystemClock.now();
        // Something else that lies there is not written over.
        let before = read_list(&out, &network, &registry)?;
        if let Some(before) = before.filter(|before| before.record().created_at() >= now) {
            let sentence = format!(
                "the list at {} was signed later than now, at {}; set this machine's clock",
                out.display(),
                before.record().created_at()
            );
            return Err(Failure::new(ErrorNumber::ClockUnsure, sentence));
        }
        let record = list
            .draft(&network.name, now)
            .sign(&key, &network.name)
            .map_err(|error| Failure::new(ErrorNumber::Usage, error))?;
        whole_file::write_public(&out, record.bytes())
            .map_err(|reason| unwritable(&out, &reason))?;
        print::line(format_args!(
            "signed list {} of {} nodes, until {}",
            out.display(),
            list.nodes().len(),
            record.expires_at()
        ))
    }
}

/// Each node once, with all its addresses and tags.
fn merged(named: Vec<NamedNode>) -> Vec<BootstrapNode> {
    let mut nodes: Vec<BootstrapNode> = Vec::new();
    for NamedNode { id, addr, tags } in named {
        match nodes.iter_mut().find(|node| node.id == id) {
            Some(node) => {
                node.addrs.push(addr);
                if node.tags.is_empty() {
                    node.tags = tags;
                }
            }
            None => nodes.push(BootstrapNode { id, addrs: vec![addr], tags }),
        }
    }
    nodes
}
