//! [`Network`]: the simulated network as hosts, their transports and scenarios see it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use dht_context::transport::{CloseReason, DialError};
use dht_kad::NodeId;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::delivery::{PortRef, State};
use super::end::End;
use super::letter::{Cargo, Hello, Message};
use super::links::Links;
use super::sent::Sent;
use crate::dice::Dice;
use crate::trace::Trace;

/// The simulated network: see [`transport`](crate::transport).
pub struct Network {
    state: Mutex<State>,
    /// A letter is due before all others: the carrier must wake earlier.
    earlier: Notify,
}

impl Network {
    /// A network without hosts.
    #[must_use]
    pub fn new(links: Links, dice: Dice) -> Arc<Self> {
        Arc::new(Network { state: Mutex::new(State::new(links, dice)), earlier: Notify::new() })
    }

    /// Delivers letters for ever: the one task of the network.
    pub async fn carry(self: Arc<Self>) {
        loop {
            let due = self.state().letters.keys().next().map(|(due, _)| *due);
            tokio::select! {
                biased;
                () = self.earlier.notified() => {}
                () = sleep_until(due) => self.change(State::deliver_due),
            }
        }
    }

    /// Gives a host its place on the map.
    pub fn place(&self, addr: SocketAddr) {
        self.change(|state| {
            state.links.place(addr);
            state.sent.resize(state.links.hosts(), Sent::default());
        });
    }

    /// A host dies: its connections vanish without a word.
    pub fn crash(&self, addr: SocketAddr) {
        self.change(|state| state.crash(addr));
    }

    /// Cuts two groups of hosts off from each other: letters between them are repeated for a while,
    /// and lost.
    pub fn split(&self, one: &[SocketAddr], other: &[SocketAddr]) {
        self.change(|state| {
            for (a, b) in one.iter().flat_map(|a| other.iter().map(move |b| (*a, *b))) {
                state.block(a, b);
                state.block(b, a);
            }
        });
    }

    /// Lets nothing pass from one host to another; the way back stays open.
    pub fn block(&self, from: SocketAddr, to: SocketAddr) {
        self.change(|state| state.block(from, to));
    }

    /// Opens the way from one host to another.
    pub fn open(&self, from: SocketAddr, to: SocketAddr) {
        self.state().links.open(from, to);
    }

    /// Opens all ways.
    pub fn heal(&self) {
        self.state().links.open_all();
    }

    /// Changes how many packets are lost from now on.
    pub fn set_loss(&self, permille: u32) {
        self.state().links.set_loss(permille);
    }

    /// Changes how many letters take a detour from now on, on which later ones overtake them.
    pub fn set_detours(&self, permille: u32) {
        self.state().links.set_detours(permille);
    }

    /// From now on somebody listens to all that is asked.
    pub fn overhear(&self) {
        self.state().overheard.get_or_insert_default();
    }

    /// What was asked since somebody listens, first things first; nobody listens any more.
    #[must_use]
    pub fn overheard(&self) -> Vec<Bytes> {
        self.state().overheard.take().unwrap_or_default()
    }

    /// What each host that ever had a place has sent, in the order of their numbers.
    #[must_use]
    pub fn sent(&self) -> Vec<Sent> {
        self.state().sent.clone()
    }

    /// What all hosts have sent together.
    #[must_use]
    pub fn sent_in_all(&self) -> Sent {
        self.state().sent.iter().fold(Sent::default(), |all, one| all.plus(one))
    }

    /// What was delivered so far.
    #[must_use]
    pub fn trace(&self) -> Trace {
        self.state().trace.clone()
    }

    pub(super) fn bind(&self, addr: SocketAddr, id: NodeId) -> PortRef {
        self.change(|state| state.bind(addr, id))
    }

    /// Ends a host's life in good order: the others are told.
    pub(super) fn unbind(&self, port: &PortRef) {
        self.change(|state| {
            if state.has_port(port.addr, port.number) {
                state.ports.remove(&port.addr);
                port.arrived.notify_one();
                for end in state.ends_of(|end| end.own_addr == port.addr) {
                    state.close(&end, CloseReason::Stopping);
                }
            }
        });
    }

    /// The next connection that waits to be accepted, if one does; `None` once the port is gone.
    pub(super) fn next_arrived(&self, port: &PortRef) -> Option<Option<Arc<End>>> {
        let mut state = self.state();
        let bound = state.ports.get_mut(&port.addr).filter(|bound| bound.number == port.number)?;
        Some(bound.ready.pop_front())
    }

    /// Sends a dialler's first flight.
    pub(super) fn hello(
        &self,
        port: &PortRef,
        to: SocketAddr,
        expected: Option<NodeId>,
    ) -> oneshot::Receiver<Result<Arc<End>, DialError>> {
        let (answer, waiting) = oneshot::channel();
        self.change(|state| {
            if state.has_port(port.addr, port.number) {
                let hello = Hello { dialler: port.id, port: port.number, expected, answer };
                state.post(port.addr, to, Cargo::Hello(hello));
            } else {
                let _ = answer.send(Err(DialError::Stopping));
            }
        });
        waiting
    }

    /// Sends something from an open end to the other one.
    pub(super) fn send(&self, end: &End, message: Message) {
        self.change(|state| {
            if state.ends.contains_key(&end.ids.own) {
                state.post_on(end, message);
            }
        });
    }

    pub(super) fn close(&self, end: &End, reason: CloseReason) {
        self.change(|state| state.close(end, reason));
    }

    /// Changes the state, and wakes the carrier if a letter is now due before all others.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state();
        let before = state.letters.keys().next().copied();
        let result = change(&mut state);
        let after = state.letters.keys().next().copied();
        drop(state);
        if after.is_some() && (before.is_none() || after < before) {
            self.earlier.notify_one();
        }
        result
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
