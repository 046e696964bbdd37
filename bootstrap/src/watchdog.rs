//! The watchdog: asks the node, from outside of its threads, whether it still works, and tells the
//! service manager so. What gets no answer is not reported; the service manager then ends the process
//! and starts it again.
//!
//! ```text
//! watchdog thread ── QUIC over loopback: Ping ─▶ each UDP socket ─▶ network thread ─▶ Pong ──┐
//!        │                                                                                  ├─▶ WATCHDOG=1
//!        └── nothing to do, through the queue of puts ─▶ writer thread ─▶ answer ───────────┘
//! ```
//!
//! Only the process's own fault counts: a node without neighbours, one whose network is cut, one that is
//! full or read-only answers both questions. Such things fail readiness, and a restart would mend none of
//! them. A socket that has failed, a network thread that is stuck and a writer that hangs in a system call
//! answer nothing.
//!
//! It has a thread, a runtime and a QUIC endpoint of its own, with a key made for it alone, so that it
//! shares nothing with what it watches: a question asked from within a thread that is stuck is never asked.
//! The node proves its key to it like to anyone else, so nobody else on the port can answer for it. It asks
//! from a loopback address of its own, since the node limits what one address may have; and it keeps its
//! connection, so that a node that can take no more of them still answers it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use dht_context::node_key::NodeKey;
use dht_context::quic::{QuicConfig, QuicTransport, TransportLimits};
use dht_context::transport::{Connection, Transport};
use dht_kad::codec;
use dht_kad::message::{Mode, Ping, Request, Response};
use dht_kad::{NetworkName, NodeId};
use futures_util::future::{self, BoxFuture};
use thiserror::Error;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::service_manager::ServiceManager;

/// How many times it asks within the service manager's limit. Systemd advises two; with three, one
/// question that a busy machine delays for its whole time costs nothing yet.
const QUESTIONS_A_LIMIT: u32 = 3;
/// Where it asks from on IPv4: of the loopback addresses, which are all this machine's, one that nobody
/// else is likely to use.
const OWN_V4: Ipv4Addr = Ipv4Addr::new(127, 44, 0, 1);

/// Asks the writer for a sign of life: see [`RocksStore::writer_answers`].
///
/// [`RocksStore::writer_answers`]: crate::store::RocksStore::writer_answers
pub type AskWriter = Box<dyn Fn() -> BoxFuture<'static, bool> + Send>;

/// What is watched.
pub struct Watched {
    /// The node's name: nobody else's answer counts.
    pub node: NodeId,
    /// Its network.
    pub network: NetworkName,
    /// The addresses that its sockets are bound to; each has to answer.
    pub sockets: Vec<SocketAddr>,
    /// Its writer.
    pub ask_writer: AskWriter,
}

/// A thread that watches the node until this is dropped.
#[derive(Debug)]
pub struct Watchdog {
    _until_dropped: oneshot::Sender<()>,
}

impl Watchdog {
    /// Begins to watch. The service manager is told at least once in `limit` while the node works.
    ///
    /// # Errors
    /// What the operating system says if it starts no thread.
    pub fn start(watched: Watched, limit: Duration, told: ServiceManager) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (until_dropped, dropped) = oneshot::channel::<()>();
        let watching = async move {
            tokio::select! {
                biased;
                _ = dropped => {}
                () = watch(watched, limit / QUESTIONS_A_LIMIT, told) => {}
            }
        };
        let thread = std::thread::Builder::new().name("watchdog".to_owned());
        thread.spawn(move || runtime.block_on(watching))?;
        Ok(Watchdog { _until_dropped: until_dropped })
    }
}

/// Asks all at once, again and again.
async fn watch(watched: Watched, every: Duration, told: ServiceManager) {
    let Watched { node, network, sockets, ask_writer } = watched;
    let asker = |socket| Asker {
        node,
        network: network.clone(),
        target: on_this_machine(socket, &sockets),
        line: None,
    };
    let mut askers: Vec<Asker> = sockets.iter().map(|socket| asker(*socket)).collect();
    let mut tick = interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let network = future::join_all(askers.iter_mut().map(|asker| asker.ask_within(every)));
        let writer = timeout(every, ask_writer());
        let (network, writer) = future::join(network, writer).await;
        let mut silent: Vec<String> = network.into_iter().filter_map(Result::err).collect();
        if !writer.unwrap_or(false) {
            silent.push("the thread that writes records does not answer".to_owned());
        }
        if silent.is_empty() {
            told.feed_watchdog();
        } else {
            let what = silent.join("; ");
            tracing::error!(what, "the node does not work; systemd restarts it if that lasts");
            told.say(&format!("stuck: {what}"));
        }
    }
}

/// Asks at one of the node's sockets.
struct Asker {
    node: NodeId,
    network: NetworkName,
    target: SocketAddr,
    line: Option<Line>,
}

/// A connection to the node, and the endpoint that it lives on.
struct Line {
    connection: Arc<dyn Connection>,
    _transport: Arc<QuicTransport>,
}

/// Why there was no answer.
#[derive(Debug, Error)]
#[error("the socket at {target} does not answer ({reason})")]
struct Silence {
    target: SocketAddr,
    reason: String,
}

impl Asker {
    /// Asks for a pong. After a failure the next question goes by a new connection from a new endpoint:
    /// what failed may have been the asker's own.
    async fn ask_within(&mut self, limit: Duration) -> Result<(), String> {
        let asked = timeout(limit, self.ask()).await;
        let answered = asked.unwrap_or_else(|_| Err(format!("no answer within {limit:?}")));
        answered.map_err(|reason| {
            self.line = None;
            Silence { target: self.target, reason }.to_string()
        })
    }

    async fn ask(&mut self) -> Result<(), String> {
        let request = Request::Ping(Ping { mode: Mode::Client });
        let frame = codec::encode_request(&request).map_err(|error| error.to_string())?;
        let connection = match &self.line {
            Some(line) if line.connection.is_open() => Arc::clone(&line.connection),
            _ => self.connect().await?,
        };
        let answer = connection.request(frame).await.map_err(|error| error.to_string())?;
        match codec::decode_response(&answer) {
            // A refusal, such as of one who asks too often, is an answer.
            Ok(Response::Pong(_) | Response::Refused(_)) => Ok(()),
            _ => Err("its answer is not one".to_owned()),
        }
    }

    async fn connect(&mut self) -> Result<Arc<dyn Connection>, String> {
        let transport = QuicTransport::bind(QuicConfig {
            key: NodeKey::generate().map_err(|error| error.to_string())?,
            network: self.network.clone(),
            listen: vec![asked_from(self.target)],
            // It only asks.
            limits: TransportLimits { connections: 0, handshakes: 0, ..TransportLimits::default() },
        })
        .map_err(|error| error.to_string())?;
        let dialled = transport.dial(self.target, Some(self.node)).await;
        let connection = dialled.map_err(|error| error.to_string())?;
        self.line = Some(Line { connection: Arc::clone(&connection), _transport: transport });
        Ok(connection)
    }
}

/// Where a socket that is bound to `bound` is reached from this very machine.
fn on_this_machine(bound: SocketAddr, all: &[SocketAddr]) -> SocketAddr {
    let ip = match bound.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        // It serves IPv4 too, unless another socket does.
        IpAddr::V6(ip) if ip.is_unspecified() && !all.iter().any(SocketAddr::is_ipv4) => {
            Ipv4Addr::LOCALHOST.into()
        }
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, bound.port())
}

/// From where `target`, on this machine, is asked; at a port that the system chooses.
fn asked_from(target: SocketAddr) -> SocketAddr {
    match target.ip() {
        IpAddr::V4(_) => SocketAddr::from((OWN_V4, 0)),
        // There is one loopback address only, and it may not be able to reach another.
        ip @ IpAddr::V6(_) => SocketAddr::new(ip, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_socket_is_reached_over_loopback_or_its_own_address() {
        let cases: [(&[&str], &[&str]); 4] = [
            (&["[::]:1"], &["127.0.0.1:1"]),
            (&["0.0.0.0:1", "[::]:1"], &["127.0.0.1:1", "[::1]:1"]),
            (&["192.0.2.1:1", "[::]:2"], &["192.0.2.1:1", "[::1]:2"]),
            (&["[2001:db8::1]:1", "127.0.0.1:2"], &["[2001:db8::1]:1", "127.0.0.1:2"]),
        ];
        for (bound, expected) in cases {
            let bound: Vec<SocketAddr> = bound.iter().map(|addr| addr.parse().unwrap()).collect();
            let reached = bound.iter().map(|addr| on_this_machine(*addr, &bound).to_string());
            assert_eq!(reached.collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn it_asks_from_an_address_of_its_own_where_there_is_one() {
        let from = |target: &str| asked_from(target.parse().unwrap()).to_string();
        assert_eq!(from("127.0.0.1:4400"), "127.44.0.1:0");
        assert_eq!(from("192.0.2.1:4400"), "127.44.0.1:0");
        assert_eq!(from("[::1]:4400"), "[::1]:0");
    }
}
