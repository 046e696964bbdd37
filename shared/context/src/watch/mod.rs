//! Watching: whoever asked for it is told of what is written at some keys, as soon as it is durable.
//!
//! ```text
//! store ── after each commit ──▶ Hub: key ─▶ streams ──▶ a queue each ──▶ Feed ──▶ frames ──▶ asker
//!                                                                          ▲
//! store ◀── what was written since the asker's cursor (pages of find) ─────┘ first, if it has one
//! ```
//!
//! A node that is asked keeps, for each watcher, its keys and a bounded queue ([`WatchLimits`]). The
//! writer's thread fills the queue and never waits: who reads more slowly than records come loses its
//! stream, and comes back with its cursor. Commits are shown in their order; a cursor always says that
//! everything up to it has been shown, so that nothing is missed in between two streams and, as what
//! came after it is shown anew, nothing that was shown before it comes twice.
//!
//! Going on from a cursor costs as much as a `Find` for each key. What was replaced in the meantime is
//! not shown any more, and neither is what has ended: a reader of the state misses nothing by that. So
//! it does no harm, either, that the sweep destroys what has ended.
//!
//! The asking side is [`DhtContext::subscribe`](crate::DhtContext::subscribe) and [`Subscription`]: one
//! node, its stream, its records verified. Several holders are watched by `dht-client`'s `watch`.

mod feed;
mod hub;
mod subscription;

pub use subscription::{News, Subscription};

pub(crate) use hub::Hub;

use dht_kad::record::layout::RECORD_MAX;

/// What watching may cost a node that is watched. The defaults suit a small VPS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WatchLimits {
    /// Watchers at once: one for each connection that others may make.
    pub streams: usize,
    /// Keys of all watchers together. A key takes some 350 bytes.
    pub keys: usize,
    /// Records that wait for one watcher: what a commit brings, some times over.
    pub queue_records: usize,
    /// Bytes of records that wait for one watcher; one record always fits.
    pub queue_bytes: usize,
    /// Bytes of records that wait for all watchers together, each counted for each.
    pub queued_bytes: usize,
}

impl WatchLimits {
    /// What each field's description gives.
    pub const DEFAULT: WatchLimits = WatchLimits {
        streams: 4_096,
        keys: 262_144,
        queue_records: 1_024,
        queue_bytes: 1 << 20,
        queued_bytes: 64 << 20,
    };
}

const _: () = assert!(RECORD_MAX <= WatchLimits::DEFAULT.queue_bytes, "one record always fits");

impl Default for WatchLimits {
    fn default() -> Self {
        WatchLimits::DEFAULT
    }
}

/// What a node counted of those who watch it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct WatchFigures {
    /// Watchers at present.
    pub streams: usize,
    /// Their keys.
    pub keys: usize,
    /// Bytes of records that wait for them.
    pub queued_bytes: usize,
    /// Records that were shown, each counted for each watcher.
    pub shown: u64,
    /// Watchers that went on from a cursor.
    pub resumed: u64,
    /// Watchers that were cut off because they read too slowly.
    pub cut: u64,
    /// Watchers that were refused because there were too many, or too many keys.
    pub refused: u64,
}
