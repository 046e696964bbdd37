//! [`Links`]: how long a letter takes between two hosts, and which letters do not arrive.
//!
//! Hosts have places on a map; the way between two takes a fixed time, plus one that grows with the
//! distance, plus jitter. Each packet of a letter is lost with one probability; a lost one is sent
//! again after a timeout that doubles. Some letters take a detour, so that later ones overtake them.
//! A host's uplink may be narrow: its letters leave one after the other. A direction can be blocked:
//! nothing passes until it is opened.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use crate::dice::Dice;

/// Bytes of a letter in one packet.
const PACKET_BYTES: usize = 1_200;
/// A packet that was lost so often in a row takes its connection with it.
const LOSSES_MAX: u32 = 8;
/// The shortest wait before a lost packet is sent again.
const RETRY_SHORTEST: Duration = Duration::from_millis(30);
/// The longest.
const RETRY_LONGEST: Duration = Duration::from_secs(5);

/// What the network is like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LinkModel {
    /// The way between neighbours.
    pub nearest: Duration,
    /// What crossing the whole map adds.
    pub width: Duration,
    /// At most so much is added by chance.
    pub jitter: Duration,
    /// Of a thousand packets so many are lost.
    pub loss_permille: u32,
    /// Of a thousand letters so many take a detour.
    pub detour_permille: u32,
    /// At most so much longer than the straight way.
    pub detour: Duration,
    /// How many bytes a host can send in a second; as many as it likes if absent.
    pub uplink: Option<u64>,
}

impl Default for LinkModel {
    /// The internet on a good day: round trips of 4 to 160 ms, nothing lost, nothing overtaken, and
    /// no uplink is narrow.
    fn default() -> Self {
        LinkModel {
            nearest: Duration::from_millis(2),
            width: Duration::from_millis(55),
            jitter: Duration::from_millis(3),
            loss_permille: 0,
            detour_permille: 0,
            detour: Duration::from_millis(500),
            uplink: None,
        }
    }
}

/// Where hosts lie and what lies between them.
pub struct Links {
    model: LinkModel,
    dice: Dice,
    places: BTreeMap<SocketAddr, Place>,
    blocked: BTreeMap<(SocketAddr, SocketAddr), Instant>,
    /// When the uplinks that were used last are free again.
    free_at: BTreeMap<SocketAddr, Instant>,
}

#[derive(Clone, Copy)]
struct Place {
    number: usize,
    /// In microseconds of travel.
    x: u64,
    y: u64,
}

impl Links {
    /// An empty map.
    #[must_use]
    pub fn new(model: LinkModel, dice: Dice) -> Self {
        let (places, blocked, free_at) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Links { model, dice, places, blocked, free_at }
    }

    /// Gives a host its place on the map, once.
    pub fn place(&mut self, addr: SocketAddr) {
        let width = u64::try_from(self.model.width.as_micros()).unwrap_or(u64::MAX);
        let (x, y) = (self.dice.below(width), self.dice.below(width));
        let number = self.places.len();
        self.places.entry(addr).or_insert(Place { number, x, y });
    }

    /// The host's number, if it has a place.
    #[must_use]
    pub fn number(&self, addr: &SocketAddr) -> Option<usize> {
        self.places.get(addr).map(|place| place.number)
    }

    /// How many hosts have a place.
    #[must_use]
    pub fn hosts(&self) -> usize {
        self.places.len()
    }

    /// Changes how many packets are lost from now on.
    pub fn set_loss(&mut self, permille: u32) {
        self.model.loss_permille = permille;
    }

    /// Changes how many letters are overtaken from now on.
    pub fn set_detours(&mut self, permille: u32) {
        self.model.detour_permille = permille;
    }

    /// Lets nothing more pass from one host to another.
    pub fn block(&mut self, from: SocketAddr, to: SocketAddr, now: Instant) {
        self.blocked.entry((from, to)).or_insert(now);
    }

    /// Opens what was blocked.
    pub fn open(&mut self, from: SocketAddr, to: SocketAddr) {
        self.blocked.remove(&(from, to));
    }

    /// Opens everything.
    pub fn open_all(&mut self) {
        self.blocked.clear();
    }

    /// Since when nothing passes from one host to another, if so.
    #[must_use]
    pub fn blocked_since(&self, from: SocketAddr, to: SocketAddr) -> Option<Instant> {
        self.blocked.get(&(from, to)).copied()
    }

    /// How long so many bytes take that are sent now, lost packets included; `None` if too many are
    /// lost.
    pub fn transit(
        &mut self,
        from: SocketAddr,
        to: SocketAddr,
        bytes: usize,
        now: Instant,
    ) -> Option<Duration> {
        let mut way = self.way(from, to) + self.dice.between(Duration::ZERO, self.model.jitter);
        if self.model.detour_permille > 0 && self.dice.permille(self.model.detour_permille) {
            way += self.dice.between(Duration::ZERO, self.model.detour);
        }
        way += self.departure(from, bytes, now);
        let mut losses = 0;
        if self.model.loss_permille > 0 {
            for _ in 0..=bytes / PACKET_BYTES {
                losses = losses.max(self.losses_in_a_row());
            }
        }
        if losses > LOSSES_MAX {
            return None;
        }
        Some((0..losses).fold(way, |delay, failures| delay + self.retry(from, to, failures)))
    }

    /// How long to wait before what has failed so often is sent again.
    #[must_use]
    pub fn retry(&self, from: SocketAddr, to: SocketAddr, failures: u32) -> Duration {
        let first = RETRY_SHORTEST.max(self.way(from, to) * 3);
        first.saturating_mul(1_u32.checked_shl(failures).unwrap_or(u32::MAX)).min(RETRY_LONGEST)
    }

    /// How long it takes until the uplink has sent all that waits there, and this.
    fn departure(&mut self, from: SocketAddr, bytes: usize, now: Instant) -> Duration {
        let Some(uplink) = self.model.uplink else { return Duration::ZERO };
        let took_us = (bytes as u64).saturating_mul(1_000_000) / uplink.max(1);
        let free_at = self.free_at.entry(from).or_insert(now);
        *free_at = (*free_at).max(now) + Duration::from_micros(took_us);
        free_at.duration_since(now)
    }

    fn losses_in_a_row(&mut self) -> u32 {
        let mut losses = 0;
        while losses <= LOSSES_MAX && self.dice.permille(self.model.loss_permille) {
            losses += 1;
        }
        losses
    }

    fn way(&self, from: SocketAddr, to: SocketAddr) -> Duration {
        let (Some(a), Some(b)) = (self.places.get(&from), self.places.get(&to)) else {
            return self.model.nearest;
        };
        let (dx, dy) = (a.x.abs_diff(b.x), a.y.abs_diff(b.y));
        self.model.nearest + Duration::from_micros((dx * dx + dy * dy).isqrt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Seed;

    fn addr(last: u8) -> SocketAddr {
        SocketAddr::from(([20, 0, 0, last], 4222))
    }

    #[tokio::test(start_paused = true)]
    async fn the_way_is_the_same_in_both_directions_and_losses_only_add_to_it() {
        let now = Instant::now();
        let calm = LinkModel { jitter: Duration::ZERO, ..LinkModel::default() };
        let mut links = Links::new(calm, Seed(1).dice("links", 0));
        (1..=2).for_each(|last| links.place(addr(last)));
        let way = links.transit(addr(1), addr(2), 100, now);
        assert_eq!(way, links.transit(addr(2), addr(1), 100, now));
        links.set_loss(500);
        let worst = (0..50).filter_map(|_| links.transit(addr(1), addr(2), 2_000, now)).max();
        assert!(worst > way, "{worst:?} {way:?}");
        links.set_loss(1000);
        assert_eq!(links.transit(addr(1), addr(2), 100, now), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_detour_lets_later_letters_overtake_and_a_narrow_uplink_lets_them_queue() {
        let now = Instant::now();
        let calm = LinkModel { jitter: Duration::ZERO, ..LinkModel::default() };
        let mut links = Links::new(calm, Seed(1).dice("links", 0));
        let straight = links.transit(addr(1), addr(2), 100, now);
        links.set_detours(1000);
        let ways: Vec<_> = (0..10).map(|_| links.transit(addr(1), addr(2), 100, now)).collect();
        assert!(ways.iter().all(|way| *way >= straight) && !ways.is_sorted(), "{ways:?}");

        let narrow = LinkModel { uplink: Some(1_000), ..calm };
        let mut links = Links::new(narrow, Seed(1).dice("links", 0));
        let mut send = || links.transit(addr(1), addr(2), 500, now).unwrap();
        assert_eq!(send() + Duration::from_millis(500), send());
    }
}
