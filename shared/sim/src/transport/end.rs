//! [`End`]: one end of a connection, and what waits there.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use dht_context::transport::{CloseReason, RequestError};
use dht_kad::NodeId;
use tokio::sync::{Notify, mpsc, oneshot};

/// Requests that wait at one end to be served: more than any honest node sends, so that a flood
/// shows as a closed connection and not as memory.
const INBOX_MAX: usize = 1_024;

/// Frames of one answer of many that wait to be taken: the network has no windows that would hold the
/// other side back, so a reader that takes nothing for long loses its connection.
const PARTS_MAX: usize = 4_096;

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
    /// Answers of many frames that this end takes.
    subscribed: BTreeMap<u64, Parts>,
    /// Answers of many frames that this end gives; dropped when the asker wants no more.
    streaming: BTreeMap<u64, oneshot::Sender<()>>,
}

/// An answer of many frames on its arrival: some may overtake others on the way.
#[derive(Debug)]
struct Parts {
    next: u64,
    early: BTreeMap<u64, Option<Bytes>>,
    taker: mpsc::Sender<Result<Bytes, RequestError>>,
}

/// The frames to come, and the number under which they were asked for.
pub(super) type Subscribed = (u64, mpsc::Receiver<Result<Bytes, RequestError>>);

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

    /// Begins to wait for an answer of many frames.
    pub(super) fn subscribe(&self) -> Result<Subscribed, RequestError> {
        let mut state = self.state();
        if let Some(reason) = state.closed {
            return Err(RequestError::ConnectionLost(reason));
        }
        let number = state.next_ask;
        state.next_ask += 1;
        let (taker, frames) = mpsc::channel(PARTS_MAX);
        state.subscribed.insert(number, Parts { next: 0, early: BTreeMap::new(), taker });
        Ok((number, frames))
    }

    /// Nobody waits for these frames any more.
    pub(super) fn unsubscribe(&self, number: u64) {
        self.state().subscribed.remove(&number);
    }

    pub(super) fn subscriptions(&self) -> usize {
        self.state().subscribed.len()
    }

    /// A frame of an answer of many has arrived, or its end. False if there is no room for it.
    pub(super) fn part(&self, number: u64, place: u64, frame: Option<Bytes>) -> bool {
        let mut state = self.state();
        let Some(parts) = state.subscribed.get_mut(&number) else { return true };
        parts.early.insert(place, frame);
        while let Some(frame) = parts.early.remove(&parts.next) {
            parts.next += 1;
            match frame.map(|frame| parts.taker.try_send(Ok(frame))) {
                Some(Ok(())) => {}
                Some(Err(_)) => return false,
                None => {
                    state.subscribed.remove(&number);
                    return true;
                }
            }
        }
        parts.early.len() < PARTS_MAX
    }

    /// Begins to give an answer of many frames; resolves when the asker wants no more.
    pub(super) fn stream(&self, number: u64) -> oneshot::Receiver<()> {
        let (enough, ended) = oneshot::channel();
        self.state().streaming.insert(number, enough);
        ended
    }

    /// The asker wants no more, or there is no more.
    pub(super) fn enough(&self, number: u64) {
        self.state().streaming.remove(&number);
    }

    /// Nobody waits for this answer any more.
    pub(super) fn forget(&self, number: u64) {
        self.state().asked.remove(&number);
    }

    /// An answer has arrived.
    pub(super) fn answered(&self, number: u64, frame: Bytes) {
        let asked = self.state().asked.remove(&number);
        match asked {
            Some(answer) => drop(answer.send(Ok(frame))),
            // Where many frames were asked for, a single one answers as well.
            None => {
                self.part(number, 0, Some(frame));
                self.part(number, 1, None);
            }
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
        for (_, parts) in std::mem::take(&mut state.subscribed) {
            // If there is no room, the end of the frames says enough.
            let _ = parts.taker.try_send(Err(RequestError::ConnectionLost(reason)));
        }
        state.streaming.clear();
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
