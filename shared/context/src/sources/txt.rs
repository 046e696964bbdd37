//! Peers in TXT records of the DNS: `dht-peer=NODEID@host:port`, one a string.
//!
//! A name may have several records, and a record several strings: each string stands for itself. The
//! node id is needed, so that an address which has become somebody else's is noticed; who answers the
//! name servers' questions can still name nodes of his own. So peers from here are peers like any: they
//! show the way to others, and are believed no more than those.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::future::join_all;

use super::Source;
use crate::config::BOOTSTRAP_MAX;
use crate::context::Inner;
use crate::peer_address::PeerAddress;

/// What precedes the peer in a string.
const PREFIX: &str = "dht-peer=";

/// Bad strings that are remembered as having been told. A name with more than that is somebody's joke.
const TOLD_MAX: usize = 64;

/// The most characters of a bad string that are logged.
const SHOWN_MAX: usize = 80;

/// Which strings have been complained of: each is told once.
#[derive(Debug, Default)]
pub(crate) struct Told(BTreeSet<String>);

/// The peer that a string names.
fn peer_in(text: &str) -> Option<PeerAddress> {
    text.strip_prefix(PREFIX)?.parse().ok().filter(|peer: &PeerAddress| peer.id.is_some())
}

impl Inner {
    /// Asks the DNS for peers, and takes note of what it says that is of no use.
    pub(crate) async fn dns_peers(self: &Arc<Self>, told: &mut Told) -> Vec<PeerAddress> {
        let names = &self.config.sources.dns;
        let answers = join_all(names.iter().map(|name| self.resolver.texts(name))).await;
        let mut peers: Vec<PeerAddress> = Vec::new();
        let mut problem = None;
        let mut bad = 0;
        for (name, answer) in names.iter().zip(answers) {
            let texts = answer.unwrap_or_else(|error| {
                problem = Some(error.to_string());
                Vec::new()
            });
            for text in texts {
                match peer_in(&text) {
                    Some(peer) if peers.contains(&peer) => {}
                    Some(peer) if peers.len() < BOOTSTRAP_MAX => peers.push(peer),
                    Some(_) => {}
                    None => {
                        let shown: String = text.chars().take(SHOWN_MAX).collect();
                        problem = Some(format!("«{shown}» at {name} names no peer"));
                        told.say(name, shown);
                        bad += 1;
                    }
                }
            }
        }
        self.sources.begin(Source::Dns, peers.len());
        for _ in 0..bad {
            self.sources.note_refused(Source::Dns);
        }
        if let Some(problem) = problem {
            self.sources.note_problem(Source::Dns, problem);
        }
        peers
    }
}

impl Told {
    fn say(&mut self, name: &str, text: String) {
        if self.0.len() < TOLD_MAX && !self.0.contains(&text) {
            tracing::warn!(
                name,
                %text,
                "a TXT record names no peer; write dht-peer=NODEID@host:port, one a string"
            );
            self.0.insert(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_names_a_pinned_peer_or_nobody() {
        let id = "ab".repeat(32);
        let peer = peer_in(&format!("dht-peer={id}@node.example.org:4400")).unwrap();
        assert_eq!(peer.to_string(), format!("{id}@node.example.org:4400"));
        for text in ["", "v=spf1 -all", "dht-peer=", "dht-peer=node.example.org:4400"] {
            assert_eq!(peer_in(text), None, "{text}");
        }
        assert_eq!(peer_in(&format!("dht-peer={id}@node.example.org")), None);
        assert_eq!(peer_in(&format!(" dht-peer={id}@h:1")), None);
    }
}
