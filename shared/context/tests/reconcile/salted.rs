//! The comparison under a salt goes over everything in its time, and evenly.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dht_context::Timing;
use dht_kad::admission::{Existing, row_key};
use dht_kad::message::{Reconcile, Reconciled};
use dht_kad::reconcile::{Group, Part, Prefix};
use tokio::time::Instant;

use crate::crowd::{Crowd, PROMPT};
use crate::holders::values;
use crate::wire::Wire;

const EVERY: Duration = Duration::from_secs(600);

#[tokio::test(start_paused = true)]
async fn all_that_many_neighbours_share_is_compared_in_one_walk_s_time_and_evenly() {
    let wire = Arc::new(Wire::default());
    let asked: Arc<Mutex<Vec<(Instant, Part)>>> = Arc::default();
    let seen = Arc::clone(&asked);
    let crowd = Crowd::start(&wire, move |_, question| match question {
        Reconcile::Whole(_) => Reconciled::Equal,
        Reconcile::Salted(ask) => {
            seen.lock().unwrap().push((Instant::now(), ask.part.clone()));
            Reconciled::TooLarge
        }
        _ => Reconciled::TooLarge,
    });
    let records = values(0..300);
    let timing = Timing { salted_every: EVERY, ..PROMPT };
    let here = crowd.joined_by(&wire, timing, &records).await;
    tokio::time::sleep(EVERY + EVERY / 10).await;
    let asked = asked.lock().unwrap();
    let parts: BTreeSet<&Part> = asked.iter().map(|(_, part)| part).collect();
    let here_too = crowd.around(&here);
    let mut belong = 0;
    for record in &records {
        let (row, group) = (row_key(record.id()), Group::of(&Existing::of(record)));
        if here_too.range().iter().any(|prefix| prefix.covers_row(&row)) {
            belong += 1;
            let covers = |part: &&Part| part.group == group && part.prefix.covers_row(&row);
            assert!(parts.iter().any(covers), "{group:?} {:?}", Prefix::of(&row, 4));
        }
    }
    assert!(belong > 100 && parts.len() > 50, "{belong} in {} parts", parts.len());
    let start = asked[0].0;
    for tenth in 0..10 {
        let span = start + tenth * EVERY / 10..start + (tenth + 1) * EVERY / 10;
        let count = asked.iter().filter(|(at, _)| span.contains(at)).count();
        assert!(count <= parts.len() / 5, "{count} of {} in one tenth", parts.len());
    }
}
