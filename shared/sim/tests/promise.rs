//! The promise, in simulated networks of a hundred real nodes: what was acknowledged is found
//! until its signed expiry. And that the checker would notice if it were not.

#![allow(clippy::unwrap_used, reason = "a helper of tests panics as they do")]

use std::time::Duration;

use dht_sim::checker::BrokenRule;
use dht_sim::disk::DiskModel;
use dht_sim::transport::LinkModel;
use dht_sim::{Failure, Fault, Run, Settings, World, scenario, simulate};
use futures_util::future::join_all;

const NODES: usize = 100;

fn play(story: &str, settings: Settings) -> Run {
    simulate(scenario::find(story).unwrap(), settings).unwrap()
}

/// `all-nodes-restart-at-once`: elsewhere every node restarted together and republished into an
/// empty routing table, and profiles were lost.
#[test]
fn all_nodes_restart_at_once() {
    let run = play("restart-all", Settings::new(1, NODES));
    assert_eq!(run.verdict, Ok(()));
    assert!(run.acknowledged >= 300 && run.checked >= 3 * 300, "{run:?}");
    assert!(run.lost_writes > 0, "nothing was under way when everything died: {run:?}");
}

/// The fault put back: disks that answer before they sync. Slow ones, so that the answers come
/// well before the syncs; with the fault taken out again the same run is good.
#[test]
fn an_acknowledgement_before_the_sync_is_caught() {
    let disks = DiskModel {
        sync_shortest: Duration::from_millis(200),
        sync_longest: Duration::from_millis(600),
    };
    let slow = Settings { disks, ..Settings::new(1, NODES) };
    let lying = play("restart-all", slow.with(Fault::AcknowledgeBeforeSync));
    // With a second version or a delete that is lost, the one before it is back.
    let lost = matches!(
        lying.verdict,
        Err(Failure::Broken(
            BrokenRule::Lost { .. } | BrokenRule::Stale { .. } | BrokenRule::CameBack { .. }
        ))
    );
    assert!(lost, "{lying:?}");
    assert_eq!(play("restart-all", slow).verdict, Ok(()));
}

#[test]
fn a_network_that_loses_one_packet_in_twenty_still_converges() {
    let links = LinkModel { loss_permille: 50, ..LinkModel::default() };
    let run = play("restart-all", Settings { links, ..Settings::new(2, NODES) });
    assert_eq!(run.verdict, Ok(()));
}

#[test]
fn a_put_on_the_smaller_side_of_a_cut_succeeds_truthfully_or_says_that_too_few_answer() {
    let run = play("split", Settings::new(3, NODES));
    assert_eq!(run.verdict, Ok(()));
    assert!(run.acknowledged > 0, "{run:?}");
}

/// Two servers whose buckets had no room for each other answered each ping with a ping, for ever:
/// a hundred nodes sent each other 12,000 a second.
#[test]
fn nodes_that_have_nothing_to_do_are_quiet() {
    const IDLE: Duration = Duration::from_secs(60);
    /// Each peer of the table is asked once a minute whether it lives, and answers; twice that for
    /// what lookups of stale buckets add.
    const LETTERS_PER_NODE: u64 = 2 * 2 * NODES as u64;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut world = World::new(Settings::new(4, NODES)).unwrap();
        for id in 0..NODES {
            world.start(id, if id == 0 { &[] } else { &[0, 1, 2] }).unwrap();
        }
        world.all_ready(IDLE).await.unwrap();
        world.live(IDLE).await;
        let before = world.network().trace().events();
        world.live(IDLE).await;
        let letters = world.network().trace().events() - before;
        assert!(letters < LETTERS_PER_NODE * NODES as u64, "{letters}");
    });
}

/// A node that had answered shortly before it died was taken for known when it came back, and
/// stayed out of the tables that it had left.
#[test]
fn a_node_that_died_and_came_back_is_in_every_table_again_within_seconds() {
    const WAIT: Duration = Duration::from_secs(10);
    const FEW: usize = 20;
    const VICTIM: usize = 5;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut world = World::new(Settings::new(5, FEW)).unwrap();
        for id in 0..FEW {
            world.start(id, &[0, 1]).unwrap();
        }
        world.all_ready(WAIT).await.unwrap();
        world.live(WAIT).await;
        let victim = world.user(VICTIM).unwrap().context().node_id();
        let known_by = |world: &World| {
            let users = world.running().into_iter().filter(|id| *id != VICTIM);
            let users = users.map(|id| world.user(id).unwrap());
            let knows = |user: dht_sim::user::User| {
                user.context().peers().iter().any(|peer| peer.id == victim && peer.in_table)
            };
            users.map(knows).filter(|known| *known).count()
        };
        let all_look_for_it = |world: &World| {
            let users = world.running().into_iter().map(|id| world.user(id).unwrap());
            let look = |user: dht_sim::user::User| async move {
                user.context().lookup(victim.key()).await;
            };
            join_all(users.map(look))
        };
        all_look_for_it(&world).await;
        assert_eq!(known_by(&world), FEW - 1);

        world.crash(&[VICTIM]).await;
        all_look_for_it(&world).await;
        all_look_for_it(&world).await;
        assert!(known_by(&world) < FEW / 2, "its death was not noticed");
        world.start(VICTIM, &[0, 1]).unwrap();
        world.live(WAIT).await;
        assert_eq!(known_by(&world), FEW - 1);
    });
}
