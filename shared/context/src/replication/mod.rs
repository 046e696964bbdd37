//! Replication: the copies of every record kept whole on the k servers closest to it, while nodes
//! come, go, crash and return.
//!
//! ```text
//! registry ─▶ members ─▶ Neighbourhood ─▶ schedule ─▶ round with one neighbour ─▶ fetch ─▶ store
//!             (who counts)  (who shares what)  │          (compare, then take)       ▲
//!                                              └─▶ offers ─▶ «do you hold these?»    │ pulls
//! what neighbours ask ─▶ answers ─▶ fingerprints, items, records of the store        │
//!                           └─ an offer of what belongs here and is not here ────────┘
//! ```
//!
//! A node only ever takes what it asked for, from a server of its own choice, at its own pace, and
//! checks it like any other record. So records move in one way: *compare* (a *round* with a
//! neighbour that should hold the same) or be *offered* something (by a holder that is not among the
//! closest any more), then *fetch*, verify, store, and count as done what was read back.
//!
//! - `members`: which servers count as holders: those of the table, and those that left it a moment
//!   ago and may be restarting.
//! - `schedule`: when whom: every neighbour in turn, jittered; at once after joining and when one
//!   comes back; never before the table is settled.
//! - `round`: one comparison with one neighbour, and the fetching of what it showed.
//! - `answers`: what neighbours are answered, from local information only.
//! - `offers`: what lies here and belongs elsewhere, until a quorum of those it belongs to has it;
//!   at a stop or for good, what nobody else may have yet.
//! - `pace`: how many bytes a second, and a share of the time, so that puts and gets come first.
//! - `progress`: what is remembered across restarts.
//! - `figures`: what is counted: lag, what is known to lack copies, bytes by purpose.

pub(crate) mod answers;
mod fetch;
mod figures;
mod pace;
mod question;
mod round;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dht_kad::message::reconcile::Wanted;
use dht_kad::reconcile::Neighbourhood;
use dht_kad::routing::K;
use dht_kad::{Key, NodeId};

pub use figures::{Figures, ReplicationFigures};
pub use round::RoundError;

/// What replication's parts share with the server that answers for them.
pub struct Replication {
    pub(crate) figures: Figures,
    pub(crate) pace: pace::Pace,
    pub(crate) superseded: fetch::Superseded,
    state: Mutex<State>,
}

struct State {
    neighbourhood: Arc<Neighbourhood>,
}

/// What one comparison with one neighbour came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RoundReport {
    /// Both hold the same, as far as they should.
    pub equal: bool,
    /// Versions that the neighbour holds, which this node should and did not.
    pub lacked: u64,
    /// Of those, how many this node holds now.
    pub fetched: u64,
    /// Versions that this node holds and the neighbour did not, as far as the comparison saw.
    pub lacked_there: u64,
    /// Bytes that were asked and answered to find what differs.
    pub compare_bytes: u64,
    /// Bytes that were asked and answered to fetch it.
    pub fetch_bytes: u64,
}

impl Replication {
    /// Replication at a node that knows nobody yet.
    #[must_use]
    pub fn new(own: NodeId) -> Self {
        let neighbourhood = Arc::new(Neighbourhood::new(own, &[], K));
        Replication {
            figures: Figures::default(),
            pace: pace::Pace,
            superseded: fetch::Superseded::default(),
            state: Mutex::new(State { neighbourhood }),
        }
    }

    /// Who should hold what, as far as is known right now.
    #[must_use]
    pub fn neighbourhood(&self) -> Arc<Neighbourhood> {
        Arc::clone(&self.state().neighbourhood)
    }

    /// Whether a record at this key may be taken from another holder.
    #[must_use]
    pub fn may_take(&self, key: &Key) -> bool {
        self.neighbourhood().may_take(key)
    }

    /// A holder offered these, and this node lacks them: they are fetched from it when their turn
    /// comes. False if too much waits already.
    pub fn want(&self, _holder: NodeId, _wanted: Vec<Wanted>) -> bool {
        false
    }

    /// A server said that it leaves for good: it counts as a holder no more.
    pub fn note_leaving(&self, _server: NodeId) {}

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
