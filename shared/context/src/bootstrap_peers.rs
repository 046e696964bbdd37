//! [`BootstrapPeers`]: whom to ask first, as the operator names them, also while the node runs.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::config::{BOOTSTRAP_MAX, ConfigError};
use crate::peer_address::PeerAddress;

/// The list, and whether joining has yet to look at it.
#[derive(Debug)]
pub(crate) struct BootstrapPeers {
    list: Mutex<List>,
    changed: Notify,
}

#[derive(Debug)]
struct List {
    peers: Vec<PeerAddress>,
    is_new: bool,
}

impl BootstrapPeers {
    pub(crate) fn new(peers: Vec<PeerAddress>) -> Self {
        let list = Mutex::new(List { peers, is_new: false });
        BootstrapPeers { list, changed: Notify::new() }
    }

    /// The list at present.
    pub(crate) fn peers(&self) -> Vec<PeerAddress> {
        self.list().peers.clone()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list().peers.is_empty()
    }

    /// Puts another list in place of this one.
    pub(crate) fn replace(&self, peers: Vec<PeerAddress>) -> Result<(), ConfigError> {
        if peers.len() > BOOTSTRAP_MAX {
            return Err(ConfigError::TooManyBootstrapPeers(peers.len()));
        }
        *self.list() = List { peers, is_new: true };
        self.changed.notify_one();
        Ok(())
    }

    /// Whether the list was replaced since this was asked last.
    pub(crate) fn take_new(&self) -> bool {
        std::mem::take(&mut self.list().is_new)
    }

    /// Waits until the list is replaced. Only joining waits for it.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    fn list(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn peers(count: usize) -> Vec<PeerAddress> {
        (0..count).map(|port| format!("node.example:{}", port + 1).parse().unwrap()).collect()
    }

    #[tokio::test]
    async fn a_new_list_is_told_of_once_and_one_that_is_too_long_changes_nothing() {
        let bootstrap = BootstrapPeers::new(peers(1));
        assert!(!bootstrap.take_new(), "the first list is not new: joining begins with it");
        bootstrap.replace(peers(2)).unwrap();
        assert!(bootstrap.changed().now_or_never().is_some());
        assert!(bootstrap.take_new() && !bootstrap.take_new());
        let refused = bootstrap.replace(peers(BOOTSTRAP_MAX + 1));
        assert_eq!(refused, Err(ConfigError::TooManyBootstrapPeers(BOOTSTRAP_MAX + 1)));
        assert_eq!((bootstrap.peers(), bootstrap.take_new()), (peers(2), false));
    }
}
