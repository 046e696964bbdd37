use dht_kad::record::{RecordDraft, Retention, Space};
use ed25519_dalek::SigningKey;

use super::*;
use crate::clock::EPOCH;

const BODY: &[u8] = b"body";
const DAY_MS: u64 = 24 * 3_600_000;

fn identity() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn checker() -> Checker {
    Checker::new("checked".parse().unwrap())
}

fn place() -> Slot {
    Slot::Owned { publisher: identity().verifying_key().to_bytes(), label: [1; 32], slot: 0 }
}

fn version(seq: u64, kind: Kind, body: &'static [u8]) -> ValidRecord {
    let draft = RecordDraft {
        space: Space::Owned,
        kind,
        retention: Retention::Days7,
        label: [1; 32],
        slot: 0,
        seq,
        created_at: EPOCH.after(seq),
        guard_until: UnixMs(0),
        work_bits: 0,
        ext: Bytes::new(),
        body: Bytes::from_static(body),
    };
    draft.sign(&identity(), &checker().network).unwrap()
}

fn acknowledge(checker: &Checker, record: &ValidRecord) {
    let attempt = match record.kind() {
        Kind::Tombstone => checker.tries_to_delete(&place(), EPOCH),
        _ => checker.tries(&place(), BODY, Retention::Days7, EPOCH),
    };
    attempt.acknowledged(record, EPOCH);
}

fn shown(record: &ValidRecord) -> Result<GetReport, GetError> {
    Ok(GetReport { record: record.clone(), holders: 1, answered: 1 })
}

fn verdict(
    checker: &Checker,
    answer: &Result<GetReport, GetError>,
    now: UnixMs,
) -> Result<(), BrokenRule> {
    checker.asks(&place()).answered(answer, now)
}

#[test]
fn what_was_acknowledged_must_be_found_until_its_end_and_not_after() {
    let (checker, record) = (checker(), version(1, Kind::Value, BODY));
    assert_eq!(verdict(&checker, &Err(GetError::NotFound), EPOCH), Ok(()));
    acknowledge(&checker, &record);
    assert_eq!(verdict(&checker, &shown(&record), EPOCH), Ok(()));
    let lost = verdict(&checker, &Err(GetError::NotFound), EPOCH);
    assert!(matches!(lost, Err(BrokenRule::Lost { .. })), "{lost:?}");
    let end = record.expires_at();
    assert_eq!(verdict(&checker, &Err(GetError::NotFound), end), Ok(()));
    let late = verdict(&checker, &shown(&record), end);
    assert!(matches!(late, Err(BrokenRule::ServedExpired { late_ms: 0, .. })), "{late:?}");
}

#[test]
fn neither_an_earlier_version_nor_a_deleted_one_comes_back() {
    let (checker, first) = (checker(), version(1, Kind::Value, BODY));
    let (second, deleted) = (version(2, Kind::Value, BODY), version(3, Kind::Tombstone, b""));
    acknowledge(&checker, &first);
    acknowledge(&checker, &second);
    let stale = verdict(&checker, &shown(&first), EPOCH);
    assert!(matches!(stale, Err(BrokenRule::Stale { acknowledged: 2, .. })), "{stale:?}");
    acknowledge(&checker, &deleted);
    assert_eq!(verdict(&checker, &Err(GetError::Deleted), EPOCH), Ok(()));
    let back = verdict(&checker, &shown(&second), EPOCH);
    assert!(matches!(back, Err(BrokenRule::CameBack { found: 2, .. })), "{back:?}");
}

#[test]
fn what_nobody_tried_to_put_is_forged() {
    let checker = checker();
    acknowledge(&checker, &version(1, Kind::Value, BODY));
    let forged = verdict(&checker, &shown(&version(2, Kind::Value, b"other")), EPOCH);
    assert!(matches!(forged, Err(BrokenRule::Forged { found: 2, .. })), "{forged:?}");
}

#[test]
fn an_attempt_that_was_not_acknowledged_may_be_found_or_not() {
    let (checker, first) = (checker(), version(1, Kind::Value, BODY));
    acknowledge(&checker, &first);
    let second = version(2, Kind::Value, b"second");
    let attempt = checker.tries(&place(), b"second", Retention::Days7, EPOCH);
    for either in [&first, &second] {
        assert_eq!(verdict(&checker, &shown(either), EPOCH), Ok(()));
    }
    attempt.acknowledged(&second, EPOCH);
    assert!(verdict(&checker, &shown(&first), EPOCH).is_err());
}

#[test]
fn a_delete_that_was_not_acknowledged_excuses_that_it_is_deleted_and_nothing_else() {
    let (checker, first) = (checker(), version(1, Kind::Value, BODY));
    acknowledge(&checker, &first);
    let deleted = Err(GetError::Deleted);
    assert!(matches!(verdict(&checker, &deleted, EPOCH), Err(BrokenRule::Lost { .. })));
    drop(checker.tries_to_delete(&place(), EPOCH));
    assert_eq!(verdict(&checker, &deleted, EPOCH), Ok(()));
    let lost = verdict(&checker, &Err(GetError::NotFound), EPOCH);
    assert!(matches!(lost, Err(BrokenRule::Lost { .. })), "{lost:?}");
}

#[test]
fn what_was_written_again_after_a_delete_is_not_deleted() {
    let (checker, first) = (checker(), version(1, Kind::Value, BODY));
    acknowledge(&checker, &first);
    let question = checker.asks(&place());
    acknowledge(&checker, &version(2, Kind::Tombstone, b""));
    assert_eq!(question.answered(&Err(GetError::Deleted), EPOCH), Ok(()));
    let long = version(3, Kind::Value, BODY);
    acknowledge(&checker, &long);
    let lost = verdict(&checker, &Err(GetError::Deleted), EPOCH);
    assert!(matches!(lost, Err(BrokenRule::Lost { .. })), "{lost:?}");
}

#[test]
fn an_acknowledgement_of_something_else_than_was_asked_for_is_noticed() {
    let record = version(1, Kind::Value, BODY);
    let broken = |body: &[u8], retention, began: UnixMs, ended| {
        let checker = checker();
        checker.tries(&place(), body, retention, began).acknowledged(&record, ended);
        checker.seen_broken()
    };
    let (day_before, day_after) = (UnixMs(EPOCH.0 - DAY_MS), EPOCH.after(DAY_MS));
    assert_eq!(broken(BODY, Retention::Days7, EPOCH, EPOCH), None);
    assert_eq!(broken(BODY, Retention::Days7, day_before, EPOCH), None);
    assert_eq!(broken(BODY, Retention::Days7, EPOCH, day_after), None);
    for (body, retention, began, ended) in [
        (BODY, Retention::Days365, EPOCH, EPOCH),
        (b"other", Retention::Days7, EPOCH, EPOCH),
        (BODY, Retention::Days7, day_before, day_before),
        (BODY, Retention::Days7, day_after, day_after),
    ] {
        let seen = broken(body, retention, began, ended);
        assert!(matches!(seen, Some(BrokenRule::NotAsAsked { seq: 1, .. })), "{seen:?}");
    }
}
