//! What this node says of how it is: the answer to [`Vitals`](dht_kad::message::Vitals).
//!
//! ```text
//! membership, registry, replication, store ─┐
//! Machine (disk and memory, told by whoever  ├─▶ signs ─▶ VitalSigns
//!          runs the node)                  ─┘
//! ```
//!
//! All of it is at hand: nothing is read from disk, and nobody is asked. What only the operating system
//! knows comes through [`Machine`], which answers from memory; a node that has none leaves that out.

use dht_kad::Refusal;
use dht_kad::message::VitalSigns;
use dht_kad::message::vitals::PERCENT_MAX;
use dht_kad::refusal::FullScope;

use crate::server::Server;

/// What one MiB is, in bits of a number of bytes.
const MIB_BITS: u32 = 20;

/// Tells what the operating system knows of the machine and of this process.
pub trait Machine: Send + Sync + 'static {
    /// The figures, at most some seconds old. It has to be quick: it is asked by whoever asks the node.
    fn figures(&self) -> MachineFigures;
}

/// What there is of the machine, as far as it is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MachineFigures {
    /// Bytes free on the disk that the records lie on, and of how many.
    pub disk: Option<(u64, u64)>,
    /// Whether the disk has so little room that puts are refused.
    pub disk_is_short: bool,
    /// The most bytes that records may be charged.
    pub store_limit_bytes: Option<u64>,
    /// Bytes of memory that the process has in RAM.
    pub memory_bytes: Option<u64>,
    /// The most bytes of memory that it may have.
    pub memory_limit_bytes: Option<u64>,
}

impl Server {
    /// How this node is.
    pub(crate) fn signs(&self) -> VitalSigns {
        let figures = self.machine.get().map(|machine| machine.figures()).unwrap_or_default();
        let full = Refusal::Full { scope: FullScope::Total };
        let refuses: Vec<Refusal> = self
            .takes_puts()
            .err()
            .into_iter()
            .chain(figures.disk_is_short.then_some(full))
            .collect();
        let (_, servers, _) = self.registry.sizes();
        let replication = self.replication.read();
        let usage = self.store.usage();
        let store_free_percent = figures
            .store_limit_bytes
            .and_then(|limit| percent(limit.saturating_sub(usage.total.bytes), limit));
        VitalSigns {
            up_secs: self.started.elapsed().as_secs(),
            ready: refuses.is_empty() && self.not_ready_because().is_none(),
            refuses,
            disk_free_percent: figures.disk.and_then(|(free, of)| percent(free, of)),
            store_free_percent,
            memory_mib: figures.memory_bytes.map(mib),
            memory_limit_mib: figures.memory_limit_bytes.map(mib),
            oldest_unrepaired_secs: match replication.oldest_unrepaired_ms {
                0 => None,
                ms => Some(ms / 1_000),
            },
            servers: u32::try_from(servers).unwrap_or(u32::MAX),
            neighbours: u32::try_from(replication.neighbours).unwrap_or(u32::MAX),
            records: usage.total.records,
        }
    }
}

/// A part of something in whole percent, rounded down; nothing of what has no size.
fn percent(part: u64, all: u64) -> Option<u8> {
    let percent = u128::from(part) * u128::from(PERCENT_MAX) / u128::from(all.max(1));
    (all > 0).then(|| u8::try_from(percent).unwrap_or(PERCENT_MAX).min(PERCENT_MAX))
}

fn mib(bytes: u64) -> u32 {
    u32::try_from(bytes >> MIB_BITS).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_rounded_down_and_never_more_than_all() {
        for (part, all, percents) in [
            (0, 7, Some(0)),
            (1, 200, Some(0)),
            (2, 200, Some(1)),
            (199, 200, Some(99)),
            (200, 200, Some(100)),
            (300, 200, Some(100)),
            (u64::MAX, u64::MAX, Some(100)),
            (0, 0, None),
        ] {
            assert_eq!(percent(part, all), percents, "{part} of {all}");
        }
    }

    #[test]
    fn memory_is_told_in_whole_mebibytes() {
        assert_eq!([0, (1 << 20) - 1, 1 << 20, 240 << 20].map(mib), [0, 0, 1, 240]);
        assert_eq!(mib(u64::MAX), u32::MAX);
    }
}
