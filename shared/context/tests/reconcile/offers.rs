//! Offers get to a quorum, whatever single servers say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use dht_kad::message::reconcile::{Holding, Offered};
use dht_kad::message::{Reconcile, Reconciled};
use dht_kad::put::quorum_of;
use dht_kad::reconcile::Prefix;
use dht_kad::routing::K;
use dht_kad::{Key, NodeId};

use crate::crowd::{Crowd, PROMPT};
use crate::holders::{until, values, within};
use crate::wire::Wire;

/// What the servers were offered, by record: who wants it and who holds it.
type Offers = Arc<Mutex<BTreeMap<Key, Seen>>>;

#[derive(Default)]
struct Seen {
    wants: BTreeSet<NodeId>,
    holds: BTreeSet<NodeId>,
}

/// Servers that hold what they were offered once. Only the first that is ever offered anything says each
/// time that it wants it, and never has it: it is full, or lies.
fn with_one_that_only_wants(wire: &Arc<Wire>) -> (Crowd, Offers) {
    let offers = Offers::default();
    let seen = Arc::clone(&offers);
    let stubborn = Mutex::new(None);
    let crowd = Crowd::start(wire, move |server, question| match question {
        Reconcile::Whole(_) => Reconciled::Equal,
        Reconcile::Leaving => Reconciled::Noted,
        Reconcile::Offer(offered) => {
            let stubborn = *stubborn.lock().unwrap().get_or_insert(*server);
            let mut seen = seen.lock().unwrap();
            let mut answer = |offered: &Offered| {
                let seen = seen.entry(offered.key).or_default();
                if seen.wants.insert(*server) || *server == stubborn {
                    return Holding::Wanted;
                }
                seen.holds.insert(*server);
                Holding::Held
            };
            Reconciled::Holdings(offered.iter().map(&mut answer).collect())
        }
        _ => Reconciled::TooLarge,
    });
    (crowd, offers)
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_has_what_it_wants_does_not_keep_others_from_being_asked() {
    let wire = Arc::new(Wire::default());
    let (crowd, offers) = with_one_that_only_wants(&wire);
    let records = values(0..60);
    let here = crowd.joined_by(&wire, PROMPT, &records).await;
    let around = crowd.around(&here);
    let belongs_here = |key: &Key| {
        let place = Prefix::of_key(key, 64);
        around.range().iter().any(|prefix| prefix.covers(&place))
    };
    let keys = records.iter().map(|record| record.id().key);
    let outside: Vec<Key> = keys.filter(|key| !belongs_here(key)).collect();
    assert!(outside.len() > 10, "{} records belong elsewhere", outside.len());
    let held = |key: &Key| {
        let offers = offers.lock().unwrap();
        offers.get(key).is_some_and(|seen| seen.holds.len() >= quorum_of(K))
    };
    until(|| outside.iter().all(held)).await;
}

#[tokio::test(start_paused = true)]
async fn who_leaves_is_not_kept_by_a_server_that_never_has_what_it_wants() {
    let wire = Arc::new(Wire::default());
    let (crowd, offers) = with_one_that_only_wants(&wire);
    let here = crowd.joined_by(&wire, PROMPT, &values(0..60)).await;
    let report = within(here.context.leave(|_| {})).await;
    assert_eq!((report.handed_over, report.not_confirmed), (60, 0));
    let offers = offers.lock().unwrap();
    // Of the k closest that were found this node may be one.
    assert!(offers.values().all(|seen| seen.holds.len() >= quorum_of(K - 1)));
}
