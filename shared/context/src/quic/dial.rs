//! Connects to an address, and says in the project's own words why that failed.

use std::net::SocketAddr;
use std::sync::Arc;

use dht_kad::{NetworkName, NodeId};
use quinn::{ClientConfig, ConnectError, ConnectionError, TransportErrorCode};
use tokio::time::timeout;

use super::connection::{QuicConnection, canonical, code_of};
use super::limits::Gate;
use super::parameters::{HANDSHAKE_TIMEOUT, transport_config};
use super::socket::BoundEndpoint;
use super::tls::{SERVER_NAME, TlsConfigs, proven_id};
use crate::transport::{CloseReason, DialError};

/// TLS's alert `no_application_protocol` (RFC 7301, section 3.2): the networks differ.
const ALERT_NO_PROTOCOL: u8 = 120;

/// What dialling needs; cheap to clone.
#[derive(Clone)]
pub(super) struct Dialler {
    pub(super) endpoints: Arc<[BoundEndpoint]>,
    pub(super) config: ClientConfig,
    pub(super) network: NetworkName,
    pub(super) gate: Arc<Gate>,
}

/// QUIC's settings for dialling.
pub(super) fn client_config(tls: &TlsConfigs) -> ClientConfig {
    let mut config = ClientConfig::new(Arc::clone(&tls.client) as _);
    config.transport_config(transport_config(true)).version(1);
    config
}

impl Dialler {
    /// Connects to `addr`, and to nobody but `expected`.
    pub(super) async fn dial(
        self,
        addr: SocketAddr,
        expected: Option<NodeId>,
    ) -> Result<QuicConnection, DialError> {
        let addr = canonical(addr);
        let local = |reason: String| DialError::Local { addr, reason };
        let endpoint = self
            .endpoints
            .iter()
            .filter_map(|endpoint| Some((endpoint.suits(addr)?, endpoint)))
            .max_by_key(|(suits, _)| *suits)
            .map(|(_, endpoint)| endpoint)
            .ok_or_else(|| local("the node has no socket of this address family".to_owned()))?;
        endpoint.check_route(addr).map_err(|error| local(error.to_string()))?;
        let connecting = endpoint.quic.connect_with(self.config, addr, SERVER_NAME).map_err(
            |error| match error {
                ConnectError::EndpointStopping => DialError::Stopping,
                other => local(other.to_string()),
            },
        )?;
        let quic = timeout(HANDSHAKE_TIMEOUT, connecting)
            .await
            .map_err(|_| DialError::TimedOut(addr))?
            .map_err(|error| failure(addr, &self.network, error))?;
        let found = proven_id(quic.peer_identity()).ok_or_else(|| DialError::Refused {
            addr,
            reason: "it proved no node key".to_owned(),
        })?;
        if let Some(expected) = expected
            && expected != found
        {
            // Nothing will be asked of whoever it is.
            quic.close(code_of(CloseReason::Idle), b"");
            return Err(DialError::WrongNode { addr, expected, found });
        }
        Ok(QuicConnection::new(quic, found, self.gate, None))
    }
}

fn failure(addr: SocketAddr, network: &NetworkName, error: ConnectionError) -> DialError {
    let by_code = |code: TransportErrorCode, other: String| {
        if code == TransportErrorCode::crypto(ALERT_NO_PROTOCOL) {
            format!("it does not serve the network «{network}»")
        } else if code == TransportErrorCode::CONNECTION_REFUSED {
            "it takes no more connections at present".to_owned()
        } else if other.is_empty() {
            code.to_string()
        } else {
            other
        }
    };
    let reason = match error {
        ConnectionError::TimedOut => return DialError::TimedOut(addr),
        ConnectionError::LocallyClosed => return DialError::Stopping,
        ConnectionError::CidsExhausted => {
            return DialError::Local { addr, reason: "too many connections are open".to_owned() };
        }
        ConnectionError::VersionMismatch => "it does not speak QUIC version 1".to_owned(),
        ConnectionError::Reset => "it was restarted".to_owned(),
        ConnectionError::TransportError(error) => by_code(error.code, error.reason),
        ConnectionError::ConnectionClosed(close) => {
            by_code(close.error_code, String::from_utf8_lossy(&close.reason).into_owned())
        }
        ConnectionError::ApplicationClosed(close) => {
            match CloseReason::from_code(close.error_code.into_inner()) {
                CloseReason::Busy => "it takes no more connections at present".to_owned(),
                reason => format!("it closed the connection: {reason:?}"),
            }
        }
    };
    DialError::Refused { addr, reason }
}
