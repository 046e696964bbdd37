//! Where the peers come from by which a node joins, and what came of asking each of these sources.
//!
//! ```text
//! first     configured    command line, configuration file, or an application's builder
//!           network-file  the seeds of the network file
//!           saved         the table of the last run
//! then      dns           TXT records at the names of the network file (txt)
//! then      registry      the list that the holder of the registry key has signed (list)
//! ```
//!
//! The first three cost nothing to ask and are asked at once; each of the others is asked if nobody
//! before it has answered. A node that is in the network asks all of them now and then, so that two
//! halves of a network find each other by whatever source one of them has. Nothing here ever gives up:
//! [`maintenance`](crate::maintenance) repeats the attempt with longer and longer waits, and what went
//! wrong with each source stands in its [`SourceStatus`].

pub(crate) mod list;
pub(crate) mod txt;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use dht_kad::{NetworkName, UnixMs};
use serde::{Deserialize, Serialize};

pub use self::list::ListStatus;

use self::list::ListBook;
use crate::network_file::{NetworkFile, NetworkFileError};
use crate::peer_address::PeerAddress;

/// Sources of peers besides those that were configured or saved.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The seeds of the network file. At most [`BOOTSTRAP_MAX`](crate::config::BOOTSTRAP_MAX).
    pub seeds: Vec<PeerAddress>,
    /// Names in the DNS with peers in TXT records. At most
    /// [`DNS_NAMES_MAX`](crate::network_file::DNS_NAMES_MAX).
    pub dns: Vec<String>,
    /// Who signs the list of the network's bootstrap nodes.
    pub registry: Option<Registry>,
}

/// Who signs the list of bootstrap nodes, and what is at hand of it.
#[derive(Clone, Debug)]
pub struct Registry {
    /// The Ed25519 public key.
    pub key: [u8; 32],
    /// Lists from files, each with where it was read. They are verified before they count, and the
    /// newest does.
    pub lists: Vec<(String, Bytes)>,
}

impl Sources {
    /// What a network file names. Signed lists that lie in files are to be added.
    #[must_use]
    pub fn of(file: &NetworkFile) -> Self {
        let registry = file.registry.map(|key| Registry { key, lists: Vec::new() });
        Sources { seeds: file.seeds.clone(), dns: file.dns.clone(), registry }
    }

    /// What the network file at `path` names, with the signed list that lies beside it and those at
    /// `further`, as far as they are there and the network has a registry.
    ///
    /// # Errors
    /// [`NetworkFileError`] if a list is there and cannot be read.
    pub fn with_lists(
        path: &Path,
        file: &NetworkFile,
        further: &[PathBuf],
    ) -> Result<Self, NetworkFileError> {
        let mut sources = Sources::of(file);
        if let Some(registry) = &mut sources.registry {
            for path in [NetworkFile::list_path(path)].iter().chain(further) {
                let bytes = NetworkFile::read_list(path)?;
                let named = bytes.map(|bytes| (path.display().to_string(), bytes.into()));
                registry.lists.extend(named);
            }
        }
        Ok(sources)
    }

    /// Whether there is nothing to ask.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.seeds.is_empty() && self.dns.is_empty() && self.registry.is_none()
    }
}

/// One source of peers, in the order in which they are asked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The command line, the configuration file, or an application.
    Configured,
    /// The seeds of the network file.
    NetworkFile,
    /// The table of the last run.
    Saved,
    /// TXT records.
    Dns,
    /// The list signed by the registry key.
    Registry,
}

impl Source {
    /// How logs and the status name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Source::Configured => "configured",
            Source::NetworkFile => "network-file",
            Source::Saved => "saved",
            Source::Dns => "dns",
            Source::Registry => "registry",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How one source stands. Sources that nothing was configured of are left out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SourceStatus {
    /// Which.
    pub source: Source,
    /// How many peers it named when it was asked last.
    pub peers: usize,
    /// How many of them answered then.
    pub answered: usize,
    /// What it gave that is no use: strings that name no peer, lists that are forged or older than the
    /// one that is known. Only grows.
    pub refused: u64,
    /// What went wrong last, if nobody answered or something was refused.
    pub problem: Option<String>,
    /// The list, of a registry that has one.
    pub list: Option<ListStatus>,
}

/// What is known of all sources.
#[derive(Debug)]
pub(crate) struct SourceBook {
    pub(crate) list: Option<ListBook>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    tallies: BTreeMap<Source, Tally>,
    /// Attempts to join so far.
    attempts: u64,
}

/// One source at the last attempt.
#[derive(Clone, Debug, Default)]
struct Tally {
    peers: usize,
    answered: usize,
    /// Peers that are this very node.
    own: usize,
    refused: u64,
    problem: Option<String>,
}

impl SourceBook {
    /// Nothing asked yet. The lists from files are checked here.
    pub(crate) fn new(sources: &Sources, network: &NetworkName, now: UnixMs) -> Self {
        let registry = sources.registry.as_ref();
        let list = registry.map(|registry| ListBook::new(registry, network, now));
        SourceBook { list, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A source is asked now, and names so many peers.
    pub(crate) fn begin(&self, source: Source, peers: usize) {
        let mut state = self.lock();
        let tally = state.tallies.entry(source).or_default();
        *tally = Tally { peers, refused: tally.refused, ..Tally::default() };
    }

    /// One of its peers answered.
    pub(crate) fn note_answer(&self, source: Source) {
        self.lock().tallies.entry(source).or_default().answered += 1;
    }

    /// One of its peers is this node itself.
    pub(crate) fn note_own(&self, source: Source) {
        self.lock().tallies.entry(source).or_default().own += 1;
    }

    /// Something went wrong with it.
    pub(crate) fn note_problem(&self, source: Source, problem: String) {
        self.lock().tallies.entry(source).or_default().problem = Some(problem);
    }

    /// It gave something that is of no use.
    pub(crate) fn note_refused(&self, source: Source) {
        self.lock().tallies.entry(source).or_default().refused += 1;
    }

    /// An attempt to join has asked all that it asks.
    pub(crate) fn note_attempt(&self) {
        self.lock().attempts += 1;
    }

    /// Whether there is nobody to ask but this node itself, as far as the last attempt found: the
    /// first node of a network may stand in the file that all of them share.
    pub(crate) fn only_this_node(&self) -> bool {
        let state = self.lock();
        let only_own = |(source, tally): (&Source, &Tally)| match source {
            Source::Configured | Source::Saved => tally.peers == 0,
            _ => tally.own == tally.peers && (tally.peers > 0 || tally.problem.is_none()),
        };
        state.attempts > 0 && state.tallies.iter().all(only_own)
    }

    /// Every source that was asked so far, and how it stands; a registry in any case.
    pub(crate) fn statuses(&self, now: UnixMs) -> Vec<SourceStatus> {
        let mut tallies = self.lock().tallies.clone();
        if self.list.is_some() {
            tallies.entry(Source::Registry).or_default();
        }
        let status = |(source, tally): (Source, Tally)| {
            let list = self.list.as_ref().filter(|_| source == Source::Registry);
            let list_problem = list.and_then(|list| list.problem(now));
            let nobody = tally.answered == 0 || tally.refused > 0;
            SourceStatus {
                source,
                peers: tally.peers,
                answered: tally.answered,
                refused: tally.refused + list.map_or(0, ListBook::refused),
                problem: list_problem.or(tally.problem.filter(|_| nobody)),
                list: list.and_then(|list| list.status()),
            }
        };
        tallies.into_iter().map(status).collect()
    }

    /// Why nobody answers, source by source, in one line.
    pub(crate) fn complaint(&self, now: UnixMs) -> String {
        let said = |status: SourceStatus| {
            let problem = status.problem.unwrap_or_else(|| match status.peers {
                0 => "names nobody".to_owned(),
                peers => format!("none of {peers} answers"),
            });
            format!("{}: {problem}", status.source)
        };
        self.statuses(now).into_iter().map(said).collect::<Vec<_>>().join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book() -> SourceBook {
        let network = "test".parse().unwrap();
        SourceBook::new(&Sources::default(), &network, UnixMs(0))
    }

    #[test]
    fn each_source_says_how_it_stands_and_why() {
        let book = book();
        book.begin(Source::Dns, 2);
        book.note_refused(Source::Dns);
        book.begin(Source::Configured, 1);
        book.note_problem(Source::Configured, "192.0.2.1:1 does not answer".to_owned());
        book.note_attempt();
        let sentence = book.complaint(UnixMs(0));
        assert_eq!(sentence, "configured: 192.0.2.1:1 does not answer; dns: none of 2 answers");
        book.begin(Source::Configured, 1);
        book.note_answer(Source::Configured);
        let statuses = book.statuses(UnixMs(0));
        assert_eq!((statuses[0].answered, statuses[0].problem.as_deref()), (1, None));
        assert_eq!((statuses[1].source, statuses[1].refused), (Source::Dns, 1));
    }

    #[test]
    fn who_stands_alone_in_the_file_that_all_share_has_nobody_else_to_ask() {
        let book = book();
        assert!(!book.only_this_node(), "nobody was asked yet");
        book.begin(Source::NetworkFile, 1);
        book.note_own(Source::NetworkFile);
        book.note_attempt();
        assert!(book.only_this_node());
        book.begin(Source::NetworkFile, 2);
        book.note_own(Source::NetworkFile);
        assert!(!book.only_this_node(), "another one is named, and may come back");
        book.begin(Source::NetworkFile, 0);
        book.begin(Source::Dns, 0);
        assert!(book.only_this_node());
        book.note_problem(Source::Dns, "the name server does not answer".to_owned());
        assert!(!book.only_this_node(), "who can tell whom it would name");
    }
}
