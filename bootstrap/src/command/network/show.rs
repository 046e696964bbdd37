//! `network show`: a network file or a signed list, checked.

use std::path::{Path, PathBuf};

use clap::Args;
use dht_context::clock::{Clock, SystemClock};
use dht_context::network_file::NetworkFile;
use dht_kad::ErrorNumber;
use dht_kad::bootstrap_list::SignedList;
use dht_kad::record::layout::LAYOUT_VERSION;

use super::super::{Failure, print};
use super::{missing, read_list, read_network, registry_of};

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// A network file, or a signed list
    file: PathBuf,
    /// The network file by which a list is checked [default: beside the list, with the ending .toml]
    #[arg(long, value_name = "FILE")]
    network_file: Option<PathBuf>,
}

impl Show {
    pub(super) fn run(self) -> Result<(), Failure> {
        if is_list(&self.file)? {
            let by = self.network_file.unwrap_or_else(|| self.file.with_extension("toml"));
            let network = read_network(&by)?;
            let registry = registry_of(&by, &network)?;
            let list = read_list(&self.file, &network, &registry)?;
            return print_list(&list.ok_or_else(|| missing(&self.file))?, &network);
        }
        let network = read_network(&self.file)?;
        print::text(&network)?;
        let list_path = NetworkFile::list_path(&self.file);
        let Some(registry) = network.registry else { return Ok(()) };
        match read_list(&list_path, &network, &registry)? {
            Some(list) => print_list(&list, &network),
            None => print::line(format_args!("no signed list at {}", list_path.display())),
        }
    }
}

/// Whether a file is a record and not text: a record begins with the version of its layout.
fn is_list(path: &Path) -> Result<bool, Failure> {
    let bytes = NetworkFile::read_list(path)
        .map_err(|error| Failure::new(ErrorNumber::FileAccess, error))?;
    let bytes = bytes.ok_or_else(|| {
        let sentence = format!("there is no file {}; check its name", path.display());
        Failure::new(ErrorNumber::FileAccess, sentence)
    })?;
    Ok(bytes.first() == Some(&LAYOUT_VERSION))
}

fn print_list(list: &SignedList, network: &NetworkFile) -> Result<(), Failure> {
    let (seq, name) = (list.seq(), &network.name);
    print::line(format_args!("list {seq} of network {name}: the signature is the registry's"))?;
    print::line(format_args!("signed {}, ends {}", list.record().created_at(), list.ends_at()))?;
    for node in list.nodes() {
        for addr in &node.addrs {
            print::line(format_args!("{addr} {}", node.tags))?;
        }
    }
    if list.ends_at() <= SystemClock.now() {
        let sentence = "the list has ended and vouches for nobody; sign it anew with network sign";
        return Err(Failure::new(ErrorNumber::Expired, sentence));
    }
    Ok(())
}
