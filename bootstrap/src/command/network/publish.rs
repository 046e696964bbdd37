//! `network publish`: brings a signed list into the DHT, where nodes and clients look for it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use dht_bootstrap::visitor;
use dht_context::network_file::NetworkFile;
use dht_context::sources::Sources;
use dht_kad::{ErrorNumber, PeerAddress};

use super::super::run::runtime;
use super::super::{Failure, print};
use super::{missing, read_list, read_network, registry_of};

/// A network that was not reached within this does not get the list.
const JOIN_LONGEST: Duration = Duration::from_secs(30);

#[derive(Debug, Args)]
pub(crate) struct Publish {
    /// The network file
    #[arg(long, value_name = "FILE")]
    network_file: PathBuf,
    /// The signed list [default: beside the network file, with the ending .registry]
    #[arg(long, value_name = "FILE")]
    list: Option<PathBuf>,
    /// A peer to ask besides those of the network file; may be given several times
    #[arg(long, value_name = "PEER")]
    bootstrap: Vec<PeerAddress>,
    /// Ask this name server instead of the system's
    #[arg(long, value_name = "ADDR:PORT")]
    dns_server: Option<SocketAddr>,
}

impl Publish {
    pub(super) fn run(self) -> Result<(), Failure> {
        let network = read_network(&self.network_file)?;
        let registry = registry_of(&self.network_file, &network)?;
        let path = self.list.unwrap_or_else(|| NetworkFile::list_path(&self.network_file));
        let list = read_list(&path, &network, &registry)?.ok_or_else(|| missing(&path))?;
        let mut sources = Sources::of(&network);
        if let Some(registry) = &mut sources.registry {
            let bytes = list.record().bytes().clone();
            registry.lists.push((path.display().to_string(), bytes));
        }
        runtime()?.block_on(async {
            let visitor =
                visitor::start(network.name.clone(), self.bootstrap, sources, self.dns_server)
                    .map_err(|error| Failure::new(error.number(), error))?;
            let put = async {
                visitor.ready().await;
                Box::pin(visitor.put_record(list.record(), None, None)).await
            };
            let put = tokio::time::timeout(JOIN_LONGEST, put).await;
            let complaint: Vec<String> =
                visitor.sources().into_iter().filter_map(|source| source.problem).collect();
            visitor.stop().await;
            match put {
                Ok(Ok(outcome)) => {
                    let (stored, targets) = (outcome.stored.len(), outcome.targets);
                    let seq = list.seq();
                    print::line(format_args!("published list {seq} on {stored} of {targets} nodes"))
                }
                Ok(Err(error)) => Err(Failure::new(error.number(), error)),
                Err(_) => {
                    let why = complaint.join("; ");
                    let sentence = format!("the network was not reached ({why}); give --bootstrap");
                    Err(Failure::new(ErrorNumber::NoPeers, sentence))
                }
            }
        })
    }
}
