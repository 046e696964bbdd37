//! [`End`]: one end of a connection, and what waits there.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use dht_context::transport::{CloseReason, RequestError};
use dht_kad::NodeId;
use tokio::sync::{Notify, oneshot};

/// Requests that wait at one end to be served: more than any honest node sends, so that a flood
/// shows as a closed connection and not as memory.
const INBOX_MAX: usize = 1_024;

/// Names one end of one connection in a run.
pub(super) type EndId = u64;

/// Where the two ends of a connection lie.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    pub(super) own: EndId,
    pub(super) other: EndId,
}

/// One end of a connection.
#[derive(Debug)]
pub(super) struct End {
    pub(super) ids: Ends,
    pub(super) own_addr: SocketAddr,
    pub(super) peer_addr: SocketAddr,
    pub(super) peer: NodeId,
    pub(super) dialled: bool,
    /// Wakes whoever serves this end.
    pub(super) wake: Notify,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    closed: Option<CloseReason>,
    asked: BTreeMap<u64, oneshot::Sender<Result<Bytes, RequestError>>>,
    inbox: VecDeque<(u64, Bytes)>,
    next_ask: u64,
    serving: usize,
}

/// The answer to come, and the number under which it was asked for.
pub(super) type Asked = (u64, oneshot::Receiver<Result<Bytes, RequestError>>);

impl End {
    pub(super) fn new(
        ids: Ends,
        (own_addr, peer_addr): (SocketAddr, SocketAddr),
        peer: NodeId,
        dialled: bool,
    ) -> Self {
        let (wake, state) = (Notify::new(), Mutex::default());
        End { ids, own_addr, peer_addr, peer, dialled, wake, state }
    }

    /// Begins to wait for an answer.
    pub(super) fn ask(&self) -> Result<Asked, RequestError> {
        let mut state = self.state();
        if let Some(reason) = state.closed {
            return Err(RequestError::ConnectionLost(reason));
        }
        let number = state.next_ask;
        state.next_ask += 1;
        let (answer, waiting) = oneshot::channel();
        state.asked.insert(number, answer);
        Ok((number, waiting))
    }

    /// Nobody waits for this answer any more.
    pub(super) fn forget(&self, number: u64) {
        self.state().asked.remove(&number);
    }

    /// An answer has arrived.
    pub(super) fn answered(&self, number: u64, frame: Bytes) {
        if let Some(answer) = self.state().asked.remove(&number) {
            let _ = answer.send(Ok(frame));
        }
    }

    /// A request has arrived. False if there is no room for it.
    pub(super) fn asked(&self, number: u64, frame: Bytes) -> bool {
        let mut state = self.state();
        if state.inbox.len() >= INBOX_MAX {
            return false;
        }
        state.inbox.push_back((number, frame));
        drop(state);
        self.wake.notify_one();
        true
    }

    /// The next request to serve.
    pub(super) fn next_request(&self) -> Option<(u64, Bytes)> {
        let mut state = self.state();
        let next = state.inbox.pop_front()?;
        state.serving += 1;
        Some(next)
    }

    /// A request has been answered.
    pub(super) fn served(&self) {
        let mut state = self.state();
        state.serving = state.serving.saturating_sub(1);
    }

    /// Ends this end: whoever waits here is told. False if it had ended before.
    pub(super) fn close(&self, reason: CloseReason) -> bool {
        let mut state = self.state();
        if state.closed.is_some() {
            return false;
        }
        state.closed = Some(reason);
        state.inbox.clear();
        for (_, answer) in std::mem::take(&mut state.asked) {
            let _ = answer.send(Err(RequestError::ConnectionLost(reason)));
        }
        drop(state);
        self.wake.notify_one();
        true
    }

    pub(super) fn closed(&self) -> Option<CloseReason> {
        self.state().closed
    }

    pub(super) fn in_flight(&self) -> usize {
        let state = self.state();
        state.asked.len() + state.inbox.len() + state.serving
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
