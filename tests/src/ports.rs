//! Ports that stay a node's own while it is down.
//!
//! A port that the system chooses comes from a range from which it also serves every other socket,
//! so that a node which is killed and started again may find its port taken. These come from below
//! that range (`net.ipv4.ip_local_port_range` begins at 32,768), where only somebody who asks for a
//! port by its number gets it.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};

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
    for _ in 0..COUNT {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let start = std::process::id().wrapping_mul(STRIDE);
        let port = FIRST + start.wrapping_add(number) % COUNT;
        let port = u16::try_from(port).expect("a port below 30,000");
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if UdpSocket::bind(addr).is_ok() && TcpListener::bind(addr).is_ok() {
            return addr;
        }
    }
    panic!("no port from {FIRST} on is free; end what uses them");
}
