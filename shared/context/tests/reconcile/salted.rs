//! The comparison under a salt goes over everything in its time, and evenly.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dht_context::Timing;
use dht_kad::ValidRecord;
use dht_kad::admission::{Existing, row_key};
use dht_kad::message::{Reconcile, Reconciled};
use dht_kad::reconcile::{Group, Part};
use tokio::time::Instant;

use crate::crowd::{Crowd, PROMPT};
use crate::holders::{until, values};
use crate::wire::Wire;

const EVERY: Duration = Duration::from_secs(300);

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
    let here_too = crowd.around(&here);
    let belong: Vec<&ValidRecord> = records
        .iter()
        .filter(|record| {
            let row = row_key(record.id());
            here_too.range().iter().any(|prefix| prefix.covers_row(&row))
        })
        .collect();
    let is_asked = |record: &&ValidRecord| {
        let (row, group) = (row_key(record.id()), Group::of(&Existing::of(record)));
        let asked = asked.lock().unwrap();
        asked.iter().any(|(_, part)| part.group == group && part.prefix.covers_row(&row))
    };
    let walk = until(|| belong.iter().all(is_asked));
    let in_time = tokio::time::timeout(EVERY + EVERY / 10, walk).await;
    let asked = asked.lock().unwrap();
    assert!(in_time.is_ok(), "not all of {} records in {} parts", belong.len(), asked.len());
    let parts: BTreeSet<&Part> = asked.iter().map(|(_, part)| part).collect();
    assert!(belong.len() > 100 && parts.len() > 50, "{} in {}", belong.len(), parts.len());
    let start = asked[0].0;
    for tenth in 0..10 {
        let span = start + tenth * EVERY / 10..start + (tenth + 1) * EVERY / 10;
        let count = asked.iter().filter(|(at, _)| span.contains(at)).count();
        assert!(count <= parts.len() / 5, "{count} of {} in one tenth", parts.len());
    }
}
