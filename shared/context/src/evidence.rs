//! What this node shows of what it holds: the answer to an [`Audit`].
//!
//! Each challenge is one read of the local store, one after the other, so that an audit takes no more
//! of the store at a time than a get does. What the store cannot say at present, and what goes beyond
//! one answer's bytes, is answered [`Evidence::Later`]: never `Nothing`, which would be a confession.

use dht_kad::message::audit::{AUDIT_BYTES_MAX, Challenge, Evidence, proof};
use dht_kad::message::{Audit, AuditResults, PAGE_BYTES, RecordBytes};
use dht_kad::{ParsedRecord, Refusal};

use crate::store::{Fetch, Page, PageQuery};

/// After so many bytes of records others have their turn on this thread: some tenths of a millisecond
/// of hashing.
const TURN_BYTES: usize = 256 * 1024;

/// Shows what a store, read by `find`, holds of what is challenged: one answer a challenge.
pub(crate) async fn gather(
    find: impl Fn(PageQuery) -> Fetch<Result<Page, Refusal>>,
    audit: Audit,
) -> AuditResults {
    let mut evidence = Vec::with_capacity(audit.challenges.len());
    let (mut read, mut head_bytes, mut in_turn) = (0, 0, 0);
    for challenge in audit.challenges {
        if read >= AUDIT_BYTES_MAX || head_bytes >= PAGE_BYTES {
            evidence.push(Evidence::Later);
            continue;
        }
        let page = find(only(&challenge)).wait().await;
        let bytes = page.as_ref().map_or(0, page_bytes);
        read += bytes;
        in_turn += bytes;
        let shown = show(&challenge, page);
        if let Evidence::Holds { head, .. } = &shown {
            head_bytes += head.0.len();
        }
        // The head that goes beyond is dropped, and so are all after it.
        evidence.push(if head_bytes <= PAGE_BYTES { shown } else { Evidence::Later });
        if in_turn >= TURN_BYTES {
            in_turn = 0;
            tokio::task::yield_now().await;
        }
    }
    AuditResults { evidence }
}

fn page_bytes(page: &Page) -> usize {
    page.records.iter().map(bytes::Bytes::len).sum()
}

fn show(challenge: &Challenge, page: Result<Page, Refusal>) -> Evidence {
    let Ok(page) = page else { return Evidence::Later };
    let Some(bytes) = page.records.into_iter().next() else { return Evidence::Nothing };
    match ParsedRecord::parse(bytes) {
        Ok(record) => Evidence::Holds {
            head: RecordBytes(record.head_bytes()),
            proof: proof(&challenge.nonce, record.bytes()),
        },
        // The store vouches for its bytes: this is a fault here, of which it knows.
        Err(_) => Evidence::Later,
    }
}

/// The one record in a slot.
fn only(challenge: &Challenge) -> PageQuery {
    PageQuery {
        publisher: Some(challenge.publisher),
        slots: Some((challenge.slot, challenge.slot)),
        limit: 1,
        ..PageQuery::all(challenge.key)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use dht_kad::message::audit::CHALLENGES_MAX;
    use dht_kad::record::layout::{BODY_MAX, EXT_MAX};
    use dht_kad::record::{Kind, RecordDraft, Retention, Space};
    use dht_kad::{NetworkName, UnixMs, ValidRecord};
    use ed25519_dalek::SigningKey;

    use super::*;

    const NONCE: [u8; 32] = [7; 32];

    fn record(ext: usize, body: usize) -> ValidRecord {
        let network: NetworkName = "here".parse().unwrap();
        let draft = RecordDraft {
            space: Space::Owned,
            kind: Kind::Value,
            retention: Retention::Days7,
            label: [1; 32],
            slot: 5,
            seq: 1,
            created_at: UnixMs(1_800_000_000_000),
            guard_until: UnixMs(0),
            work_bits: 0,
            ext: Bytes::from(vec![2; ext]),
            body: Bytes::from(vec![3; body]),
        };
        draft.sign(&SigningKey::from_bytes(&[4; 32]), &network).unwrap()
    }

    fn of(record: &ValidRecord, count: usize) -> Audit {
        Audit { challenges: vec![Challenge::new(record.id(), NONCE); count] }
    }

    fn holding(bytes: &Bytes) -> Fetch<Result<Page, Refusal>> {
        Fetch::Ready(Ok(Page { records: vec![bytes.clone()], next: None }))
    }

    #[tokio::test]
    async fn a_record_is_shown_by_its_head_and_the_proof_of_what_is_held() {
        let record = record(10, 100);
        for held in [record.bytes().clone(), record.head_bytes()] {
            let find = |query: PageQuery| {
                assert_eq!((query.key, query.limit), (record.id().key, 1));
                assert_eq!(query.publisher, Some(record.id().publisher));
                assert_eq!(query.slots, Some((5, 5)));
                holding(&held)
            };
            let head = RecordBytes(record.head_bytes());
            let expected = Evidence::Holds { head, proof: proof(&NONCE, &held) };
            assert_eq!(gather(find, of(&record, 1)).await.evidence, [expected]);
        }
    }

    #[tokio::test]
    async fn nothing_is_confessed_only_where_nothing_is() {
        let record = record(0, 1);
        let empty = |_| Fetch::Ready(Ok(Page::default()));
        assert_eq!(gather(empty, of(&record, 1)).await.evidence, [Evidence::Nothing]);
        let busy = |_| Fetch::Pending(Box::pin(std::future::ready(Err(Refusal::Busy))));
        assert_eq!(gather(busy, of(&record, 1)).await.evidence, [Evidence::Later]);
        let damaged = |_| holding(&Bytes::from_static(b"no record"));
        assert_eq!(gather(damaged, of(&record, 1)).await.evidence, [Evidence::Later]);
    }

    #[tokio::test]
    async fn what_goes_beyond_one_answer_is_answered_later_and_the_rest_fits_a_frame() {
        for record in [record(EXT_MAX, 1), record(0, BODY_MAX), record(EXT_MAX, BODY_MAX)] {
            let answer = gather(|_| holding(record.bytes()), of(&record, CHALLENGES_MAX)).await;
            let shown = answer.evidence.iter().take_while(|one| **one != Evidence::Later).count();
            let heads = PAGE_BYTES / record.head_bytes().len();
            let records = AUDIT_BYTES_MAX.div_ceil(record.bytes().len());
            assert_eq!((shown, answer.evidence.len()), (heads.min(records), CHALLENGES_MAX));
            assert!(answer.evidence[shown..].iter().all(|one| *one == Evidence::Later));
            let response = dht_kad::message::Response::AuditResults(answer);
            dht_kad::codec::encode_response(&response).unwrap();
        }
    }
}
