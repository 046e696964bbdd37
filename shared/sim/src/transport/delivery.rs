//! [`State`]: letters on their way, and what happens when one is due.
//!
//! ```text
//! post ─▶ Links: delay, loss ─▶ letters by moment ─▶ deliver ─▶ Hello, Welcome: a connection begins
//!                                      ▲                │       Message: the other end takes it
//!                                      └── try again ◀──┘       Alarm: silent for too long, it is lost
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dht_context::transport::{CloseReason, DialError};
use dht_kad::NodeId;
use tokio::sync::Notify;
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

/// All that the network knows, changed under one lock.
pub(super) struct State {
    pub(super) began: Instant,
    pub(super) links: Links,
    pub(super) dice: Dice,
    pub(super) trace: Trace,
    /// By the hosts' numbers.
    pub(super) sent: Vec<Sent>,
    /// The frames of requests that somebody overheard, if anybody listens.
    pub(super) overheard: Option<Vec<Bytes>>,
    pub(super) ports: BTreeMap<SocketAddr, Port>,
    /// The addresses that a host has ever lived at.
    lived: BTreeSet<SocketAddr>,
    pub(super) ends: BTreeMap<EndId, Arc<End>>,
    /// By moment, and in the order of posting within one.
    pub(super) letters: BTreeMap<(Instant, u64), Letter>,
    /// Numbers given to ports, ends and letters so far.
    pub(super) numbers: u64,
}

/// A host that is alive.
pub(super) struct Port {
    pub(super) id: NodeId,
    /// Tells this life from others of the same address.
    pub(super) number: u64,
    pub(super) arrived: Arc<Notify>,
    pub(super) ready: VecDeque<Arc<End>>,
}

/// What a transport knows of its own port.
pub(super) struct PortRef {
    pub(super) addr: SocketAddr,
    pub(super) id: NodeId,
    pub(super) arrived: Arc<Notify>,
    pub(super) number: u64,
}

impl State {
    /// A network without hosts.
    pub(super) fn new(links: Links, dice: Dice) -> Self {
        State {
            began: Instant::now(),
            links,
            dice,
            trace: Trace::default(),
            sent: Vec::new(),
            overheard: None,
            ports: BTreeMap::new(),
            lived: BTreeSet::new(),
            ends: BTreeMap::new(),
            letters: BTreeMap::new(),
            numbers: 0,
        }
    }

    pub(super) fn deliver_due(&mut self) {
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

    pub(super) fn block(&mut self, from: SocketAddr, to: SocketAddr) {
        self.links.block(from, to, Instant::now());
        self.set_alarms(|end| {
            (end.own_addr, end.peer_addr) == (from, to)
                || (end.own_addr, end.peer_addr) == (to, from)
        });
    }

    pub(super) fn crash(&mut self, addr: SocketAddr) {
        if let Some(port) = self.ports.remove(&addr) {
            port.arrived.notify_one();
        }
        for end in self.ends_of(|end| end.own_addr == addr) {
            self.end(&end, CloseReason::Lost);
        }
        self.set_alarms(|end| end.peer_addr == addr);
    }

    pub(super) fn bind(&mut self, addr: SocketAddr, id: NodeId) -> PortRef {
        let number = self.number();
        let arrived = Arc::new(Notify::new());
        let port = Port { id, number, arrived: Arc::clone(&arrived), ready: VecDeque::new() };
        self.ports.insert(addr, port);
        if self.lived.insert(addr) {
            return PortRef { addr, id, arrived, number };
        }
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

    pub(super) fn close(&mut self, end: &End, reason: CloseReason) {
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

    pub(super) fn post_on(&mut self, end: &End, message: Message) {
        self.post(end.own_addr, end.peer_addr, Cargo::Message { ends: end.ids, message });
    }

    pub(super) fn post(&mut self, from: SocketAddr, to: SocketAddr, cargo: Cargo) {
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

    pub(super) fn ends_of(&self, which: impl Fn(&End) -> bool) -> Vec<Arc<End>> {
        self.ends.values().filter(|end| which(end)).cloned().collect()
    }

    pub(super) fn has_port(&self, addr: SocketAddr, number: u64) -> bool {
        self.ports.get(&addr).is_some_and(|port| port.number == number)
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }
}
