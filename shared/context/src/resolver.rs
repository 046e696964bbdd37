//! Host names to addresses, behind a trait, so that the simulator needs no name server.

use std::net::SocketAddr;

use futures_util::future::BoxFuture;

use crate::peer_address::PeerAddress;

/// Finds the addresses of a peer.
pub trait Resolver: Send + Sync + 'static {
    /// The addresses, best first; none if the name is not known now.
    fn resolve(&self, peer: &PeerAddress) -> BoxFuture<'static, Vec<SocketAddr>>;
}

/// Asks the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl Resolver for SystemResolver {
    fn resolve(&self, peer: &PeerAddress) -> BoxFuture<'static, Vec<SocketAddr>> {
        if let Some(addr) = peer.socket_addr() {
            return Box::pin(std::future::ready(vec![addr]));
        }
        let peer = peer.clone();
        Box::pin(async move {
            match tokio::net::lookup_host((peer.host.as_str(), peer.port)).await {
                Ok(addrs) => addrs.collect(),
                Err(error) => {
                    tracing::warn!(%peer, %error, "the host name cannot be resolved; check it");
                    Vec::new()
                }
            }
        })
    }
}
