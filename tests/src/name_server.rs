//! [`NameServer`]: a real authoritative name server on a port of its own, for one zone.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_server::Server;
use hickory_server::net::runtime::TokioRuntimeProvider;
use hickory_server::proto::rr::rdata::{A, SOA, TXT};
use hickory_server::proto::rr::{Name, RData, Record};
use hickory_server::store::in_memory::InMemoryZoneHandler;
use hickory_server::zone_handler::{AxfrPolicy, Catalog, ZoneType};
use tokio::net::{TcpListener, UdpSocket};

use crate::ports;
use crate::user::wait_for;

/// The zone that it knows all of. Nobody else has it: RFC 6761 keeps `test` for this.
pub const ZONE: &str = "dht.test";

/// Seconds that an answer may be remembered: not at all.
const TTL: u32 = 0;
/// How long a connection may be idle.
const IDLE: Duration = Duration::from_secs(5);
/// Answers that may wait on one connection.
const ANSWERS_MAX: usize = 32;

/// A name server that answers until it is dropped, by UDP and TCP.
pub struct NameServer {
    addr: SocketAddr,
    zone: Arc<InMemoryZoneHandler<TokioRuntimeProvider>>,
    /// Its tasks end with it.
    _server: Server<Catalog>,
}

impl NameServer {
    /// Starts a server whose zone has nothing in it.
    #[must_use]
    pub fn start() -> Self {
        Self::start_at(ports::free_address())
    }

    /// Starts a server at an address that was picked before.
    #[must_use]
    pub fn start_at(addr: SocketAddr) -> Self {
        let origin = name(ZONE);
        let mut zone =
            InMemoryZoneHandler::empty(origin.clone(), ZoneType::Primary, AxfrPolicy::Deny);
        let soa = SOA::new(origin.clone(), origin.clone(), 1, 60, 60, 60, TTL);
        zone.upsert_mut(Record::from_rdata(origin.clone(), TTL, RData::SOA(soa)), 1);
        let zone = Arc::new(zone);
        let mut catalog = Catalog::new();
        catalog.upsert(origin.into(), vec![zone.clone()]);
        let server = wait_for(async {
            let mut server = Server::new(catalog);
            server.register_socket(UdpSocket::bind(addr).await.expect("the port for UDP"));
            let listener = TcpListener::bind(addr).await.expect("the port for TCP");
            server.register_listener(listener, IDLE, ANSWERS_MAX);
            server
        });
        NameServer { addr, zone, _server: server }
    }

    /// Where it answers.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Adds a TXT record of these strings at `name`, which is in the zone.
    pub fn add_texts(&self, name: &str, texts: &[&str]) {
        let texts = texts.iter().map(ToString::to_string).collect();
        self.add(name, RData::TXT(TXT::new(texts)));
    }

    /// Adds the address of a host, which is in the zone.
    pub fn add_address(&self, host: &str, ip: Ipv4Addr) {
        self.add(host, RData::A(A(ip)));
    }

    fn add(&self, text: &str, data: RData) {
        let record = Record::from_rdata(name(text), TTL, data);
        assert!(wait_for(self.zone.upsert(record, 2)), "{text} is in the zone");
    }
}

fn name(text: &str) -> Name {
    format!("{text}.").parse().expect("a name in the DNS")
}
