//! [`PeerAddress`]: how people name a peer: `host:port`, or `NODEID@host:port` to pin who answers.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use crate::id::NodeId;
use thiserror::Error;

/// A peer as it is written on a command line or in a configuration.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct PeerAddress {
    /// Who has to answer there; anyone if absent.
    pub id: Option<NodeId>,
    /// A host name, an IPv4 address, or an IPv6 address without its brackets.
    pub host: String,
    /// The UDP port.
    pub port: u16,
}

/// A text does not name a peer.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("«{0}» is not a peer; write host:port or NODEID@host:port, an IPv6 address in brackets")]
pub struct ParsePeerAddressError(String);

impl PeerAddress {
    /// The address itself, if the host is one and not a name.
    #[must_use]
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        self.host.parse().ok().map(|ip| SocketAddr::new(ip, self.port))
    }
}

impl From<SocketAddr> for PeerAddress {
    fn from(addr: SocketAddr) -> Self {
        PeerAddress { id: None, host: addr.ip().to_string(), port: addr.port() }
    }
}

impl FromStr for PeerAddress {
    type Err = ParsePeerAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParsePeerAddressError(text.to_owned());
        let (id, place) = match text.split_once('@') {
            Some((id, place)) => (Some(id.parse().map_err(|_| wrong())?), place),
            None => (None, text),
        };
        let (host, port) = place.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match bracketed {
            Some(ip) if ip.parse::<std::net::Ipv6Addr>().is_ok() => ip,
            Some(_) => return Err(wrong()),
            None => host,
        };
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        let plain = bracketed.is_some() || host.bytes().all(allowed);
        if host.is_empty() || host.len() > 253 || !plain {
            return Err(wrong());
        }
        Ok(PeerAddress { id, host: host.to_owned(), port })
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(id) = &self.id {
            write!(f, "{id}@")?;
        }
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_print_as_they_are_written() {
        let id = "ab".repeat(32);
        for text in ["127.0.0.1:4001", "node-1.example.org:1", "[::1]:4001", &format!("{id}@h:9")] {
            assert_eq!(text.parse::<PeerAddress>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_peer_is_refused() {
        for text in
            ["", "host", "host:", "host:0", "host:70000", ":1", "::1:1", "[x]:1", "a b:1", "zz@h:1"]
        {
            assert!(text.parse::<PeerAddress>().is_err(), "{text}");
        }
    }
}
