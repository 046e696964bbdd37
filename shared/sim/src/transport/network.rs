//! [`Network`]: the letters on their way, the hosts that are alive, and the ends of connections.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use dht_context::transport::{CloseReason, DialError};
use dht_kad::NodeId;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::end::{End, EndId, Ends};
use super::letter::{Cargo, Hello, Letter, Message};
use super::links::Links;
use super::sent::Sent;
use crate::dice::Dice;
use crate::trace::{Event, Trace};

/// Silence after which a connection is lost, as in the QUIC transport.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a dialler says something when there is nothing to say, as in the QUIC transport.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// A handshake that takes longer is given up, as in the QUIC transport.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Frames that somebody who listens keeps: more than a scenario of an hour sends.
const OVERHEARD_MAX: usize = 1 << 20;
/// Connections that wait to be accepted, as in the QUIC transport; more are told that it is busy.
const READY_MAX: usize = 256;

/// The simulated network: see [`transport`](crate::transport).
pub struct Network {
    state: Mutex<State>,
    /// A letter is due before all others: the carrier must wake earlier.
    earlier: Notify,
}

struct State {
    began: Instant,
    links: Links,
    dice: Dice,
    trace: Trace,
    /// By the hosts' numbers.
    sent: Vec<Sent>,
    /// The frames of requests that somebody overheard, if anybody listens.
    overheard: Option<Vec<Bytes>>,
    ports: BTreeMap<SocketAddr, Port>,
    ends: BTreeMap<EndId, Arc<End>>,
    /// By moment, and in the order of posting within one.
    letters: BTreeMap<(Instant, u64), Letter>,
    /// Numbers given to ports, ends and letters so far.
    numbers: u64,
}

/// A host that is alive.
struct Port {
    id: NodeId,
    /// Tells this life from others of the same address.
    number: u64,
    arrived: Arc<Notify>,
    ready: VecDeque<Arc<End>>,
}

/// What a transport knows of its own port.
pub(super) struct PortRef {
    pub(super) addr: SocketAddr,
    pub(super) id: NodeId,
    pub(super) arrived: Arc<Notify>,
    number: u64,
}

impl Network {
    /// A network without hosts.
    #[must_use]
    pub fn new(links: Links, dice: Dice) -> Arc<Self> {
        let state = State {
            began: Instant::now(),
            links,
            dice,
            trace: Trace::default(),
            sent: Vec::new(),
            overheard: None,
            ports: BTreeMap::new(),
            ends: BTreeMap::new(),
            letters: BTreeMap::new(),
            numbers: 0,
        };
        Arc::new(Network { state: Mutex::new(state), earlier: Notify::new() })
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

impl State {
    fn deliver_due(&mut self) {
        let now = Instant::now();
        while let Some(first) = self.letters.first_entry() {
            if first.key().0 > now {
                return;
            }
            let letter = first.remove();
            self.deliver(letter, now);
        }
    }

    fn deliver(&mut self, letter: Letter, now: Instant) {
        let Letter { from, to, .. } = letter;
        if let Cargo::Alarm { end } = letter.cargo {
            return self.alarm(end, now);
        }
        let found = self.ports.get(&to).map(|port| (port.id, port.number));
        let Some((found, port)) = found.filter(|_| self.links.blocked_since(from, to).is_none())
        else {
            return self.try_again(letter, now);
        };
        let (kind, frame) = letter.cargo.traced();
        let number = |addr| self.links.number(addr).and_then(|number| u32::try_from(number).ok());
        let (from_number, to_number) = (number(&from), number(&to));
        let at = now.duration_since(self.began);
        self.trace.note(&Event { at, from: from_number, to: to_number, kind, frame });
        match letter.cargo {
            Cargo::Hello(hello) => self.post(to, from, Cargo::Welcome { hello, found, port }),
            Cargo::Welcome { hello, found, port } => self.welcome(to, from, hello, (found, port)),
            Cargo::Message { ends, message } => self.take(from, to, ends, message),
            Cargo::Alarm { .. } => {}
        }
    }

    /// A dialler hears who answers: the connection begins, or it is the wrong one.
    fn welcome(
        &mut self,
        own: SocketAddr,
        peer: SocketAddr,
        hello: Hello,
        (found, acceptor_port): (NodeId, u64),
    ) {
        let Hello { dialler, port, expected, answer } = hello;
        if answer.is_closed() || !self.has_port(own, port) {
            return;
        }
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            let _ = answer.send(Err(DialError::WrongNode { addr: peer, expected, found }));
            return;
        }
        let (here, there) = (self.number(), self.number());
        let ends = Ends { own: here, other: there };
        let end = Arc::new(End::new(ends, (own, peer), found, true));
        self.ends.insert(here, Arc::clone(&end));
        if self.has_port(peer, acceptor_port) {
            let ends = Ends { own: there, other: here };
            let other = End::new(ends, (peer, own), dialler, false);
            self.ends.insert(there, Arc::new(other));
        }
        self.post_on(&end, Message::Finished { acceptor_port });
        let _ = answer.send(Ok(end));
    }

    /// A message reaches the other end, or an address that knows nothing of it.
    fn take(&mut self, from: SocketAddr, to: SocketAddr, ends: Ends, message: Message) {
        let Some(end) = self.ends.get(&ends.other).cloned() else {
            if !matches!(message, Message::Reset | Message::Close(_)) {
                let ends = Ends { own: ends.other, other: ends.own };
                self.post(to, from, Cargo::Message { ends, message: Message::Reset });
            }
            return;
        };
        match message {
            Message::Finished { acceptor_port } => self.finished(end, acceptor_port),
            Message::Request { number, frame } => {
                if !end.asked(number, frame) {
                    self.close(&end, CloseReason::Busy);
                }
            }
            Message::Answer { number, frame } => end.answered(number, frame),
            Message::Part { number, place, frame } => {
                if !end.part(number, place, frame) {
                    self.close(&end, CloseReason::Busy);
                }
            }
            Message::Enough { number } => end.enough(number),
            Message::Close(reason) => self.end(&end, reason),
            Message::Reset => self.end(&end, CloseReason::Lost),
        }
    }

    fn finished(&mut self, end: Arc<End>, acceptor_port: u64) {
        match self.ports.get_mut(&end.own_addr) {
            Some(port) if port.number == acceptor_port && port.ready.len() < READY_MAX => {
                port.ready.push_back(end);
                port.arrived.notify_one();
            }
            _ => self.close(&end, CloseReason::Busy),
        }
    }

    /// What did not get through is sent again, until whoever sent it gives up.
    fn try_again(&mut self, mut letter: Letter, now: Instant) {
        let waited = now.duration_since(letter.sent_at);
        match &letter.cargo {
            Cargo::Hello(hello) | Cargo::Welcome { hello, .. } => {
                if hello.answer.is_closed() || waited >= HANDSHAKE_TIMEOUT {
                    return;
                }
            }
            Cargo::Message { message: Message::Reset | Message::Close(_), .. } => return,
            Cargo::Message { ends, .. } => {
                let Some(end) = self.ends.get(&ends.own).cloned() else { return };
                if waited >= IDLE_TIMEOUT {
                    return self.end(&end, CloseReason::Lost);
                }
            }
            Cargo::Alarm { .. } => return,
        }
        let wait = self.links.retry(letter.from, letter.to, letter.failures);
        letter.failures += 1;
        self.queue(now + wait, letter);
    }

    /// An end that has heard nothing for the idle timeout is lost.
    fn alarm(&mut self, id: EndId, now: Instant) {
        let Some(end) = self.ends.get(&id).cloned() else { return };
        let blocked_for_long = |from, to| {
            let since = self.links.blocked_since(from, to);
            since.is_some_and(|since| now.duration_since(since) >= IDLE_TIMEOUT)
        };
        if !self.ends.contains_key(&end.ids.other)
            || blocked_for_long(end.own_addr, end.peer_addr)
            || blocked_for_long(end.peer_addr, end.own_addr)
        {
            self.end(&end, CloseReason::Lost);
        }
    }

    fn block(&mut self, from: SocketAddr, to: SocketAddr) {
        self.links.block(from, to, Instant::now());
        self.set_alarms(|end| {
            (end.own_addr, end.peer_addr) == (from, to)
                || (end.own_addr, end.peer_addr) == (to, from)
        });
    }

    fn crash(&mut self, addr: SocketAddr) {
        if let Some(port) = self.ports.remove(&addr) {
            port.arrived.notify_one();
        }
        for end in self.ends_of(|end| end.own_addr == addr) {
            self.end(&end, CloseReason::Lost);
        }
        self.set_alarms(|end| end.peer_addr == addr);
    }

    fn bind(&mut self, addr: SocketAddr, id: NodeId) -> PortRef {
        let number = self.number();
        let arrived = Arc::new(Notify::new());
        let port = Port { id, number, arrived: Arc::clone(&arrived), ready: VecDeque::new() };
        self.ports.insert(addr, port);
        // Who dialled an earlier life of this address says something within the keep-alive
        // interval, and is told that the connection is no more.
        for end in self.ends_of(|end| end.peer_addr == addr && end.dialled) {
            let ends = Ends { own: end.ids.other, other: end.ids.own };
            let cargo = Cargo::Message { ends, message: Message::Reset };
            let now = Instant::now();
            let due = now + self.dice.between(Duration::ZERO, KEEP_ALIVE);
            let letter = Letter { from: addr, to: end.own_addr, sent_at: now, failures: 0, cargo };
            self.queue(due, letter);
        }
        PortRef { addr, id, arrived, number }
    }

    fn set_alarms(&mut self, of: impl Fn(&End) -> bool) {
        let now = Instant::now();
        for end in self.ends_of(of) {
            let (from, to, cargo) = (end.own_addr, end.own_addr, Cargo::Alarm { end: end.ids.own });
            self.queue(now + IDLE_TIMEOUT, Letter { from, to, sent_at: now, failures: 0, cargo });
        }
    }

    fn close(&mut self, end: &End, reason: CloseReason) {
        if self.ends.contains_key(&end.ids.own) {
            self.post_on(end, Message::Close(reason));
            self.end(end, reason);
        }
    }

    /// Ends one end, without telling the other.
    fn end(&mut self, end: &End, reason: CloseReason) {
        self.ends.remove(&end.ids.own);
        end.close(reason);
    }

    fn post_on(&mut self, end: &End, message: Message) {
        self.post(end.own_addr, end.peer_addr, Cargo::Message { ends: end.ids, message });
    }

    fn post(&mut self, from: SocketAddr, to: SocketAddr, cargo: Cargo) {
        let now = Instant::now();
        if let (Some(overheard), Cargo::Message { message: Message::Request { frame, .. }, .. }) =
            (&mut self.overheard, &cargo)
            && overheard.len() < OVERHEARD_MAX
        {
            overheard.push(frame.clone());
        }
        if let Some(sent) = self.links.number(&from).and_then(|from| self.sent.get_mut(from)) {
            sent.note(&cargo);
        }
        match (self.links.transit(from, to, cargo.size(), now), &cargo) {
            (Some(delay), _) => {
                let letter = Letter { from, to, sent_at: now, failures: 0, cargo };
                self.queue(now + delay, letter);
            }
            (None, Cargo::Message { ends, .. }) => {
                if let Some(end) = self.ends.get(&ends.own).cloned() {
                    self.end(&end, CloseReason::Lost);
                }
            }
            (None, _) => {}
        }
    }

    fn queue(&mut self, due: Instant, letter: Letter) {
        let number = self.number();
        self.letters.insert((due, number), letter);
    }

    fn ends_of(&self, which: impl Fn(&End) -> bool) -> Vec<Arc<End>> {
        self.ends.values().filter(|end| which(end)).cloned().collect()
    }

    fn has_port(&self, addr: SocketAddr, number: u64) -> bool {
        self.ports.get(&addr).is_some_and(|port| port.number == number)
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }
}
