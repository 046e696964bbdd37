//! What a descent finds, and what it does not believe.

use proptest::prelude::*;

use super::*;
use crate::reconcile::{ROW_KEY_LEN, RowKey};
use crate::record::{Precedence, Retention};
use crate::time::UnixMs;

const GROUP: Group = Group { span: Retention::Days7, period: 500_000 };

/// Places that share long prefixes, as the slots of one publisher at one key do.
fn row(number: u32) -> RowKey {
    let mut row = [0; ROW_KEY_LEN];
    row[0] = (number % 3) as u8;
    row[40..44].copy_from_slice(&(number % 7).to_be_bytes());
    row[68..].copy_from_slice(&number.to_be_bytes());
    row
}

fn item(number: u32, version: u8) -> Item {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&number.to_be_bytes()).update(&[version]);
    let digest = *hasher.finalize().as_bytes();
    let version = Precedence { keep_until: UnixMs(0), seq: version.into(), digest };
    Item { row: row(number), version }
}

fn sorted(mut items: Vec<Item>) -> Vec<Item> {
    items.sort_unstable();
    items
}

fn under(items: &[Item], prefix: &Prefix) -> Vec<Item> {
    items.iter().filter(|item| prefix.covers_row(&item.row)).copied().collect()
}

/// Runs a whole descent; says what the asker lacks, what the other lacks, and in how many
/// questions that was found.
fn compare(ours: &[Item], theirs: &[Item]) -> (BTreeSet<u64>, u64, usize) {
    let mut descent = Descent::default();
    let whole = Part { group: GROUP, prefix: Prefix::all() };
    descent.add(whole, fingerprint_of(ours).print());
    let (mut lacked, mut questions) = (BTreeSet::new(), 0);
    while !descent.is_done() {
        questions += 1;
        let asked = descent.batch();
        let answer = |ask: &PartAsk| answer_from_items(ask, &under(theirs, &ask.part.prefix));
        let answers = asked.iter().map(answer).collect();
        for (ask, finding) in asked.iter().zip(findings(&asked, answers).unwrap()) {
            match finding {
                Finding::Same => {}
                Finding::Later => panic!("nothing is put off here"),
                Finding::Listed(shorts) => {
                    let (shorts, there) = lacking(shorts, &under(ours, &ask.part.prefix));
                    lacked.extend(shorts);
                    descent.note_lacked_there(there);
                }
                Finding::Divided { children, .. } => {
                    let print = |(part, _): &(Part, Print)| {
                        fingerprint_of(&under(ours, &part.prefix)).print()
                    };
                    let ours: Vec<_> = children.iter().map(print).collect();
                    descent.compare(ask, children, &ours);
                }
            }
        }
    }
    (lacked, descent.lacked_there(), questions)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_descent_finds_exactly_what_differs(
        both in 0..3_000_u32, here in 0..80_u32, there in 0..1_500_u32, changed in 0..20_u32,
    ) {
        let shared = (0..both).map(|number| item(number, 1));
        let changed = changed.min(both);
        let ours = shared.clone().chain((10_000..10_000 + here).map(|number| item(number, 1)));
        let theirs = shared
            .map(|it| it.version.seq)
            .enumerate()
            .map(|(number, _)| {
                let number = number as u32;
                item(number, if number < changed { 2 } else { 1 })
            })
            .chain((20_000..20_000 + there).map(|number| item(number, 1)));
        let (ours, theirs) = (sorted(ours.collect()), sorted(theirs.collect()));
        let own: BTreeSet<u64> = ours.iter().map(Item::short).collect();
        let others: BTreeSet<u64> = theirs.iter().map(Item::short).collect();
        let (lacked, lacked_there, questions) = compare(&ours, &theirs);
        prop_assert_eq!(lacked, others.difference(&own).copied().collect());
        prop_assert_eq!(lacked_there, own.difference(&others).count() as u64);
        prop_assert!(questions < 20, "{}", questions);
    }

    #[test]
    fn batches_hold_a_request_s_worth_each_and_lose_nothing(
        lengths in prop::collection::vec(0..700_usize, 0..12),
    ) {
        let part = |number: usize| Part { group: GROUP, prefix: Prefix::all().child(number as u8) };
        let wanted: Vec<_> = lengths
            .iter()
            .enumerate()
            .map(|(number, len)| Wanted { part: part(number), shorts: (0..*len as u64).collect() })
            .collect();
        let pairs = |wanted: &[Wanted]| -> Vec<(Part, u64)> {
            let all = wanted.iter();
            all.flat_map(|it| it.shorts.iter().map(|short| (it.part.clone(), *short))).collect()
        };
        let batches = batches(wanted.clone());
        let full = |batch: &Vec<Wanted>| pairs(batch).len() == PAGE_RECORDS;
        prop_assert!(batches.iter().rev().skip(1).all(full));
        prop_assert!(batches.iter().all(|batch| (1..=PAGE_RECORDS).contains(&pairs(batch).len())));
        prop_assert_eq!(batches.iter().flat_map(|batch| pairs(batch)).collect::<Vec<_>>(), pairs(&wanted));
    }
}

fn asked(count: u64) -> PartAsk {
    let prefix = Prefix::of(&row(0), 2);
    PartAsk { part: Part { group: GROUP, prefix }, print: Print { count, hash: [1; 16] } }
}

fn divided(at: Prefix, children: &[(u8, u64)]) -> PartAnswer {
    let print = |count| Print { count, hash: [2; 16] };
    let children = children.iter().map(|(half_byte, count)| (*half_byte, print(*count)));
    PartAnswer::Children { at, children: children.collect() }
}

#[test]
fn answers_that_no_honest_holder_gives_are_told() {
    let ask = asked(100);
    let at = ask.part.prefix.clone();
    let elsewhere = Prefix::of_key(&crate::Key([0xff; 32]), 2);
    let good = divided(at.clone(), &[(0, 1), (15, 2)]);
    assert!(findings(std::slice::from_ref(&ask), vec![good.clone()]).is_ok());
    let bad = [
        divided(elsewhere, &[(0, 1)]),
        divided(at.shortened(1), &[(0, 1)]),
        divided(Prefix::of(&row(0), PREFIX_MAX), &[(0, 1)]),
        divided(at.clone(), &[]),
        divided(at.clone(), &[(16, 1)]),
        divided(at.clone(), &[(1, 1), (1, 1)]),
        divided(at.clone(), &[(2, 1), (1, 1)]),
        divided(at, &[(0, 0)]),
        PartAnswer::Items(vec![1]),
        PartAnswer::Later,
    ];
    for answer in bad {
        let found = findings(std::slice::from_ref(&ask), vec![answer.clone()]);
        assert_eq!(found, Err(Nonsense), "{answer:?}");
    }
    assert_eq!(findings(std::slice::from_ref(&ask), vec![]), Err(Nonsense));
    assert_eq!(findings(&[ask], vec![good.clone(), good]), Err(Nonsense));
}

#[test]
fn a_list_is_as_long_as_the_asker_s_count_allows_and_no_longer() {
    for (count, longest) in [(0, LIST_MAX), (1, LEAF_MAX), (LEAF_MAX as u64, LEAF_MAX)] {
        for (len, fits) in [(0, true), (longest, true), (longest + 1, false)] {
            let list = PartAnswer::Items(vec![7; len]);
            assert_eq!(findings(&[asked(count)], vec![list]).is_ok(), fits, "{count}: {len}");
        }
    }
    assert!(findings(&[asked(1_000)], vec![PartAnswer::Items(vec![])]).is_ok());
}

#[test]
fn groups_are_compared_by_their_prints_and_must_be_in_order() {
    let group = |period| Group { span: Retention::Days7, period };
    let print = |number: u8| Fingerprint::of(&[number; 32]);
    let sent = |period, number| GroupPrint { group: group(period), print: print(number).print() };
    let cut = Cut([0, 10, 0]);
    let ours = [(group(10), print(1)), (group(11), print(2)), (group(13), print(3))];
    let theirs = [sent(10, 1), sent(11, 9), sent(12, 5)];
    let found = differing_groups(&cut, &ours, &theirs);
    assert_eq!(found, Ok((vec![group(11), group(12)], 1)));
    let empty = GroupPrint { group: group(10), print: Fingerprint::default().print() };
    for wrong in [vec![sent(9, 1)], vec![sent(12, 1), sent(11, 1)], vec![empty]] {
        assert_eq!(differing_groups(&cut, &ours, &wrong), Err(Nonsense));
    }
}

#[test]
fn what_was_made_last_is_compared_first_and_kept_when_there_is_too_much() {
    let part = |span, ends_at: u64, low: u32| {
        let mut row = [0; ROW_KEY_LEN];
        row[..4].copy_from_slice(&low.to_be_bytes());
        let period = u32::try_from(ends_at / period_ms(span)).unwrap();
        Part { group: Group { span, period }, prefix: Prefix::of(&row, 8) }
    };
    let now = 1_800_000_000_000;
    let (week, year) = (Retention::Days7, Retention::Days365);
    let fresh = part(year, now + year.lifetime_ms(), 0);
    let old = part(week, now + week.lifetime_ms() / 2, 0);
    let older = part(year, now + year.lifetime_ms() / 2, 0);
    let mut descent = Descent::default();
    let print = Print { count: 1, hash: [0; 16] };
    for part in [&older, &fresh, &old] {
        descent.add(part.clone(), print);
    }
    let order: Vec<Part> = descent.batch().into_iter().map(|ask| ask.part).collect();
    assert_eq!(order, [fresh.clone(), old, older.clone()]);
    descent.add(older.clone(), print);
    for low in 0..PENDING_MAX as u32 {
        descent.add(part(year, now + year.lifetime_ms(), low), print);
    }
    let mut left = 0;
    while !descent.is_done() {
        let batch = descent.batch();
        assert!(batch.len() <= PARTS_MAX && batch.iter().all(|ask| ask.part != older));
        left += batch.len();
    }
    assert_eq!(left, PENDING_MAX);
}
