//! A leave that fails, or that nobody waits for, is undone.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dht_context::operations::{Put, PutError};
use dht_kad::{Refusal, ValidRecord};

use crate::holders::{Holder, identity, values, within};
use crate::wire::Wire;

async fn put(holder: &Holder, name: u8) -> Result<ValidRecord, PutError> {
    let put = Put { first_version: true, ..Put::owned([name; 32], Bytes::from("put")) };
    holder.context.put(&identity(1), put).await.map(|report| report.record)
}

/// A holder of some records that nobody is there to take.
async fn alone() -> Holder {
    let here = Holder::start(&Arc::new(Wire::default()), 1);
    here.give(&values(0..10)).await;
    within(here.context.ready()).await;
    here
}

#[tokio::test(start_paused = true)]
async fn who_could_not_hand_all_over_takes_puts_again() {
    let here = alone().await;
    let (refused, report) = {
        let leaving = here.context.leave(|_| {});
        tokio::pin!(leaving);
        // The leave goes first, each time, so that it has begun when somebody puts.
        let refused = tokio::select! {
            biased;
            report = &mut leaving => panic!("nobody took anything: {report:?}"),
            refused = put(&here, 1) => refused,
        };
        (refused, within(leaving).await)
    };
    assert!(
        matches!(refused, Err(PutError::Refused { refusal: Refusal::Restarting, .. })),
        "while it hands over it takes none: {refused:?}"
    );
    assert!(report.not_confirmed > 0 && report.handed_over == 0, "{report:?}");
    let record = put(&here, 2).await.unwrap();
    assert!(here.holds(&record).await);
}

#[tokio::test(start_paused = true)]
async fn a_leave_that_nobody_waits_for_is_undone() {
    let here = alone().await;
    let given_up = tokio::time::timeout(Duration::from_secs(5), here.context.leave(|_| {})).await;
    assert!(given_up.is_err());
    let record = put(&here, 1).await.unwrap();
    assert!(here.holds(&record).await);
}
