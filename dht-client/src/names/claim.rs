//! [`Claim`]: one identity's word that a name is its own, as it lies in the network.
//!
//! ```text
//! Topic, label = derive(NameLabel, skeleton), publisher = the identity, 365 days
//!   slot 0: the claim       version: u8 = 1 ‖ the name; with the work that its length asks for
//!   slot 1: its evidence    see evidence.rs
//! ```
//!
//! The **generations** of a claim are the versions of slot 0: each renewal has the seq of the one before
//! plus one, exactly. A release is a tombstone, and takes at least that seq: so what follows a release,
//! in a store that has it, can never be passed off as the next generation of what came before.

use bytes::Bytes;
use dht_kad::record::{Kind, RecordDraft, Retention, Space};
use dht_kad::{NetworkName, UnixMs, ValidRecord};

use super::form::{Name, Skeleton};
use super::rules::NameWork;
use crate::derivation::{Purpose, derive};

/// The publisher's slot that a claim lies in.
pub(crate) const CLAIM_SLOT: u64 = 0;
/// The publisher's slot that its evidence lies in.
pub(crate) const EVIDENCE_SLOT: u64 = 1;

/// The version of a claim's body.
const VERSION: u8 = 1;

/// A claim that shows the work asked for: what it says is what its publisher signed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Claim {
    record: ValidRecord,
    name: Name,
}

/// The label that the claims of all names with this skeleton lie under.
pub(crate) fn name_label(network: &NetworkName, skeleton: &Skeleton) -> [u8; 32] {
    *derive(Purpose::NameLabel, Some(network), &[skeleton.as_str().as_bytes()])
}

impl Claim {
    /// The claim that a record is, if it is one: in its place, of its form, and with enough work.
    pub(crate) fn of(record: &ValidRecord, network: &NetworkName, work: &NameWork) -> Option<Self> {
        let placed = record.space() == Space::Topic
            && record.kind() == Kind::Value
            && record.retention() == Retention::Days365
            && record.slot() == CLAIM_SLOT;
        let name = decode(&record.body()?)?;
        let fits = placed
            && *record.label() == name_label(network, &name.skeleton())
            && record.work_bits() >= work.bits(&name);
        fits.then(|| Claim { record: record.clone(), name })
    }

    /// What is claimed.
    #[must_use]
    pub(crate) fn name(&self) -> &Name {
        &self.name
    }

    /// Who claims it.
    #[must_use]
    pub(crate) fn identity(&self) -> &[u8; 32] {
        self.record.publisher()
    }

    /// The record that says so.
    #[must_use]
    pub(crate) fn record(&self) -> &ValidRecord {
        &self.record
    }
}

/// What to sign to claim a name, or to renew the claim, over `newest`, which is what lies in the slot.
pub(crate) fn draft(
    name: &Name,
    newest: Option<&ValidRecord>,
    network: &NetworkName,
    work: &NameWork,
    now: UnixMs,
) -> RecordDraft {
    let body = [&[VERSION], name.as_str().as_bytes()].concat();
    RecordDraft {
        space: Space::Topic,
        kind: Kind::Value,
        retention: Retention::Days365,
        label: name_label(network, &name.skeleton()),
        slot: CLAIM_SLOT,
        seq: newest.map_or(0, |record| record.seq()).saturating_add(1),
        created_at: newest.map_or(now, |record| now.max(record.created_at().after(1))),
        guard_until: newest.map_or(UnixMs(0), |record| record.keep_until()),
        work_bits: work.bits(name),
        ext: Bytes::new(),
        body: Bytes::from(body),
    }
}

fn decode(body: &[u8]) -> Option<Name> {
    let (version, text) = body.split_first()?;
    let text = str::from_utf8(text).ok()?;
    let name: Name = text.parse().ok()?;
    // One form alone is signed: the lowered one.
    (*version == VERSION && name.as_str() == text).then_some(name)
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;

    use super::*;

    fn signed(change: impl FnOnce(&mut RecordDraft)) -> ValidRecord {
        let network: NetworkName = "test".parse().unwrap();
        let name = "alice.b".parse().unwrap();
        let mut draft = draft(&name, None, &network, &NameWork::uniform(4), UnixMs(1_000));
        change(&mut draft);
        draft.sign(&SigningKey::from_bytes(&[1; 32]), &network).unwrap()
    }

    #[test]
    fn a_claim_is_one_only_in_its_place_and_form_and_with_its_work() {
        let of = |record: &ValidRecord| {
            Claim::of(record, &"test".parse().unwrap(), &NameWork::uniform(4))
        };
        let claim = of(&signed(|_| ())).unwrap();
        assert_eq!(claim.name().as_str(), "alice.b");
        assert_eq!(claim.identity(), claim.record().publisher());
        let refused: [fn(&mut RecordDraft); 9] = [
            |draft| draft.space = Space::Owned,
            |draft| draft.slot = EVIDENCE_SLOT,
            |draft| draft.retention = Retention::Days7,
            |draft| draft.label = [7; 32],
            |draft| draft.work_bits = 0,
            |draft| draft.body = Bytes::from_static(b"\x02alice.b"),
            |draft| draft.body = Bytes::from_static(b"\x01Alice.b"),
            |draft| draft.body = Bytes::from_static(b"\x01alice.c"),
            |draft| draft.body = Bytes::new(),
        ];
        for (number, change) in refused.into_iter().enumerate() {
            assert_eq!(of(&signed(change)), None, "{number}");
        }
        let other_form = signed(|draft| draft.body = Bytes::from_static(b"\x01al1ceb"));
        assert_eq!(
            of(&other_form).unwrap().name().as_str(),
            "al1ceb",
            "names of one skeleton meet"
        );
        assert_eq!(of(&claim.record().head_only()), None);
    }

    #[test]
    fn a_renewal_supersedes_and_follows_exactly() {
        let network: NetworkName = "test".parse().unwrap();
        let first = signed(|_| ());
        let next = draft(
            &"alice.b".parse().unwrap(),
            Some(&first),
            &network,
            &NameWork::uniform(0),
            UnixMs(5),
        );
        assert_eq!(next.seq, first.seq() + 1);
        assert!(next.created_at > first.created_at(), "whatever this machine's clock says");
        assert_eq!(next.guard_until, first.keep_until());
    }
}
