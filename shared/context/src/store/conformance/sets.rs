//! Rules of reconciliation: the set that a store shows, its fingerprints, and saved progress.

use std::collections::BTreeMap;

use bytes::Bytes;
use dht_kad::admission::{Existing, row_key};
use dht_kad::reconcile::{Cut, Fingerprint, Fingerprints, Group, Item, PREFIX_MAX, Part, Prefix};
use dht_kad::record::{Kind, Retention, Space};
use dht_kad::time::{DAY_MS, HOUR_MS};
use dht_kad::{Key, RecordDraft, Refusal, UnixMs, ValidRecord};

use super::{
    NO_LIMITS, NOW, Opened, Subject, content, draft, network, shuffled, sign, sign_by, tombstone,
};
use crate::store::RecordStore;

/// Every group takes part.
const ALL: Cut = Cut([0; 3]);
/// How often a store that splits its leaves beside its other work is given some, at most.
const NUDGES: u64 = 500;

/// By group, in the order of rows.
type Set = BTreeMap<Group, Vec<Item>>;

impl<S: Subject> Opened<S> {
    fn look<T>(&self, look: impl FnOnce(&Fingerprints) -> T) -> T {
        let (mut look, mut seen) = (Some(look), None);
        self.store.fingerprints(&mut |prints| seen = look.take().map(|look| look(prints)));
        seen.expect("a store shows its fingerprints, once")
    }

    /// The items of a part, in pages of this size.
    async fn items(&self, part: &Part, limit: usize) -> Vec<Item> {
        let mut items: Vec<Item> = Vec::new();
        loop {
            let after = items.last().map(|item| item.row);
            let page = self.store.items(part.clone(), after, limit).wait().await.expect("items");
            assert!(page.len() <= limit);
            let is_last = page.len() < limit;
            items.extend(page);
            if is_last {
                return items;
            }
        }
    }

    /// What is served at these keys, as a set.
    async fn found(&self, keys: &[Key]) -> Set {
        let mut set = Set::new();
        for key in keys {
            for bytes in self.at(*key).await {
                let record = ValidRecord::from_own_store(bytes, &network()).expect("a record");
                let row = row_key(record.id());
                let item = Item { row, version: record.precedence() };
                set.entry(Group::of(&Existing::of(&record))).or_default().push(item);
            }
        }
        set.values_mut().for_each(|items| items.sort());
        set
    }

    /// Asserts that the store's set is this one, by its items and by its fingerprints.
    async fn has_set(&self, set: &Set) {
        let sums: Vec<_> = set.iter().map(|(group, items)| (*group, sum(items))).collect();
        self.look(|prints| {
            assert_eq!(prints.groups(&ALL, &[Prefix::all()]), Some(sums));
            let whole = set.values().flatten().map(one).sum();
            assert_eq!(prints.whole(&ALL, &[Prefix::all()]), Some(whole));
        });
        for (group, items) in set {
            let part = Part { group: *group, prefix: Prefix::all() };
            assert_eq!(self.items(&part, 1_000).await, *items);
        }
    }
}

fn one(item: &Item) -> Fingerprint {
    Fingerprint::of(&item.version.digest)
}

fn sum(items: &[Item]) -> Fingerprint {
    items.iter().map(one).sum()
}

fn keys_of(records: &[ValidRecord]) -> Vec<Key> {
    let mut keys: Vec<Key> = records.iter().map(|record| record.id().key).collect();
    keys.sort();
    keys.dedup();
    keys
}

/// Versions of few slots at many keys, of every class, that replace each other across groups.
fn changing_records() -> Vec<ValidRecord> {
    let mut records = Vec::new();
    for number in 0..40 {
        let space = if number % 2 == 0 { Space::Topic } else { Space::Owned };
        for (seq, retention) in (1..).zip(Retention::ALL) {
            let created_at = UnixMs(NOW.0 - u64::from(number) * HOUR_MS / 10);
            let label = [number; 32];
            let slot = u64::from(number % 3);
            let body = Bytes::from_static(b"body");
            let value = RecordDraft {
                space,
                retention,
                label,
                slot,
                created_at,
                body,
                ..draft(u64::from(number) % 2 + seq, "")
            };
            records.push(sign_by(number % 4, &value));
            if number % 5 == 0 {
                let guard_until = created_at.after(u64::from(number) * DAY_MS);
                let deletion = RecordDraft { kind: Kind::Tombstone, body: Bytes::new(), ..value };
                records.push(sign_by(number % 4, &RecordDraft { guard_until, ..deletion }));
            }
        }
        records.push(sign_by(number, &content(if number < 20 { "shared" } else { "other" })));
    }
    records
}

/// Whatever is put, replaced, deleted, repaired and swept, fingerprints and items are those of what
/// is kept; and so they are after a restart.
pub async fn the_set_is_what_is_kept<S: Subject>(subject: &S) {
    let records = changing_records();
    let keys = keys_of(&records);
    for seed in 0..3 {
        let opened = Opened::new(subject, NO_LIMITS).await;
        opened.has_set(&Set::new()).await;
        for (number, record) in shuffled(&records, seed).iter().enumerate() {
            let _some_are_refused = match number % 2 {
                0 => opened.put(record).await,
                _ => opened.repair(record).await,
            };
            if number % 16 == 0 {
                opened.has_set(&opened.found(&keys).await).await;
            }
        }
        for hours in [0, 7, 9, 5 * 24, 8 * 24, 20 * 24] {
            opened.clock.set(NOW.after(hours * HOUR_MS));
            opened.sweep(subject).await;
            opened.has_set(&opened.found(&keys).await).await;
        }
        let before = opened.found(&keys).await;
        assert!(!before.is_empty());
        opened.store.close().await;
        let clock = std::sync::Arc::clone(&opened.clock);
        let Some(store) = subject.reopen(opened.store, clock, NO_LIMITS).await else { continue };
        let opened: Opened<S> = Opened { store, clock: opened.clock };
        opened.has_set(&before).await;
        opened.clock.set(NOW.after(500 * DAY_MS));
        opened.sweep(subject).await;
        opened.has_set(&Set::new()).await;
    }
}

/// A version that lasts as long as another stays in its group without its body; one that has ended
/// and was not swept is among the items.
pub async fn what_has_ended_is_in_the_set_until_it_is_swept<S: Subject>(subject: &S) {
    let opened = Opened::new(subject, NO_LIMITS).await;
    let guard_until = NOW.after(30 * DAY_MS);
    let guarded = sign(&RecordDraft { guard_until, ..draft(1, "guarded") });
    let deletion = sign(&RecordDraft { slot: 1, ..tombstone(1, guard_until) });
    let brief = sign(&RecordDraft { slot: 2, ..draft(1, "brief") });
    for record in [&guarded, &deletion, &brief] {
        opened.put(record).await.expect("stored");
    }
    let keys = [guarded.id().key];
    let set = opened.found(&keys).await;
    assert_eq!(set.values().map(Vec::len).collect::<Vec<_>>(), [1, 2], "a week, and 30 days");
    opened.clock.set(brief.keep_until());
    opened.has_set(&set).await;
    opened.sweep(subject).await;
    let group = Group::of(&Existing::of(&guarded));
    opened.has_set(&set.into_iter().filter(|(of, _)| *of == group).collect()).await;
}

/// A part's items come in the order of rows, on pages of any size, from any row on.
pub async fn items_come_in_order_and_page_by_page<S: Subject>(subject: &S) {
    let opened = Opened::new(subject, NO_LIMITS).await;
    for number in 0..100 {
        let version = RecordDraft { label: [number / 4; 32], slot: number.into(), ..draft(1, "") };
        opened.put(&sign_by(number % 2, &version)).await.expect("stored");
    }
    let group = Group::of(&Existing::of(&sign(&draft(1, ""))));
    let whole = Part { group, prefix: Prefix::all() };
    let all = opened.items(&whole, 1_000).await;
    assert!(all.len() == 100 && all.is_sorted_by_key(|item| item.row));
    for limit in [1, 7, 50, 100] {
        assert_eq!(opened.items(&whole, limit).await, all);
    }
    let middle = all[50].row;
    for len in [1, 2, 63, 64, 65, 130, PREFIX_MAX] {
        let part = Part { group, prefix: Prefix::of(&middle, len) };
        let under = |item: &&Item| part.prefix.covers_row(&item.row);
        let expected: Vec<_> = all.iter().filter(under).copied().collect();
        assert_eq!(opened.items(&part, 3).await, expected, "{len} half bytes");
        let from = async |after| {
            opened.store.items(part.clone(), Some(after), 1_000).wait().await.expect("items")
        };
        assert_eq!(from([0; 72]).await, expected, "a row before the part leaves nothing out");
        assert_eq!(from([0xff; 72]).await, []);
        let rest: Vec<_> = expected.into_iter().filter(|item| item.row > middle).collect();
        assert_eq!(from(middle).await, rest);
    }
    let elsewhen = Part { group: Group { period: group.period + 1, ..group }, ..whole.clone() };
    assert_eq!(opened.items(&elsewhen, 10).await, []);
    assert_eq!(opened.store.items(whole, None, 0).wait().await, Ok(Vec::new()));
}

/// Parts as fine as the resolution can be told soon after it was set, and those of leaves that have
/// grown large whatever it is.
pub async fn parts_can_be_told_as_finely_as_was_asked_for<S: Subject>(subject: &S) {
    let opened = Opened::new(subject, NO_LIMITS).await;
    let mut records = Vec::new();
    for number in 0..200 {
        let slot = if number < 120 { number.into() } else { 0 };
        let label = if number < 120 { [0; 32] } else { [number; 32] };
        let retention = Retention::ALL[usize::from(number % 3)];
        records.push(sign(&RecordDraft { label, slot, retention, ..draft(1, "") }));
        opened.put(&records[records.len() - 1]).await.expect("stored");
    }
    for half_bytes in [0, 3, 1] {
        opened.store.set_resolution(half_bytes);
        for nudge in 0.. {
            let set = opened.found(&keys_of(&records)).await;
            if opened.look(|prints| check_parts(prints, &set, half_bytes)) {
                break;
            }
            assert!(nudge < NUDGES, "parts of {half_bytes} half bytes cannot be told");
            let slot = 1_000 + nudge;
            let version = RecordDraft { slot, retention: Retention::Days365, ..draft(1, "") };
            records.push(sign(&version));
            opened.put(&records[records.len() - 1]).await.expect("stored");
            opened.sweep(subject).await;
        }
    }
}

/// Asserts that whatever is told is true; true if it is all that is to be told.
fn check_parts(prints: &Fingerprints, set: &Set, half_bytes: usize) -> bool {
    let mut all_told = prints.to_split().is_none();
    for (group, items) in set {
        for item in items {
            for len in [0, 1, 2, 3, 64] {
                let part = Part { group: *group, prefix: Prefix::of(&item.row, len) };
                let under = |item: &&Item| part.prefix.covers_row(&item.row);
                let expected = items.iter().filter(under).map(one).sum();
                match prints.part(&part) {
                    Some(print) => assert_eq!(print, expected, "{part:?}"),
                    None => all_told &= len > half_bytes,
                }
            }
        }
    }
    all_told
}

/// Progress is read back as it was saved last, after a restart, too.
pub async fn saved_progress_is_read_back<S: Subject>(subject: &S) {
    let opened = Opened::new(subject, NO_LIMITS).await;
    assert!(opened.store.saved_progress().is_empty());
    for progress in [Bytes::from(vec![7; 100_000]), Bytes::new(), Bytes::from_static(b"far")] {
        opened.store.save_progress(progress.clone()).await.expect("saved");
        assert_eq!(opened.store.saved_progress(), progress);
    }
    opened.store.close().await;
    let refused = opened.store.save_progress(Bytes::from_static(b"farther")).await;
    assert_eq!(refused, Err(Refusal::Restarting));
    let clock = std::sync::Arc::clone(&opened.clock);
    let Some(store) = subject.reopen(opened.store, clock, NO_LIMITS).await else { return };
    assert_eq!(store.saved_progress(), Bytes::from_static(b"far"));
}
