//! Scenarios: what is done to a world, and what must hold then.
//!
//! A new one is a file of its own, and a line in [`ALL`]. What stories share: [`moves`] to gather, to
//! fill a network and to find everything again; [`load`], people who write and read meanwhile;
//! [`churn`], nodes that come and go meanwhile; [`strain`], what that costs a node in a second.

mod alarm_over_nothing;
mod all_nodes_restart;
mod away_a_week;
mod churn;
mod deleted_comes_back;
mod deletes_in_partition;
mod farewells;
mod full_disks;
mod join_thousand;
mod load;
mod lookup_cost;
mod missed;
mod moves;
mod notebook;
mod one_way;
mod partition_day;
mod repair_refused_as_too_old;
mod replay;
mod republish_extends_life;
mod republish_storm;
mod restart_all;
mod rivals;
mod rolling_upgrade;
mod siege;
mod split;
mod stale_version_wins;
mod steady_churn;
mod strain;
mod sybil_eclipse;
mod sybil_near_key;
mod writers;
mod wrong_clocks;
mod year;

use futures_util::future::BoxFuture;

pub use alarm_over_nothing::AlarmOverNothing;
pub use all_nodes_restart::AllNodesRestartAtOnce;
pub use away_a_week::AwayAWeek;
pub use deleted_comes_back::DeletedComesBack;
pub use deletes_in_partition::DeletesInPartition;
pub use farewells::Farewells;
pub use full_disks::FullDisks;
pub use join_thousand::JoinThousand;
pub use lookup_cost::LookupCost;
pub use one_way::OneWay;
pub use partition_day::PartitionDay;
pub use repair_refused_as_too_old::RepairRefusedAsTooOld;
pub use replay::Replay;
pub use republish_extends_life::RepublishExtendsLife;
pub use republish_storm::RepublishStorm;
pub use restart_all::RestartAll;
pub use rivals::Rivals;
pub use rolling_upgrade::RollingUpgrade;
pub use split::Split;
pub use stale_version_wins::StaleVersionWins;
pub use steady_churn::SteadyChurn;
pub use sybil_eclipse::SybilEclipse;
pub use sybil_near_key::SybilNearKey;
pub use writers::{Errand, Writers};
pub use wrong_clocks::WrongClocks;
pub use year::Year;

use crate::world::{Failure, World};

/// A story with a promise at its end.
pub trait Scenario: Sync {
    /// Its name on the command line.
    fn name(&self) -> &'static str;

    /// What happens in it, and what must hold, in one sentence.
    fn about(&self) -> &'static str;

    /// How many nodes it is told with unless somebody says otherwise.
    fn nodes(&self) -> usize {
        100
    }

    /// Plays it in a world whose hosts are all down.
    fn run<'a>(&'a self, world: &'a mut World) -> BoxFuture<'a, Result<(), Failure>>;
}

/// Every scenario.
pub const ALL: &[&dyn Scenario] = &[
    &RestartAll,
    &AllNodesRestartAtOnce,
    &RepublishStorm,
    &RollingUpgrade,
    &AlarmOverNothing,
    &SteadyChurn,
    &Farewells,
    &Split,
    &PartitionDay,
    &DeletesInPartition,
    &OneWay,
    &Rivals,
    &DeletedComesBack,
    &StaleVersionWins,
    &AwayAWeek,
    &RepublishExtendsLife,
    &RepairRefusedAsTooOld,
    &WrongClocks,
    &FullDisks,
    &Replay,
    &SybilNearKey,
    &SybilEclipse,
    &Year,
    &JoinThousand,
    &LookupCost,
];

/// The scenario of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static dyn Scenario> {
    ALL.iter().copied().find(|scenario| scenario.name() == name)
}
