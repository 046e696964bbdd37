//! Networks that live through what networks live through: each story is kept.
//! `scripts/sim.sh` plays all of them with many.

#![allow(clippy::unwrap_used, reason = "a helper of tests panics as they do")]

use dht_sim::{Settings, scenario, simulate};

fn assert_kept(story: &str) {
    assert_kept_with(1, scenario::find(story).unwrap().nodes(), story);
}

fn assert_kept_with(seed: u64, nodes: usize, story: &str) {
    let run = simulate(scenario::find(story).unwrap(), Settings::new(seed, nodes)).unwrap();
    assert_eq!(run.verdict, Ok(()), "{run:?}");
    assert!(run.acknowledged > 0 && run.checked >= run.acknowledged, "{run:?}");
}

#[test]
fn nothing_is_lost_while_half_of_all_sessions_last_less_than_an_hour() {
    assert_kept("steady-churn");
}

#[test]
fn an_upgrade_of_one_node_after_the_other_fails_no_put_and_copies_nothing_needlessly() {
    assert_kept("rolling-upgrade");
}

/// With this seed some nodes know a server more than others, and divide the keyspace more finely.
#[test]
fn a_whole_network_raises_no_alarm() {
    assert_kept_with(2, 33, "alarm-over-nothing");
}

#[test]
fn what_two_sides_of_a_cut_acknowledged_in_a_day_is_found_when_it_has_healed() {
    assert_kept("partition-day");
}

#[test]
fn deletes_on_two_sides_of_a_cut_are_decided_alike_everywhere() {
    assert_kept("deletes-in-partition");
}

#[test]
fn a_node_that_was_away_for_a_week_is_equal_again_within_minutes() {
    assert_kept("away-a-week");
}

#[test]
fn records_of_a_year_live_that_long_through_renewals_deletes_and_shorter_versions() {
    assert_kept("year");
}

#[test]
fn a_small_network_that_becomes_a_large_one_is_found_in_all_the_while() {
    assert_kept_with(1, 130, "join-thousand");
}

#[test]
fn wrong_clocks_lose_nothing_and_show_nothing_that_has_ended() {
    assert_kept("wrong-clocks");
}

#[test]
fn full_and_failing_disks_refuse_honestly_and_are_whole_again_later() {
    assert_kept("full-disks");
}

#[test]
fn asking_again_all_that_was_ever_asked_changes_nothing() {
    assert_kept("replay");
}

#[test]
fn the_newest_version_is_found_although_a_third_of_the_nodes_near_it_are_hostile() {
    assert_kept("sybil-near-key");
}

#[test]
fn ways_that_lead_in_one_direction_lose_nothing() {
    assert_kept("one-way");
}

#[test]
fn two_who_write_the_same_pages_at_once_agree_on_what_counts() {
    assert_kept("rivals");
}

#[test]
fn who_leaves_hands_over_what_it_held() {
    assert_kept("farewells");
}
