//! Ports that stay a node's own while it is down.
//!
//! A port that the system chooses comes from a range from which it also serves every other socket,
//! so that a node which is killed and started again may find its port taken. These come from below
//! that range (`net.ipv4.ip_local_port_range` begins at 32,768), where only somebody who asks for a
//! port by its number gets it.
//!
//! Whether a port is free is read from the kernel's lists, and not found out by taking it for a
//! moment: a program that another test starts in that moment inherits the socket until it is loaded,
//! and keeps the port from whom it was found for.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};

use procfs::ProcError;

/// The first port to try.
const FIRST: u32 = 10_000;
/// How many ports there are to try.
const COUNT: u32 = 20_000;
/// Ports between the first ones that two processes with neighbouring ids try.
const STRIDE: u32 = 131;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A loopback address whose port is free for UDP and TCP, and given to nobody else in this process.
#[must_use]
pub fn free_address() -> SocketAddr {
    let taken = taken();
    for _ in 0..COUNT {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let start = std::process::id().wrapping_mul(STRIDE);
        let port = FIRST + start.wrapping_add(number) % COUNT;
        let port = u16::try_from(port).expect("a port below 30,000");
        if !taken.contains(&port) {
            return SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        }
    }
    panic!("no port from {FIRST} on is free; end what uses them");
}

/// The ports that somebody has, at whatever address and of whatever kind.
fn taken() -> BTreeSet<u16> {
    let tcp = [procfs::net::tcp(), procfs::net::tcp6()].map(unless_unknown).into_iter().flatten();
    let udp = [procfs::net::udp(), procfs::net::udp6()].map(unless_unknown).into_iter().flatten();
    let tcp = tcp.map(|socket| socket.local_address.port());
    tcp.chain(udp.map(|socket| socket.local_address.port())).collect()
}

/// Nothing is listed where the kernel does not speak the protocol at all.
fn unless_unknown<T>(list: Result<Vec<T>, ProcError>) -> Vec<T> {
    match list {
        Err(ProcError::NotFound(_)) => Vec::new(),
        list => list.expect("the kernel's list of sockets in /proc/net"),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    #[test]
    fn what_somebody_has_is_not_free() {
        let tcp = TcpListener::bind(free_address()).unwrap();
        let udp = UdpSocket::bind(free_address()).unwrap();
        let taken = taken();
        for held in [tcp.local_addr().unwrap(), udp.local_addr().unwrap()] {
            assert!(taken.contains(&held.port()), "{held} is held");
        }
    }
}
