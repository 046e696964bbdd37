//! UDP sockets and the QUIC endpoints on them.
//!
//! An IPv6 wildcard address (`[::]:port`) serves IPv4 too, unless an IPv4 address is listed as
//! well: then each family has a socket of its own. Any other address serves its family alone.

use std::fmt;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use dht_kad::ErrorNumber;
use quinn::crypto::{CryptoError, HmacKey};
use quinn::{Endpoint, EndpointConfig, ServerConfig, TokioRuntime};
use quinn_proto::HashedConnectionIdGenerator;
use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;

use super::parameters::{
    INCOMING_BYTES, INCOMING_BYTES_TOTAL, INCOMING_MAX, RESET_INTERVAL, SOCKET_BUFFER,
    transport_config,
};
use super::tls::TlsConfigs;
use crate::node_key::NodeKey;

/// QUIC version 1 (RFC 9000), and no drafts.
const QUIC_VERSION: u32 = 1;

/// A transport could not be set up.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BindError {
    /// No address was given.
    #[error("no address to listen at is given; give one, such as 0.0.0.0:4433")]
    NoAddress,
    /// Another socket has the port.
    #[error("{0} is in use; stop the other program or choose another port")]
    AddressInUse(SocketAddr),
    /// The process may not have the port.
    #[error("{0} may not be bound; choose a port of 1024 or above, or grant CAP_NET_BIND_SERVICE")]
    NotPermitted(SocketAddr),
    /// The machine does not have the address.
    #[error("{0} is no address of this machine; give one that it has, or a wildcard address")]
    NotAvailable(SocketAddr),
    /// Something else that the operating system says.
    #[error("{addr} cannot be bound ({reason}); check this machine's network and limits")]
    Socket {
        /// Where.
        addr: SocketAddr,
        /// What the operating system said.
        reason: String,
    },
    /// Called outside of a runtime.
    #[error("no Tokio runtime is running here; bind within one that has its I/O and time enabled")]
    NoRuntime,
    /// The TLS provider refused.
    #[error("TLS cannot be set up ({0}); make a new node key")]
    Tls(String),
}

impl BindError {
    /// The error's number.
    #[must_use]
    pub fn number(&self) -> ErrorNumber {
        match self {
            BindError::AddressInUse(_) => ErrorNumber::AddressInUse,
            BindError::NoAddress
            | BindError::NotPermitted(_)
            | BindError::NotAvailable(_)
            | BindError::Socket { .. } => ErrorNumber::BadConfig,
            BindError::NoRuntime | BindError::Tls(_) => ErrorNumber::Internal,
        }
    }

    fn of(addr: SocketAddr, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::AddrInUse => BindError::AddressInUse(addr),
            io::ErrorKind::PermissionDenied => BindError::NotPermitted(addr),
            io::ErrorKind::AddrNotAvailable => BindError::NotAvailable(addr),
            _ => BindError::Socket { addr, reason: error.to_string() },
        }
    }
}

/// One socket of a node: a QUIC endpoint that dials and accepts.
#[derive(Clone, Debug)]
pub(super) struct BoundEndpoint {
    pub(super) quic: Endpoint,
    pub(super) local_addr: SocketAddr,
    /// Whether an IPv6 socket serves IPv4 too.
    dual_stack: bool,
}

/// Binds one endpoint per address.
pub(super) fn bind_all(
    listen: &[SocketAddr],
    key: &NodeKey,
    tls: &TlsConfigs,
) -> Result<Vec<BoundEndpoint>, BindError> {
    if listen.is_empty() {
        return Err(BindError::NoAddress);
    }
    if tokio::runtime::Handle::try_current().is_err() {
        return Err(BindError::NoRuntime);
    }
    let any_v4 = listen.iter().any(SocketAddr::is_ipv4);
    listen
        .iter()
        .map(|&addr| {
            let dual_stack = addr.is_ipv6() && addr.ip().is_unspecified() && !any_v4;
            bind_one(addr, dual_stack, key, tls).map_err(|error| BindError::of(addr, &error))
        })
        .collect()
}

fn bind_one(
    addr: SocketAddr,
    dual_stack: bool,
    key: &NodeKey,
    tls: &TlsConfigs,
) -> io::Result<BoundEndpoint> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(!dual_stack)?;
    }
    // The kernel may give less (net.core.rmem_max, wmem_max); then bursts lose packets earlier.
    for result in
        [socket.set_recv_buffer_size(SOCKET_BUFFER), socket.set_send_buffer_size(SOCKET_BUFFER)]
    {
        if let Err(error) = result {
            tracing::debug!(%addr, %error, "the socket's buffers stay as they are");
        }
    }
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    let socket = UdpSocket::from(socket);
    let local_addr = socket.local_addr()?;

    let quic = Endpoint::new(
        endpoint_config(key, local_addr),
        Some(server_config(tls)),
        socket,
        Arc::new(TokioRuntime),
    )?;
    Ok(BoundEndpoint { quic, local_addr, dual_stack })
}

/// Settings under which a restarted node is recognised as such: connection ids and reset tokens
/// follow from the node's key, so it can tell the peers of its former life at once that it has
/// forgotten them (RFC 9000, section 10.3). They differ between the node's sockets, since one must
/// not give away the tokens of another (section 21.11).
fn endpoint_config(key: &NodeKey, local_addr: SocketAddr) -> EndpointConfig {
    let reset_key = key.derive(format!("stateless reset {local_addr}").as_bytes());
    let [a, b, c, d, e, f, g, h, ..] =
        key.derive(format!("connection ids {local_addr}").as_bytes());
    let cid_key = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
    let mut config = EndpointConfig::new(Arc::new(ResetKey(reset_key)));
    config
        .cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(cid_key)))
        .supported_versions(vec![QUIC_VERSION])
        .min_reset_interval(RESET_INTERVAL);
    config
}

fn server_config(tls: &TlsConfigs) -> ServerConfig {
    let mut config = ServerConfig::with_crypto(Arc::clone(&tls.server) as _);
    config
        .transport_config(transport_config(false))
        .max_incoming(INCOMING_MAX)
        .incoming_buffer_size(INCOMING_BYTES)
        .incoming_buffer_size_total(INCOMING_BYTES_TOTAL);
    config
}

impl BoundEndpoint {
    /// Whether a socket like this can send to `target`, and how well it suits: greater is better.
    pub(super) fn suits(&self, target: SocketAddr) -> Option<u8> {
        let own_family = self.local_addr.is_ipv4() == target.is_ipv4();
        let by_dual_stack = self.dual_stack && target.is_ipv4();
        if !own_family && !by_dual_stack {
            return None;
        }
        let own = self.local_addr.ip();
        let same_scope = own.is_unspecified() || own.is_loopback() == target.ip().is_loopback();
        Some(u8::from(own_family) + 2 * u8::from(same_scope))
    }

    /// Asks the operating system for a route, without sending anything, so that an address that
    /// cannot be reached from here fails at once and not after a time limit.
    pub(super) fn check_route(&self, target: SocketAddr) -> io::Result<()> {
        let mut from = self.local_addr;
        from.set_port(0);
        if from.is_ipv4() != target.is_ipv4() {
            from = SocketAddr::from(([0, 0, 0, 0], 0));
        }
        UdpSocket::bind(from)?.connect(target)
    }
}

/// Makes and checks stateless reset tokens.
struct ResetKey([u8; 32]);

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        let tag = blake3::keyed_hash(&self.0, data);
        for (out, byte) in signature_out.iter_mut().zip(tag.as_bytes()) {
            *out = *byte;
        }
    }

    fn signature_len(&self) -> usize {
        blake3::OUT_LEN
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        let signature: [u8; blake3::OUT_LEN] = signature.try_into().map_err(|_| CryptoError)?;
        // The comparison of two `blake3::Hash` takes the same time wherever they differ.
        if blake3::keyed_hash(&self.0, data) == blake3::Hash::from(signature) {
            Ok(())
        } else {
            Err(CryptoError)
        }
    }
}

impl fmt::Debug for ResetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResetKey")
    }
}
