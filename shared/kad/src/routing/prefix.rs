//! [`Prefix`]: the group of addresses that limits against crowding count.
//!
//! Node ids cost nothing and addresses cost something, so whoever wants to surround a key buys ids
//! in bulk and runs them from few networks. Limits per prefix make that visible: an IPv4 /24 or an
//! IPv6 /48 is what one customer usually gets. Addresses that mean something only locally cannot be
//! grouped that way, and networks of many nodes on one machine or in one home are honest, so each
//! of those is a prefix of its own, port included.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The group of addresses that one address belongs to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Prefix(Group);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
enum Group {
    /// A global IPv4 /24.
    V4([u8; 3]),
    /// A global IPv6 /48.
    V6([u16; 3]),
    /// One address and port that is not global.
    Alone(IpAddr, u16),
}

impl Prefix {
    /// The prefix of this address. An IPv4 address written as IPv6 counts as IPv4.
    #[must_use]
    pub fn of(addr: &SocketAddr) -> Self {
        let ip = addr.ip().to_canonical();
        if !is_global(&ip) {
            return Prefix(Group::Alone(ip, addr.port()));
        }
        match ip {
            IpAddr::V4(v4) => {
                let [a, b, c, _] = v4.octets();
                Prefix(Group::V4([a, b, c]))
            }
            IpAddr::V6(v6) => {
                let [a, b, c, ..] = v6.segments();
                Prefix(Group::V6([a, b, c]))
            }
        }
    }

    /// The prefix of a host, whatever its ports: each host that is not global is one of its own.
    #[must_use]
    pub fn of_host(ip: &IpAddr) -> Self {
        Prefix::of(&SocketAddr::new(*ip, 0))
    }

    /// Whether it is one address that means something only locally.
    #[must_use]
    pub fn is_local(&self) -> bool {
        matches!(self.0, Group::Alone(..))
    }
}

/// Whether the address can be reached from anywhere on the Internet, going by the IANA registries
/// of special-purpose addresses (RFC 6890). Loopback, private, link-local, shared (carrier-grade
/// NAT), documentation, benchmarking, multicast, reserved and unspecified addresses are not global.
#[must_use]
pub fn is_global(ip: &IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(v4) => is_global_v4(v4),
        IpAddr::V6(v6) => is_global_v6(v6),
    }
}

fn is_global_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let special = a == 0
        || ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_documentation()
        || (a == 100 && (64..128).contains(&b))
        || (a, b, c) == (192, 0, 0)
        || (a, b, c) == (192, 88, 99)
        || (a == 198 && (18..20).contains(&b))
        || a >= 224;
    !special
}

/// Only 2000::/3 is given out as global unicast (RFC 4291, section 2.4); within it, addresses that
/// wrap another one (Teredo, 6to4) are left out, since their /48 says nothing about who holds them.
fn is_global_v6(ip: Ipv6Addr) -> bool {
    let [a, b, ..] = ip.segments();
    let special = match a {
        0x2001 => b < 0x0200 || b == 0x0db8,
        0x2002 => true,
        0x3fff => b < 0x1000,
        _ => false,
    };
    (0x2000..0x4000).contains(&a) && !special
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(addr: &str) -> Prefix {
        Prefix::of(&addr.parse().unwrap())
    }

    #[test]
    fn global_addresses_are_told_from_local_ones() {
        for global in ["8.8.8.8", "100.63.0.1", "100.128.0.1", "172.32.0.1", "2a01:4f8::1"] {
            assert!(is_global(&global.parse().unwrap()), "{global}");
        }
        assert!(is_global(&"::ffff:8.8.8.8".parse().unwrap()));
        for local in [
            "0.0.0.0",
            "0.1.2.3",
            "10.1.2.3",
            "127.0.0.1",
            "169.254.1.1",
            "172.31.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "100.127.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "198.19.0.1",
            "198.51.100.7",
            "203.0.113.7",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:192.168.1.1",
            "::ffff:127.0.0.1",
            "64:ff9b::1",
            "2001::1",
            "2001:db8::1",
            "2002:808:808::1",
            "3fff::1",
            "fc00::1",
            "fdab::1",
            "fe80::1",
            "ff02::1",
        ] {
            assert!(!is_global(&local.parse().unwrap()), "{local}");
        }
    }

    #[test]
    fn one_slash_24_or_48_is_one_prefix_whatever_the_port() {
        assert_eq!(prefix("8.8.8.8:1"), prefix("8.8.8.200:2"));
        assert_eq!(prefix("8.8.8.8:1"), prefix("[::ffff:8.8.8.9]:3"));
        assert_ne!(prefix("8.8.8.8:1"), prefix("8.8.9.8:1"));
        assert_eq!(prefix("[2a01:4f8:1:2::1]:1"), prefix("[2a01:4f8:1:ffff::9]:2"));
        assert_ne!(prefix("[2a01:4f8:1::1]:1"), prefix("[2a01:4f8:2::1]:1"));
    }

    #[test]
    fn each_local_address_and_port_is_a_prefix_of_its_own() {
        assert_ne!(prefix("127.0.0.1:1"), prefix("127.0.0.1:2"));
        assert_ne!(prefix("192.168.1.1:1"), prefix("192.168.1.2:1"));
        assert_eq!(prefix("127.0.0.1:1"), prefix("[::ffff:127.0.0.1]:1"));
        let host = |ip: &str| Prefix::of_host(&ip.parse().unwrap());
        assert_eq!(host("127.0.0.1"), host("::ffff:127.0.0.1"));
        assert_ne!(host("127.0.0.1"), host("127.0.0.2"));
        assert!(host("127.0.0.1").is_local() && !host("8.8.8.8").is_local());
    }
}
