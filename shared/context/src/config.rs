//! What a context is told before it starts: data, checked once.

use std::time::Duration;

use dht_kad::NetworkName;
use dht_kad::message::Mode;
use thiserror::Error;

use crate::network_file::DNS_NAMES_MAX;
use crate::peer_address::PeerAddress;
use crate::sources::Sources;
use crate::watch::WatchLimits;

/// The most bootstrap peers that are taken: dialling more at each attempt helps nobody.
pub const BOOTSTRAP_MAX: usize = 64;

/// How many bytes repair moves in a second unless configured: a hundred gigabytes in three and a half
/// hours, and less than a tenth of a gigabit line.
pub const REPAIR_BYTES_PER_SEC: u64 = 8 << 20;

/// The network that the node and the client take part in unless they are told of another.
pub const DEFAULT_NETWORK: &str = "main";

/// How a context behaves.
#[derive(Clone, Debug)]
pub struct ContextConfig {
    /// The network that it belongs to.
    pub network: NetworkName,
    /// Whether it answers requests and stores, or only asks.
    pub mode: Mode,
    /// Whom to ask first, besides the saved peers. At most [`BOOTSTRAP_MAX`].
    pub bootstrap: Vec<PeerAddress>,
    /// Where further peers come from.
    pub sources: Sources,
    /// Whether a server may be the only one: it is then ready without a peer.
    pub solo: bool,
    /// How many bytes repair may move in a second, both ways together.
    pub repair_bytes_per_sec: u64,
    /// What a pong says of the software, such as `dht-bootstrap 0.1.0`; at most 64 bytes.
    pub version: String,
    /// What those who watch this node may cost it.
    pub watch: WatchLimits,
    /// Time limits and intervals.
    pub timing: Timing,
}

/// Time limits and intervals. The defaults suit the internet and loopback alike.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// A handshake takes at most this. Default 3 s: three lost packets and their repetitions.
    pub dial: Duration,
    /// A request is answered within this. Default 3 s: a loaded disk, and a repetition.
    pub request: Duration,
    /// A request that takes longer no longer counts as one in flight: others are asked beside it.
    /// Default 400 ms: twice a round trip around the world.
    pub slow: Duration,
    /// The first wait after a failed attempt to join. Default 200 ms; it doubles, with jitter.
    pub join_first: Duration,
    /// The longest wait between attempts to join. Default 30 s.
    pub join_longest: Duration,
    /// A peer unheard for so long is asked whether it lives. Default 60 s.
    pub revalidate: Duration,
    /// A bucket that was not looked up for so long is refreshed. Default 15 min.
    pub refresh: Duration,
    /// A node that has fewer than half of the servers it remembers takes that for passing for so
    /// long. Default 60 s: longer than any restart of a healthy machine's service.
    pub settle: Duration,
    /// How often maintenance looks around. Default 1 s.
    pub tick: Duration,
    /// A server to which no other has answered anything for so long asks one that it knows at each
    /// tick, and counts as cut off when twice as long has passed in vain. Default 10 s.
    pub pulse: Duration,
    /// How often the clock is compared with those of long-lived peers. Default 60 s: a clock that was
    /// set wrong is noticed within this.
    pub compare_clocks: Duration,
    /// Repair begins so long after the table can be relied on, at the latest. Default 5 s: spread
    /// over it, a fleet that starts at once does not storm itself.
    pub repair_wait: Duration,
    /// How often a node compares itself with each neighbour that holds the same. Default 10 min.
    pub repair_every: Duration,
    /// A node compares itself with a neighbour that has come, or come back, within so long. Default
    /// 10 s.
    pub repair_soon: Duration,
    /// All that a node holds is compared once under a salt in so long. Default 24 h.
    pub salted_every: Duration,
    /// A server that left the table still counts as a holder for so long. Default 10 min: longer than
    /// a restart or an upgrade, which must not set off refilling.
    pub grace: Duration,
    /// A stop takes at most so long to hand over what others may lack. Default 5 s.
    pub handover: Duration,
}

/// A configuration cannot be used.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// Nobody to ask.
    #[error("a client needs a peer to ask; give at least one bootstrap peer or a network file")]
    NobodyToAsk,
    /// Too many to ask.
    #[error("{0} bootstrap peers are given, at most 64 are used; leave the others out")]
    TooManyBootstrapPeers(usize),
    /// Too many names to ask.
    #[error("{0} names in the DNS are given, at most 8 are asked; leave the others out")]
    TooManyDnsNames(usize),
    /// The version text is too long.
    #[error("the version text has {0} bytes, at most 64 fit a pong; shorten it")]
    VersionTooLong(usize),
    /// A client cannot be a network of one.
    #[error("a client cannot be solo; drop solo or run as a server")]
    SoloClient,
}

impl ContextConfig {
    /// A configuration with default timing.
    #[must_use]
    pub fn new(network: NetworkName, mode: Mode, bootstrap: Vec<PeerAddress>) -> Self {
        let version = concat!("dht-context ", env!("CARGO_PKG_VERSION")).to_owned();
        ContextConfig {
            network,
            mode,
            bootstrap,
            sources: Sources::default(),
            solo: false,
            repair_bytes_per_sec: REPAIR_BYTES_PER_SEC,
            version,
            watch: WatchLimits::default(),
            timing: Timing::default(),
        }
    }

    /// Checks what must hold between the fields.
    ///
    /// # Errors
    /// [`ConfigError`] names the first thing that is wrong.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.mode == Mode::Client && self.solo {
            return Err(ConfigError::SoloClient);
        }
        if self.mode == Mode::Client && self.bootstrap.is_empty() && self.sources.is_empty() {
            return Err(ConfigError::NobodyToAsk);
        }
        if self.bootstrap.len() > BOOTSTRAP_MAX {
            return Err(ConfigError::TooManyBootstrapPeers(self.bootstrap.len()));
        }
        if self.sources.seeds.len() > BOOTSTRAP_MAX {
            return Err(ConfigError::TooManyBootstrapPeers(self.sources.seeds.len()));
        }
        if self.sources.dns.len() > DNS_NAMES_MAX {
            return Err(ConfigError::TooManyDnsNames(self.sources.dns.len()));
        }
        if self.version.len() > 64 {
            return Err(ConfigError::VersionTooLong(self.version.len()));
        }
        Ok(())
    }
}

impl Timing {
    /// What each field's description gives.
    pub const DEFAULT: Timing = Timing {
        dial: Duration::from_secs(3),
        request: Duration::from_secs(3),
        slow: Duration::from_millis(400),
        join_first: Duration::from_millis(200),
        join_longest: Duration::from_secs(30),
        revalidate: Duration::from_secs(60),
        refresh: Duration::from_secs(15 * 60),
        settle: Duration::from_secs(60),
        tick: Duration::from_secs(1),
        pulse: Duration::from_secs(10),
        compare_clocks: Duration::from_secs(60),
        repair_wait: Duration::from_secs(5),
        repair_every: Duration::from_secs(10 * 60),
        repair_soon: Duration::from_secs(10),
        salted_every: Duration::from_secs(24 * 60 * 60),
        grace: Duration::from_secs(10 * 60),
        handover: Duration::from_secs(5),
    };
}

impl Default for Timing {
    fn default() -> Self {
        Timing::DEFAULT
    }
}
