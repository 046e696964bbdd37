//! Rules of the `Content` space, where a record's identity is its key alone.

use dht_kad::record::Retention;
use dht_kad::time::HOUR_MS;
use dht_kad::{RecordDraft, UnixMs};

use super::{NO_LIMITS, NOW, Opened, Subject, content, sign, sign_by};
use crate::store::{PageQuery, RecordStore};

/// Of two records of one content the one that is kept longer stays, whichever came first.
pub async fn content_is_kept_until_the_latest_end<S: Subject>(subject: &S) {
    let short = sign(&content("same"));
    let long = sign(&RecordDraft { retention: Retention::Days365, ..content("same") });
    for order in [[&short, &long], [&long, &short]] {
        let opened = Opened::new(subject, NO_LIMITS).await;
        for record in order {
            let stored = opened.put(record).await.expect("stored");
            assert!(stored.expires_at >= record.expires_at(), "no less than was asked for");
        }
        opened.holds(&long).await;
        opened.clock.set(UnixMs(long.expires_at().0 - 1));
        opened.holds(&long).await;
    }
}

/// Two publishers of one content share its one row, and its room is charged once.
pub async fn content_belongs_to_no_publisher<S: Subject>(subject: &S) {
    let opened = Opened::new(subject, NO_LIMITS).await;
    let created_at = NOW.after(HOUR_MS / 60);
    let first = sign_by(1, &content("same"));
    let second = sign_by(2, &RecordDraft { created_at, ..content("same") });
    assert_eq!(first.id(), second.id());
    for record in [&first, &second, &first] {
        opened.put(record).await.expect("stored");
    }
    opened.holds(&second).await;
    assert_eq!(opened.store.usage().total.records, 1);
    let by_zeros = PageQuery { publisher: Some([0; 32]), ..PageQuery::all(first.id().key) };
    assert_eq!(opened.all(by_zeros).await.len(), 1);
}
