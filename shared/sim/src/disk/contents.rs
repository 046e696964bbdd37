//! [`Contents`]: what lies on a disk, and how a change is made to it, with or without a fault.

use bytes::Bytes;
use dht_context::registry::SavedPeer;
use dht_context::store::Rows;
use dht_kad::admission::{Limits, Path};
use dht_kad::message::Stored;
use dht_kad::record::Kind;
use dht_kad::time::HOUR_MS;
use dht_kad::{NetworkName, Refusal, UnixMs, ValidRecord};

use crate::fault::Fault;

/// Rows that one sweep looks at before a batch is written, as the memory store does.
const SWEEP_STEPS: usize = 1_024;
/// What [`Fault::RepairRefusesOld`] takes for old.
const OLD_MS: u64 = HOUR_MS;

/// What lies on a disk.
#[derive(Clone)]
pub(super) struct Contents {
    pub(super) rows: Rows,
    pub(super) peers: Vec<SavedPeer>,
    pub(super) progress: Bytes,
    pub(super) commit_no: u64,
    pub(super) swept_to: UnixMs,
    /// The latest time that the node's store ever trusted.
    pub(super) high_water: Option<UnixMs>,
    pub(super) fault: Option<Fault>,
}

/// One change of it.
pub(super) enum Change {
    Put(Box<ValidRecord>, Path, UnixMs),
    Sweep(UnixMs),
    Peers(Vec<SavedPeer>),
    Progress(Bytes),
}

impl Contents {
    pub(super) fn new(network: NetworkName, limits: Limits, fault: Option<Fault>) -> Self {
        let rows = Rows::new(network, limits);
        let (peers, progress, swept_to) = (Vec::new(), Bytes::new(), UnixMs(0));
        Contents { rows, peers, progress, commit_no: 0, swept_to, high_water: None, fault }
    }

    pub(super) fn apply(&mut self, change: &Change) -> Result<Option<Stored>, Refusal> {
        match change {
            Change::Put(record, path, now) => return self.put(record, *path, *now).map(Some),
            Change::Sweep(_) if self.fault == Some(Fault::KeepsExpired) => {}
            Change::Sweep(now) => {
                if self.rows.sweep(*now, SWEEP_STEPS) {
                    self.swept_to = self.swept_to.max(*now);
                }
            }
            Change::Peers(peers) => self.peers.clone_from(peers),
            Change::Progress(progress) => self.progress.clone_from(progress),
        }
        Ok(None)
    }

    /// The moment as of which rows are shown.
    pub(super) fn shown_at(&self, now: UnixMs) -> UnixMs {
        match self.fault {
            Some(Fault::KeepsExpired) => UnixMs(0),
            _ => now,
        }
    }

    fn put(&mut self, record: &ValidRecord, path: Path, now: UnixMs) -> Result<Stored, Refusal> {
        let id = record.id();
        let obeyed = Stored { expires_at: record.expires_at() };
        match self.fault {
            Some(Fault::RepairRefusesOld)
                if path == Path::Repair && record.created_at().after(OLD_MS) < now =>
            {
                return Ok(obeyed);
            }
            Some(Fault::ForgetsTombstones) if record.kind() == Kind::Tombstone => {
                self.rows.remove(id);
                self.commit_no += 1;
                return Ok(obeyed);
            }
            Some(Fault::StaleWins) => {
                let same = |held: &ValidRecord| held.digest() == record.digest();
                if !self.rows.get(id).is_some_and(same) {
                    self.rows.remove(id);
                }
            }
            _ => {}
        }
        let (stored, changed) = self.rows.put(record, path, now, self.commit_no + 1)?;
        self.commit_no += u64::from(changed);
        Ok(stored)
    }
}
