//! What [`deleted-comes-back`](super::DeletedComesBack) and
//! [`stale-version-wins`](super::StaleVersionWins) share: some holders miss a change, return, and
//! are then the only ones left. While they are back and differ still, somebody sends the first
//! versions again, too.

use std::time::Duration;

use dht_kad::lookup::Consistency;
use dht_kad::record::Retention;

use super::Errand;
use super::moves::{all_found, everyone, gather, minutes, start_at_once, write_all};
use super::notebook::Notebook;
use crate::world::{Failure, HostId, World};

/// Few enough that every node is a holder of most pages.
pub(super) const NODES: usize = 25;
/// Pages that are changed while some are away.
const PAGES: u64 = 20;
/// Of a hundred hosts so many miss it: fewer than a quorum of a page's holders.
const AWAY_PERCENT: usize = 40;
/// Longer than what is gone is remembered, so that the others are the whole network then.
const NOTICED: Duration = minutes(3);
/// When they are back, those who were away know who is there after this.
const BACK: Duration = Duration::from_millis(500);
/// Those who were away are equal to the others within this.
const EQUAL_WITHIN: Duration = minutes(10);

/// Plays it with one kind of change to a page.
pub(super) async fn play(
    world: &mut World,
    change: impl Fn(&Notebook, u64) -> Errand,
) -> Result<(), Failure> {
    let notebook = Notebook::new(world, "notebook");
    let mut dice = world.dice("missed");
    let all = everyone(world);
    gather(world).await?;
    let first = (0..PAGES).map(|page| notebook.write(page, 1, Retention::Days7)).collect();
    let first = write_all(world, &mut dice, &all, first).await?;
    all_found(world).await?;

    let (away, there): (Vec<HostId>, Vec<HostId>) =
        all.iter().partition(|id| *id * 100 < all.len() * AWAY_PERCENT);
    world.crash(&away).await;
    world.live(NOTICED).await;
    let changes = (0..PAGES).map(|page| change(&notebook, page)).collect();
    write_all(world, &mut dice, &there, changes).await?;

    start_at_once(world, &away)?;
    world.all_ready(NOTICED).await?;
    world.live(BACK).await;
    world.check_all(Consistency::Quorum).await?;
    for (place, (_, report)) in first.iter().enumerate() {
        let Some(replayer) = all.get(place % all.len()) else { continue };
        // It is refused, or holders keep what they have: the next look says whether that is so.
        let _ = world.user(*replayer)?.context().put_record(&report.record, None, None).await;
    }
    all_found(world).await?;
    world.live(EQUAL_WITHIN).await;

    world.crash(&there).await;
    world.live(NOTICED).await;
    all_found(world).await
}
