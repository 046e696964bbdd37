//! What one part of the internet may ask of this node in a second.
//!
//! Each prefix (see [`Prefix`]) has an allowance that refills steadily, by the generic cell rate
//! algorithm. A request costs by what it makes the node do: a record to store costs a signature check
//! and a share of a disk sync, which is worth some ten reads. Who has used its allowance up is
//! answered `Busy`, and costs no more than the decoding of its requests. Allowances live in memory
//! only. Loopback and private addresses have none: who is there is the operator.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::ops::Add;
use std::time::Duration;

use dht_kad::message::{Reconcile, Request};
use dht_kad::routing::{Prefix, is_global};
use governor::clock::{Clock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use tokio::time::Instant;

/// What a prefix may use up in a second: 4,000 reads, or 400 records to store. A node does some ten
/// times that on one core, so that it takes many prefixes to bring it to its limits.
const PER_SECOND: NonZeroU32 = NonZeroU32::new(4_000).unwrap();
/// What a prefix may use up at once after having been quiet: a client that catches up after a week.
const BURST: NonZeroU32 = NonZeroU32::new(40_000).unwrap();
/// What a record to store costs, reads costing 1.
const STORE_COST: u32 = 10;
/// What a step of reconciliation costs: fingerprints from memory, or a page of records from disk.
const RECONCILE_COST: u32 = 20;
/// What each prefix of a comparison costs besides: it is looked up in each of some hundreds of groups.
const RANGE_COST: u32 = 4;
/// What an item that is offered costs: a look at the store, and perhaps a fetch in this node's own time.
const OFFER_COST: u32 = 3;
/// Prefixes that are kept track of, at about 100 bytes each. Full allowances are forgotten first; if
/// that is not enough, nobody new is served until it is: that many prefixes at once are an attack.
const PREFIXES_MAX: usize = 65_536;

type Limiter =
    RateLimiter<Prefix, HashMapStateStore<Prefix>, SteadyClock, NoOpMiddleware<SinceStart>>;

/// The allowances of all prefixes.
pub(crate) struct Allowances(Limiter);

/// Tokio's clock, which the simulator pauses.
#[derive(Clone, Copy, Debug)]
struct SteadyClock {
    start: Instant,
}

/// A moment on that clock.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct SinceStart(Duration);

impl Clock for SteadyClock {
    type Instant = SinceStart;

    fn now(&self) -> SinceStart {
        SinceStart(self.start.elapsed())
    }
}

impl Reference for SinceStart {
    fn duration_since(&self, earlier: Self) -> Nanos {
        self.0.saturating_sub(earlier.0).into()
    }

    fn saturating_sub(&self, span: Nanos) -> Self {
        SinceStart(self.0.saturating_sub(span.into()))
    }
}

impl Add<Nanos> for SinceStart {
    type Output = Self;

    fn add(self, span: Nanos) -> Self {
        SinceStart(self.0.saturating_add(span.into()))
    }
}

impl Allowances {
    /// Full allowances for everybody.
    pub(crate) fn new() -> Self {
        let quota = Quota::per_second(PER_SECOND).allow_burst(BURST);
        let clock = SteadyClock { start: Instant::now() };
        Allowances(RateLimiter::new(quota, HashMapStateStore::default(), clock))
    }

    /// Takes the request's cost from the asker's allowance; says whether there was enough.
    pub(crate) fn take(&self, asker: &SocketAddr, request: &Request) -> bool {
        if !is_global(&asker.ip()) {
            return true;
        }
        if self.0.len() >= PREFIXES_MAX {
            self.prune();
            if self.0.len() >= PREFIXES_MAX {
                return false;
            }
        }
        let fits = self.0.check_key_n(&Prefix::of(asker), cost(request));
        matches!(fits, Ok(Ok(())))
    }

    /// Forgets the prefixes whose allowance is full again.
    pub(crate) fn prune(&self) {
        self.0.retain_recent();
    }
}

fn cost(request: &Request) -> NonZeroU32 {
    let cost = match request {
        Request::Ping(_) | Request::FindNode(_) | Request::Find(_) | Request::Vitals(_) => 1,
        Request::Reconcile(Reconcile::Whole(whole)) => {
            let prefixes = u32::try_from(whole.range.len()).unwrap_or(u32::MAX);
            RECONCILE_COST.saturating_add(RANGE_COST.saturating_mul(prefixes))
        }
        Request::Reconcile(Reconcile::Offer(items)) => {
            OFFER_COST.saturating_mul(u32::try_from(items.len()).unwrap_or(u32::MAX))
        }
        Request::Reconcile(_) => RECONCILE_COST,
        Request::Audit(audit) => u32::try_from(audit.challenges.len()).unwrap_or(u32::MAX),
        // To go on from a cursor each key is read.
        Request::Watch(watch) => u32::try_from(watch.keys.len()).unwrap_or(u32::MAX),
        Request::Store(store) => {
            STORE_COST.saturating_mul(u32::try_from(store.items.len()).unwrap_or(u32::MAX))
        }
    };
    NonZeroU32::new(cost).unwrap_or(NonZeroU32::MIN)
}

#[cfg(test)]
mod tests {
    use dht_kad::message::{Mode, Ping};

    use super::*;

    const PING: Request = Request::Ping(Ping { mode: Mode::Client });

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_prefix_is_refused_when_its_allowance_is_used_up_and_others_are_not() {
        let allowances = Allowances::new();
        let served =
            (0..BURST.get() + 10).filter(|_| allowances.take(&addr("8.8.8.8:1"), &PING)).count();
        assert_eq!(served, BURST.get() as usize);
        assert!(!allowances.take(&addr("8.8.8.9:1"), &PING), "the same /24");
        assert!(allowances.take(&addr("8.8.9.8:1"), &PING), "another");
        tokio::time::advance(Duration::from_secs(1)).await;
        let again = (0..2 * PER_SECOND.get())
            .filter(|_| allowances.take(&addr("8.8.8.8:1"), &PING))
            .count();
        assert_eq!(again, PER_SECOND.get() as usize);
    }

    #[tokio::test(start_paused = true)]
    async fn loopback_and_private_addresses_have_no_limit() {
        let allowances = Allowances::new();
        for _ in 0..2 * BURST.get() {
            assert!(allowances.take(&addr("127.0.0.1:9"), &PING));
            assert!(allowances.take(&addr("192.168.1.1:9"), &PING));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn full_allowances_are_forgotten() {
        let allowances = Allowances::new();
        for number in 0..1000_u32 {
            let ip = std::net::Ipv4Addr::from(0x0800_0000 + (number << 8));
            assert!(allowances.take(&SocketAddr::from((ip, 1)), &PING));
        }
        assert_eq!(allowances.0.len(), 1000);
        tokio::time::advance(Duration::from_secs(60)).await;
        allowances.prune();
        assert_eq!(allowances.0.len(), 0);
    }
}
