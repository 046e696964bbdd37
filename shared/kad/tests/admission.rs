//! What `plan_put` admits, in whatever order it comes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod samples;

use std::collections::BTreeMap;

use bytes::Bytes;
use dht_kad::admission::{
    Amount, CLASS_PERCENT, Existing, KEY_RECORDS, Limits, PUBLISHER_RECORDS, Path, Plan, Usage,
    plan_put, row_key, work_needed,
};
use dht_kad::record::{Kind, Retention, Space};
use dht_kad::refusal::FullScope;
use dht_kad::time::{DAY_MS, HOUR_MS};
use dht_kad::{RecordDraft, RecordId, Refusal, UnixMs, ValidRecord};
use proptest::prelude::*;
use samples::{NOW, draft, identity, network, sign};

const STORE: Path = Path::Store { expected_seq: None };

fn no_limits() -> Limits {
    let max = Amount::MAX;
    Limits { publisher: max, key: max, classes: [max; 3], total: max, reserve_percent: 0 }
}

/// Slots and what they hold: as little of a store as follows `plan_put`.
#[derive(Default, PartialEq, Debug)]
struct Held(BTreeMap<RecordId, Existing>);

impl Held {
    fn put(&mut self, record: &ValidRecord, path: Path, now: UnixMs) -> Result<(), Refusal> {
        let held = self.0.get(record.id());
        if let Plan::Write(changes) =
            plan_put(held, record, path, &Usage::default(), &no_limits(), now)?
        {
            self.0.insert(*record.id(), changes.written);
        }
        Ok(())
    }
}

/// Signing is slow beside deciding: records of every combination, signed once.
fn pool() -> &'static [ValidRecord] {
    static POOL: std::sync::OnceLock<Vec<ValidRecord>> = std::sync::OnceLock::new();
    POOL.get_or_init(|| {
        let mut pool = Vec::new();
        for seq in 1..5 {
            for retention in Retention::ALL {
                for hours in [0, 1, 30] {
                    for guard_days in [0, 1, 100] {
                        let created_at = UnixMs(NOW.0 - hours * HOUR_MS);
                        let guard_until = if guard_days == 0 {
                            UnixMs(0)
                        } else {
                            NOW.after(guard_days * DAY_MS)
                        };
                        let value =
                            RecordDraft { seq, retention, created_at, guard_until, ..draft() };
                        let kind = Kind::Tombstone;
                        let deletion = RecordDraft { kind, body: Bytes::new(), ..value.clone() };
                        pool.extend([sign(&value), sign(&deletion)]);
                    }
                }
            }
        }
        let content =
            RecordDraft { space: Space::Content, label: [0; 32], slot: 0, seq: 0, ..draft() };
        for publisher in 1..3 {
            for retention in Retention::ALL {
                let content = RecordDraft { retention, ..content.clone() };
                pool.push(content.sign(&identity(publisher), &network()).unwrap());
            }
        }
        pool
    })
}

fn some_of_the_pool() -> impl Strategy<Value = Vec<&'static ValidRecord>> {
    prop::collection::vec(0..pool().len(), 1..12)
        .prop_map(|chosen| chosen.into_iter().map(|index| &pool()[index]).collect())
}

/// A chain as an honest client signs it: seq and created_at grow, and each version's guard is the
/// latest end of those before it.
fn honest_chain() -> impl Strategy<Value = Vec<ValidRecord>> {
    prop::collection::vec((0..3_usize, any::<bool>(), 1..1000_u64), 1..8).prop_map(|versions| {
        let mut chain: Vec<ValidRecord> = Vec::new();
        let mut created_at = UnixMs(NOW.0 - 10_000);
        for (number, (retention, deletes, later)) in versions.into_iter().enumerate() {
            created_at = created_at.after(later);
            let guard_until =
                chain.iter().map(|version| version.keep_until()).max().unwrap_or_default();
            let retention = Retention::ALL[retention];
            let seq = number as u64 + 1;
            let value = RecordDraft { seq, retention, created_at, guard_until, ..draft() };
            let deletion =
                RecordDraft { kind: Kind::Tombstone, body: Bytes::new(), ..value.clone() };
            chain.push(sign(if deletes { &deletion } else { &value }));
        }
        chain
    })
}

/// Whoever may offer anything could fill a store with what a put would be refused.
#[test]
fn an_offer_is_bound_by_the_room_that_a_put_has() {
    let none = Amount { records: 0, bytes: 0 };
    let tight = Limits { publisher: none, ..Limits::default_for(1 << 30) };
    let record = sign(&draft());
    let by = |path| plan_put(None, &record, path, &Usage::default(), &tight, NOW);
    let full = Err(Refusal::Full { scope: FullScope::Publisher });
    assert_eq!(by(Path::Offered), full);
    assert_eq!(by(STORE), full);
}

/// How many records of one publisher at one key in one class a store takes on top of each other.
fn taken(limits: &Limits, path: Path) -> (u64, Refusal) {
    let record = sign(&draft());
    let bytes = Existing::of(&record).charge.bytes;
    let mut used = Amount::default();
    loop {
        let usage = Usage { publisher: used, key: used, class: used, total: used };
        match plan_put(None, &record, path, &usage, limits, NOW) {
            Ok(_) => used = used.plus(bytes),
            Err(refusal) => return (used.records, refusal),
        }
    }
}

#[test]
fn a_neighbour_fills_twice_a_quota_and_the_reserve_beside_a_class_and_no_more() {
    let bytes = Existing::of(&sign(&draft())).charge.bytes;
    let records = |records| Amount { records, bytes: u64::MAX };
    let in_bytes = |records: u64| Amount { records: u64::MAX, bytes: records * bytes };
    for limit in [records(10), in_bytes(10)] {
        let publisher = Limits { publisher: limit, ..no_limits() };
        let key = Limits { key: limit, ..no_limits() };
        for (limits, scope) in [(publisher, FullScope::Publisher), (key, FullScope::Key)] {
            assert_eq!(taken(&limits, Path::Offered), (10, Refusal::Full { scope }));
            assert_eq!(taken(&limits, Path::Repair), (20, Refusal::Full { scope }));
        }
    }
    let classes = [in_bytes(40); 3];
    let limits = Limits { classes, total: in_bytes(100), reserve_percent: 5, ..no_limits() };
    let full = Refusal::Full { scope: FullScope::Class };
    assert_eq!(taken(&limits, Path::Repair), (45, full), "and no work is asked for");
    assert_eq!(taken(&limits, STORE), (30, Refusal::WorkTooLow { needed: 10 }));
    let limits = Limits { total: in_bytes(42), ..limits };
    assert_eq!(taken(&limits, Path::Repair), (42, Refusal::Full { scope: FullScope::Total }));
}

/// Holders with one quota took different records in a different order; each record was acknowledged
/// by a majority. Whoever comes to hold them all can take them all by repair.
#[test]
fn all_that_majorities_acknowledged_within_their_quotas_fits_by_repair() {
    const HOLDERS: u64 = 20;
    const QUOTA: u64 = 100;
    let mut room = [QUOTA; HOLDERS as usize];
    let mut acknowledged = 0;
    // Those with the most room left acknowledge the next: nothing fits more.
    loop {
        room.sort_unstable_by(|a, b| b.cmp(a));
        let majority = &mut room[..HOLDERS as usize / 2 + 1];
        if majority.contains(&0) {
            break;
        }
        majority.iter_mut().for_each(|left| *left -= 1);
        acknowledged += 1;
    }
    assert!(acknowledged > QUOTA, "more than one of them has room for");
    let limit = Amount { records: QUOTA, bytes: u64::MAX };
    let limits = Limits { publisher: limit, key: limit, ..no_limits() };
    let (fits, _) = taken(&limits, Path::Repair);
    assert!(acknowledged <= fits, "{acknowledged} acknowledged, {fits} fit");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn any_order_through_repair_ends_in_the_same(
        (records, shuffled) in some_of_the_pool().prop_flat_map(|records| {
            (Just(records.clone()), Just(records).prop_shuffle())
        }),
    ) {
        let (mut one, mut other) = (Held::default(), Held::default());
        for record in &records {
            let _expired = one.put(record, Path::Repair, NOW);
        }
        for record in &shuffled {
            let _expired = other.put(record, Path::Offered, NOW);
        }
        prop_assert_eq!(&one, &other);
        for (id, held) in &one.0 {
            let alive = records.iter().filter(|record| record.id() == id && record.keep_until() > NOW);
            let greatest = alive.map(|record| record.precedence()).max();
            prop_assert_eq!(Some(held.precedence), greatest);
        }
    }

    #[test]
    fn an_honest_chain_ends_in_its_last_version_by_whatever_path_and_order(
        (chain, order) in honest_chain().prop_flat_map(|chain| {
            let order: Vec<usize> = (0..chain.len()).collect();
            (Just(chain), Just(order).prop_shuffle())
        }),
        by_repair in any::<u8>(),
    ) {
        let last = chain.last().unwrap();
        let mut held = Held::default();
        for index in order {
            let path = if by_repair >> (index % 8) & 1 == 1 { Path::Repair } else { STORE };
            let told = held.put(&chain[index], path, NOW);
            let as_expected = matches!(told, Ok(()) | Err(Refusal::SeqTooLow { .. }));
            prop_assert!(as_expected, "{told:?}");
        }
        prop_assert_eq!(held.0[last.id()].precedence, last.precedence());
        let mut in_order = Held::default();
        for version in &chain {
            prop_assert_eq!(in_order.put(version, STORE, NOW), Ok(()));
        }
        prop_assert_eq!(in_order, held);
    }

    #[test]
    fn nothing_comes_back_after_a_guarded_delete(
        records in some_of_the_pool(),
        hours in prop::collection::vec(0..400 * 24_u64, 1..10),
    ) {
        let owned: Vec<_> = records.into_iter().filter(|record| record.space() == Space::Owned).collect();
        let guard_until = owned.iter().map(|record| record.keep_until()).max().unwrap_or_default();
        let deletion = RecordDraft { kind: Kind::Tombstone, seq: 9, guard_until, body: Bytes::new(), ..draft() };
        let deletion = sign(&deletion);
        let mut held = Held::default();
        held.put(&deletion, Path::Repair, NOW).unwrap();
        let mut moments: Vec<_> = hours.into_iter().map(|hours| NOW.after(hours * HOUR_MS)).collect();
        moments.sort();
        for now in moments {
            held.0.retain(|_, held| held.precedence.keep_until > now);
            for record in &owned {
                for path in [STORE, Path::Repair, Path::Offered] {
                    let _refused_or_unchanged = held.put(record, path, now);
                    let left: Vec<_> = held.0.values().map(|held| held.precedence).collect();
                    let expected: Vec<_> = if now < deletion.keep_until() { vec![deletion.precedence()] } else { vec![] };
                    prop_assert_eq!(left, expected, "at {:?} by {:?}", now, path);
                }
            }
        }
    }

    #[test]
    fn what_is_admitted_with_less_room_is_admitted_with_more(
        record in 0..pool().len(),
        used in (0..20_u64, 0..20_000_u64),
        limit in (0..20_u64, 0..20_000_u64),
        more in (0..5_u64, 0..5_000_u64),
        which in 0..4_usize,
        path in prop::sample::select(vec![STORE, Path::Repair]),
    ) {
        let used = Amount { records: used.0, bytes: used.1 };
        let usage = Usage { publisher: used, key: used, class: used, total: used };
        let small = Amount { records: limit.0, bytes: limit.1 };
        let large = Amount { records: limit.0 + more.0, bytes: limit.1 + more.1 };
        let limits = |amount| {
            let mut limits = no_limits();
            match which {
                0 => limits.publisher = amount,
                1 => limits.key = amount,
                2 => limits.classes = [amount; 3],
                _ => limits.total = amount,
            }
            limits
        };
        let plan = |amount| plan_put(None, &pool()[record], path, &usage, &limits(amount), NOW);
        if plan(small).is_ok() {
            prop_assert!(plan(large).is_ok());
        }
    }

    #[test]
    fn work_only_rises_as_a_share_fills(
        share in (1..1_000_u64, 1..1_000_000_u64),
        used in (0..1_500_u64, 0..1_500_000_u64),
        more in (0..100_u64, 0..100_000_u64),
    ) {
        let share = Amount { records: share.0, bytes: share.1 };
        let less = Amount { records: used.0, bytes: used.1 };
        let fuller = Amount { records: used.0 + more.0, bytes: used.1 + more.1 };
        prop_assert!(work_needed(less, share) <= work_needed(fuller, share));
        prop_assert!(work_needed(fuller, share) <= dht_kad::record::WORK_BITS_MAX);
        let half = Amount { records: share.records / 2, bytes: share.bytes / 2 };
        prop_assert_eq!(work_needed(half, share), 0);
    }

    #[test]
    fn rows_lie_in_the_order_of_key_publisher_and_slot(
        one in (0..3_u8, 0..3_u8, any::<u64>()),
        other in (0..3_u8, 0..3_u8, any::<u64>()),
    ) {
        let id = |(key, publisher, slot): (u8, u8, u64)| RecordId {
            key: dht_kad::Key([key; 32]),
            publisher: [publisher; 32],
            slot,
        };
        prop_assert_eq!(row_key(&id(one)).cmp(&row_key(&id(other))), one.cmp(&other));
    }
}

#[test]
fn a_full_class_asks_for_the_most_work_and_an_empty_one_for_none() {
    let hundred = Amount { records: 100, bytes: u64::MAX };
    let at = |records| work_needed(Amount { records, bytes: 0 }, hundred);
    assert_eq!([at(0), at(74), at(75), at(100), at(200)], [0, 0, 10, 20, 20]);
    assert_eq!(work_needed(Amount::default(), Amount::default()), 20);
}

/// Of the same version, a head where the body is due again is no reason to say it is stored.
#[test]
fn a_body_that_was_dropped_too_early_is_written_again() {
    let guard_until = NOW.after(30 * DAY_MS);
    let record = sign(&RecordDraft { guard_until, ..draft() });
    let mut held = Held::default();
    held.put(&record, Path::Repair, record.expires_at()).unwrap();
    let head_alone = held.0[record.id()].charge.bytes;
    for path in [STORE, Path::Repair] {
        let mut held = Held(held.0.clone());
        held.put(&record, path, NOW).unwrap();
        assert_eq!(held.0[record.id()], Existing::of(&record));
        assert!(held.0[record.id()].charge.bytes > head_alone);
        held.put(&record.head_only(), Path::Repair, record.expires_at()).unwrap();
        assert_eq!(held.0[record.id()], Existing::of(&record), "a head takes no body away");
    }
}

#[test]
fn a_delete_of_nothing_is_bound_by_quotas_and_a_delete_of_something_is_not() {
    let value = sign(&draft());
    let deletion = RecordDraft { kind: Kind::Tombstone, seq: 6, body: Bytes::new(), ..draft() };
    let deletion = sign(&RecordDraft { ext: Bytes::from(vec![0; 100]), ..deletion });
    let held = Existing::of(&value);
    let one = Amount { records: 1, bytes: held.charge.bytes };
    let usage = Usage { publisher: one, key: one, class: one, total: one };
    let limits = Limits { publisher: one, key: one, classes: [one; 3], ..no_limits() };
    let refused = plan_put(None, &deletion, STORE, &usage, &limits, NOW);
    assert!(matches!(refused, Err(Refusal::Full { .. })), "{refused:?}");
    assert!(plan_put(Some(&held), &deletion, STORE, &usage, &limits, NOW).is_ok());
}

#[test]
fn the_default_limits_follow_the_size_of_the_store() {
    let limits = Limits::default_for(1_000_000_000);
    assert_eq!(limits.publisher, Amount { records: PUBLISHER_RECORDS, bytes: 100_000_000 });
    assert_eq!(limits.key, Amount { records: KEY_RECORDS, bytes: 50_000_000 });
    let shares = CLASS_PERCENT.map(|percent| percent * 10_000_000);
    assert_eq!(limits.classes.map(|class| class.bytes), shares);
    assert_eq!((limits.total.bytes, limits.reserve_percent), (1_000_000_000, 5));
    let huge = Limits::default_for(u64::MAX);
    assert!(huge.classes.iter().all(|class| class.bytes > u64::MAX / 20));
}

#[test]
fn what_has_ended_and_is_not_swept_binds_nobody() {
    let first = sign(&RecordDraft { seq: 9, ..draft() });
    let mut held = Held::default();
    held.put(&first, STORE, NOW).unwrap();
    let now = first.keep_until();
    let anew = sign(&RecordDraft { seq: 1, created_at: now, ..draft() });
    let plan = |expected_seq| {
        let path = Path::Store { expected_seq: Some(expected_seq) };
        plan_put(held.0.get(first.id()), &anew, path, &Usage::default(), &no_limits(), now)
    };
    assert_eq!(plan(9), Err(Refusal::UnexpectedSeq { stored: 0 }));
    let Ok(Plan::Write(changes)) = plan(0) else { panic!("the slot is free again") };
    assert_eq!(changes.replaced, Some(Existing::of(&first)), "its room is released");
}
