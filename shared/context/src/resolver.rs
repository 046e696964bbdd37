//! Names to addresses and peers, behind a trait, so that the simulator needs no name server.
//!
//! Hosts are the operating system's matter: its own files and services besides the DNS. TXT records
//! are looked up in the DNS itself, at the servers that the system is configured with. A
//! [`ServerResolver`] asks one server for both instead.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::BoxFuture;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;
use thiserror::Error;

use crate::peer_address::PeerAddress;

/// A look-up takes at most this: a server that is silent three times in a row does not answer.
const LOOKUP_LONGEST: Duration = Duration::from_secs(6);
/// How long one question waits for its answer before it is asked again.
const QUESTION_LONGEST: Duration = Duration::from_secs(2);
/// The most strings that are taken of one name: more than a network has bootstrap nodes.
const TEXTS_MAX: usize = 256;

/// Finds what names stand for.
pub trait Resolver: Send + Sync + 'static {
    /// The addresses of a peer, best first; none if the name is not known now.
    fn resolve(&self, peer: &PeerAddress) -> BoxFuture<'static, Vec<SocketAddr>>;

    /// The strings of a name's TXT records (RFC 1035, section 3.3.14), each by itself, in no order.
    fn texts(&self, name: &str) -> BoxFuture<'static, Result<Vec<String>, TextError>>;
}

/// A name's TXT records cannot be had.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("the TXT records of {name} cannot be had ({reason}); check the name and the name server")]
pub struct TextError {
    /// The name.
    pub name: String,
    /// What went wrong.
    pub reason: String,
}

/// Asks the operating system, and the name servers that it is configured with.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

/// Asks one name server.
#[derive(Clone, Copy, Debug)]
pub struct ServerResolver {
    server: SocketAddr,
}

impl ServerResolver {
    /// A resolver that asks the name server at this address, by UDP and TCP.
    #[must_use]
    pub fn new(server: SocketAddr) -> Self {
        ServerResolver { server }
    }

    fn dns(&self) -> Result<TokioResolver, String> {
        let [mut udp, mut tcp] = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
        (udp.port, tcp.port) = (self.server.port(), self.server.port());
        let server = NameServerConfig::new(self.server.ip(), true, vec![udp, tcp]);
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
        let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        build(builder)
    }
}

type Builder = hickory_resolver::ResolverBuilder<TokioRuntimeProvider>;

/// One for each look-up: they are rare, and what the system is configured with may change.
fn build(mut builder: Builder) -> Result<TokioResolver, String> {
    builder.options_mut().timeout = QUESTION_LONGEST;
    builder.build().map_err(|error| error.to_string())
}

fn system_dns() -> Result<TokioResolver, String> {
    build(TokioResolver::builder_tokio().map_err(|error| error.to_string())?)
}

impl Resolver for SystemResolver {
    fn resolve(&self, peer: &PeerAddress) -> BoxFuture<'static, Vec<SocketAddr>> {
        if let Some(addr) = peer.socket_addr() {
            return Box::pin(std::future::ready(vec![addr]));
        }
        let peer = peer.clone();
        Box::pin(async move {
            match tokio::net::lookup_host((peer.host.as_str(), peer.port)).await {
                Ok(addrs) => addrs.collect(),
                Err(error) => unresolved(&peer, &error.to_string()),
            }
        })
    }

    fn texts(&self, name: &str) -> BoxFuture<'static, Result<Vec<String>, TextError>> {
        let name = name.to_owned();
        Box::pin(async move { texts(system_dns(), name).await })
    }
}

impl Resolver for ServerResolver {
    fn resolve(&self, peer: &PeerAddress) -> BoxFuture<'static, Vec<SocketAddr>> {
        if let Some(addr) = peer.socket_addr() {
            return Box::pin(std::future::ready(vec![addr]));
        }
        let (dns, peer) = (self.dns(), peer.clone());
        Box::pin(async move {
            let dns = match dns {
                Ok(dns) => dns,
                Err(reason) => return unresolved(&peer, &reason),
            };
            let host = format!("{}.", peer.host.trim_end_matches('.'));
            match tokio::time::timeout(LOOKUP_LONGEST, dns.lookup_ip(host)).await {
                Ok(Ok(found)) => found.iter().map(|ip| SocketAddr::new(ip, peer.port)).collect(),
                Ok(Err(error)) => unresolved(&peer, &error.to_string()),
                Err(_) => unresolved(&peer, "the name server does not answer"),
            }
        })
    }

    fn texts(&self, name: &str) -> BoxFuture<'static, Result<Vec<String>, TextError>> {
        let (dns, name) = (self.dns(), name.to_owned());
        Box::pin(async move { texts(dns, name).await })
    }
}

fn unresolved(peer: &PeerAddress, reason: &str) -> Vec<SocketAddr> {
    tracing::warn!(%peer, reason, "the host name cannot be resolved; check it");
    Vec::new()
}

async fn texts(dns: Result<TokioResolver, String>, name: String) -> Result<Vec<String>, TextError> {
    let failed = |reason: String| TextError { name: name.clone(), reason };
    let dns = dns.map_err(failed)?;
    // The dot at the end keeps the system's search list out.
    let asked = dns.txt_lookup(format!("{name}."));
    let found = match tokio::time::timeout(LOOKUP_LONGEST, asked).await {
        Ok(found) => found.map_err(|error| failed(error.to_string()))?,
        Err(_) => return Err(failed("the name server does not answer".to_owned())),
    };
    let records = found.answers().iter().filter_map(|record| match &record.data {
        RData::TXT(txt) => Some(txt),
        _ => None,
    });
    let strings = records.flat_map(|txt| txt.txt_data.iter());
    Ok(strings.take(TEXTS_MAX).map(|text| String::from_utf8_lossy(text).into_owned()).collect())
}
