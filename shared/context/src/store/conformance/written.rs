//! Rules of commits: who observes them, and what was written since one.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use dht_kad::time::DAY_MS;
use dht_kad::{RecordDraft, Refusal, ValidRecord};

use super::{NO_LIMITS, NOW, Opened, STORE, Subject, Submission, draft, sign, sign_by, tombstone};
use crate::store::{CommitObserver, PageQuery, RecordStore};

/// Writes down what it is told.
#[derive(Default)]
struct Diary(Mutex<Vec<(u64, Vec<ValidRecord>)>>);

impl Diary {
    /// What it was told so far: all commits, and all records.
    fn read(&self) -> (Vec<u64>, Vec<ValidRecord>) {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let commits = entries.iter().map(|(commit_no, _)| *commit_no).collect();
        (commits, entries.iter().flat_map(|(_, records)| records.clone()).collect())
    }
}

impl CommitObserver for Diary {
    fn committed(&self, commit_no: u64, records: &[ValidRecord]) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.push((commit_no, records.to_vec()));
    }

    fn interrupted(&self, commit_no: u64) {
        panic!("nothing has interrupted commit {commit_no}");
    }
}

/// What changes the store is observed once, whole, in the order of commits, whatever way it came, and
/// before its put is answered; what changes nothing is not.
pub async fn every_commit_is_observed_before_it_is_answered<S: Subject>(subject: &S) {
    let opened = Opened::new(subject, NO_LIMITS).await;
    opened.put(&sign(&draft(1, "before anyone observes"))).await.expect("stored");
    let diary = Arc::new(Diary::default());
    let told_from = opened.store.observe(diary.clone());
    assert_eq!(told_from, opened.store.usage().commit_no);

    let large = Bytes::from(vec![7; 65_536]);
    let written = [
        sign(&draft(2, "a put")),
        sign(&RecordDraft { slot: 1, body: large, ..draft(1, "") }),
        sign_by(2, &draft(1, "a repair")),
        sign(&tombstone(3, NOW.after(30 * DAY_MS))),
    ];
    for (number, record) in written.iter().enumerate() {
        let path = if number == 2 { dht_kad::admission::Path::Repair } else { STORE };
        opened.submit(record, path).await.expect("stored");
        assert_eq!(diary.read().1, written[..=number], "observed when it was answered");
    }
    opened.put(&written[3]).await.expect("the same again");
    let stale = opened.put(&written[0]).await;
    assert!(matches!(stale, Err(Refusal::SeqTooLow { .. })));
    assert_eq!(diary.read().1, written, "nothing has changed");

    let batch: Vec<_> = (10..20).map(|slot| sign(&RecordDraft { slot, ..draft(1, "x") })).collect();
    let submissions = batch.iter().map(|record| Submission { record: record.clone(), path: STORE });
    opened.store.submit(submissions.collect()).await;
    let (commits, records) = diary.read();
    assert_eq!(records[written.len()..], batch);
    assert!(commits.is_sorted_by(|a, b| a < b) && commits[0] > told_from, "{commits:?}");
    assert_eq!(commits.last(), Some(&opened.store.usage().commit_no));
}

/// A page may ask for what some commits wrote: the versions that are held now, wherever their bodies
/// lie, and nothing of what was replaced since.
pub async fn what_was_written_since_a_commit_is_found<S: Subject>(subject: &S) {
    let opened = Opened::new(subject, NO_LIMITS).await;
    let large = Bytes::from(vec![7; 65_536]);
    let of_slot = |slot: u64, seq: u64| sign(&RecordDraft { slot, ..draft(seq, "value") });
    let steps = [
        vec![of_slot(0, 1), of_slot(1, 1)],
        vec![of_slot(1, 2), sign(&RecordDraft { slot: 2, body: large, ..draft(1, "") })],
        vec![of_slot(3, 1), sign(&RecordDraft { slot: 0, ..tombstone(2, NOW.after(9 * DAY_MS)) })],
    ];
    let mut commits = vec![opened.store.usage().commit_no];
    for step in &steps {
        for record in step {
            opened.put(record).await.expect("stored");
        }
        commits.push(opened.store.usage().commit_no);
    }
    let key = steps[0][0].id().key;
    let between = async |from: usize, to: usize| {
        let written = Some((commits[from], commits[to]));
        let whole = opened.all(PageQuery { written, ..PageQuery::all(key) }).await;
        let paged = opened.all(PageQuery { written, limit: 1, ..PageQuery::all(key) }).await;
        assert_eq!(whole, paged);
        whole
    };
    let bytes = |records: [&ValidRecord; 2]| records.map(|record| record.bytes().clone());
    assert_eq!(between(0, 1).await, [] as [Bytes; 0], "both were replaced since");
    assert_eq!(between(1, 2).await, bytes([&steps[1][0], &steps[1][1]]));
    assert_eq!(between(2, 3).await, bytes([&steps[2][1], &steps[2][0]]));
    assert_eq!(between(3, 3).await, [] as [Bytes; 0]);
    assert_eq!(between(0, 3).await, opened.at(key).await);
    let one = PageQuery {
        publisher: Some(*steps[1][0].publisher()),
        slots: Some((1, 1)),
        written: Some((commits[2], u64::MAX)),
        ..PageQuery::all(key)
    };
    assert_eq!(opened.all(one).await, [] as [Bytes; 0], "nor where one slot is asked for");
}

/// A commit's number means the same after a restart, as long as the store says that it is the same.
pub async fn commits_mean_the_same_in_a_reopened_store<S: Subject>(subject: &S) {
    let opened = Opened::new(subject, NO_LIMITS).await;
    let (before, after) = (sign(&draft(1, "")), sign(&RecordDraft { slot: 1, ..draft(1, "") }));
    opened.put(&before).await.expect("stored");
    let commit_no = opened.store.usage().commit_no;
    opened.put(&after).await.expect("stored");
    let incarnation = opened.store.incarnation();
    let Opened { store, clock } = opened;
    let reopened = subject.reopen(store, Arc::clone(&clock), NO_LIMITS).await;
    assert_eq!(reopened.is_some(), incarnation.is_some(), "what lasts has a name");
    let Some(store) = reopened else { return };
    assert_eq!(store.incarnation(), incarnation);
    let opened = Opened::<S> { store, clock };
    let written = Some((commit_no, u64::MAX));
    let since = opened.all(PageQuery { written, ..PageQuery::all(before.id().key) }).await;
    assert_eq!(since, [after.bytes().clone()]);
    assert!(opened.store.observe(Arc::new(Diary::default())) > commit_no);
}
