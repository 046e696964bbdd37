//! [`Progress`]: what replication remembers across restarts, so that a node that starts again does
//! not begin everything anew.
//!
//! It is an aid and nothing else: what is lost of it is done once more. So a damaged one is dropped.
//!
//! ```text
//! version (1)  when it was whole (8)  salted walk: 0, or 1 and a part   count (4) of: part, fingerprint (16)   check (8)
//! part:        span (1)  period (4)  length of the prefix (1)  its half bytes, two a byte
//! ```
//! Numbers are big-endian; the check is the start of the BLAKE3 hash of all before it.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};
use dht_kad::UnixMs;
use dht_kad::reconcile::{Fingerprint, Group, PREFIX_MAX, Part, Prefix, ROW_KEY_LEN};
use thiserror::Error;

/// The version of the layout.
const VERSION: u8 = 1;
/// Length of the check at the end.
const CHECK_LEN: usize = 8;
/// The most parts that are remembered as offered and confirmed: millions of records, in half a
/// megabyte. What is beyond that is offered again.
const OFFERED_MAX: usize = 16_384;

/// How far replication has come.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Progress {
    whole_at: Option<UnixMs>,
    salted_after: Option<Part>,
    offered: BTreeMap<Part, [u8; 16]>,
    unsaved: bool,
}

/// Saved bytes are not what was saved.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "what replication had remembered cannot be read ({0}); it begins anew, nothing need be done"
)]
pub(crate) struct UnreadableProgress(&'static str);

impl Progress {
    /// When the node was last known to be whole.
    pub(crate) fn whole_at(&self) -> Option<UnixMs> {
        self.whole_at
    }

    /// The node is whole.
    pub(crate) fn note_whole(&mut self, now: UnixMs) {
        self.whole_at = Some(now);
        self.unsaved = true;
    }

    /// The part up to which all was compared under a salt.
    pub(crate) fn salted_after(&self) -> Option<&Part> {
        self.salted_after.as_ref()
    }

    /// The walk that compares under a salt has come to here; `None` begins it anew.
    pub(crate) fn note_salted(&mut self, part: Option<Part>) {
        self.salted_after = part;
        self.unsaved = true;
    }

    /// Whether a part's items, as they are now, were confirmed where they belong.
    pub(crate) fn is_offered(&self, part: &Part, print: &Fingerprint) -> bool {
        self.offered.get(part) == Some(&print.print().hash)
    }

    /// A part's items were confirmed where they belong.
    pub(crate) fn note_offered(&mut self, part: Part, print: &Fingerprint) {
        if self.offered.len() >= OFFERED_MAX && !self.offered.contains_key(&part) {
            // The first ends soonest within its class of lifetime.
            self.offered.pop_first();
        }
        self.unsaved |= self.offered.insert(part, print.print().hash) != Some(print.print().hash);
    }

    /// Forgets the offered parts that `keep` does not name.
    pub(crate) fn retain_offered(&mut self, keep: impl Fn(&Part) -> bool) {
        let before = self.offered.len();
        self.offered.retain(|part, _| keep(part));
        self.unsaved |= self.offered.len() != before;
    }

    /// What is to be saved, if anything has changed since this was asked last.
    pub(crate) fn take_unsaved(&mut self) -> Option<Bytes> {
        std::mem::take(&mut self.unsaved).then(|| self.to_bytes())
    }

    /// Asks for it to be saved again: the last attempt failed.
    pub(crate) fn note_unsaved(&mut self) {
        self.unsaved = true;
    }

    fn to_bytes(&self) -> Bytes {
        let mut bytes = BytesMut::new();
        bytes.put_u8(VERSION);
        bytes.put_u64(self.whole_at.map_or(0, |at| at.0));
        bytes.put_u8(u8::from(self.salted_after.is_some()));
        if let Some(part) = &self.salted_after {
            put_part(&mut bytes, part);
        }
        bytes.put_u32(u32::try_from(self.offered.len()).unwrap_or(u32::MAX));
        for (part, hash) in &self.offered {
            put_part(&mut bytes, part);
            bytes.put_slice(hash);
        }
        let check = check(&bytes);
        bytes.put_slice(&check);
        bytes.freeze()
    }

    /// Reads what was saved; nothing at all is a beginning.
    ///
    /// # Errors
    /// [`UnreadableProgress`].
    pub(crate) fn from_bytes(saved: &[u8]) -> Result<Self, UnreadableProgress> {
        if saved.is_empty() {
            return Ok(Progress::default());
        }
        let Some((mut rest, sum)) = saved.split_last_chunk::<CHECK_LEN>() else {
            return Err(UnreadableProgress("it is too short"));
        };
        if check(rest) != *sum {
            return Err(UnreadableProgress("it is damaged"));
        }
        let rest = &mut rest;
        let cut_off = UnreadableProgress("it is cut off");
        if number(rest, 1) != Some(u32::from(VERSION)) {
            return Err(UnreadableProgress("another version of the program wrote it"));
        }
        let mut progress = Progress::default();
        let whole_at = take::<8>(rest).map(u64::from_be_bytes);
        progress.whole_at = whole_at.filter(|at| *at > 0).map(UnixMs);
        if number(rest, 1) == Some(1) {
            progress.salted_after = part(rest);
        }
        let Some(count) = number(rest, 4) else { return Err(cut_off) };
        for _ in 0..count {
            let (Some(part), Some(hash)) = (part(rest), take::<16>(rest)) else {
                return Err(cut_off);
            };
            progress.offered.insert(part, hash);
        }
        Ok(progress)
    }
}

fn check(bytes: &[u8]) -> [u8; CHECK_LEN] {
    let [a, b, c, d, e, f, g, h, ..] = *blake3::hash(bytes).as_bytes();
    [a, b, c, d, e, f, g, h]
}

fn put_part(bytes: &mut BytesMut, part: &Part) {
    let (span, period) = part.group.into();
    bytes.put_u8(span);
    bytes.put_u32(period);
    bytes.put_u8(u8::try_from(part.prefix.len()).unwrap_or(u8::MAX));
    let (first, _) = part.prefix.rows().into_inner();
    bytes.extend(first.into_iter().take(part.prefix.len().div_ceil(2)));
}

fn part(rest: &mut &[u8]) -> Option<Part> {
    let span = u8::try_from(number(rest, 1)?).ok()?;
    let group = Group::try_from((span, number(rest, 4)?)).ok()?;
    let len = usize::try_from(number(rest, 1)?).ok().filter(|len| *len <= PREFIX_MAX)?;
    let mut row = [0; ROW_KEY_LEN];
    let (packed, after) = rest.split_at_checked(len.div_ceil(2))?;
    for (byte, saved) in row.iter_mut().zip(packed) {
        *byte = *saved;
    }
    *rest = after;
    Some(Part { group, prefix: Prefix::of(&row, len) })
}

fn number(rest: &mut &[u8], len: usize) -> Option<u32> {
    let (number, after) = rest.split_at_checked(len)?;
    *rest = after;
    Some(number.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
}

fn take<const LEN: usize>(rest: &mut &[u8]) -> Option<[u8; LEN]> {
    let (array, after) = rest.split_first_chunk::<LEN>()?;
    *rest = after;
    Some(*array)
}

#[cfg(test)]
mod tests {
    use dht_kad::record::Retention;

    use super::*;

    fn some_part(number: u8, len: usize) -> Part {
        let group = Group { span: Retention::Days7, period: u32::from(number) << 20 | 7 };
        Part { group, prefix: Prefix::of(&[number; ROW_KEY_LEN], len) }
    }

    fn some_progress() -> Progress {
        let mut progress = Progress::default();
        progress.note_salted(Some(some_part(0xab, 5)));
        for (number, len) in [(1, 0), (0x23, 1), (0xff, PREFIX_MAX)] {
            progress.note_offered(some_part(number, len), &Fingerprint::of(&[number; 32]));
        }
        progress
    }

    #[test]
    fn what_was_saved_is_read_back() {
        let mut progress = some_progress();
        let saved = progress.take_unsaved().unwrap();
        assert_eq!(Progress::from_bytes(&saved).unwrap(), progress);
        assert_eq!(progress.take_unsaved(), None, "nothing has changed since");
        let (part, print) = (some_part(0x23, 1), Fingerprint::of(&[0x23; 32]));
        progress.note_offered(part.clone(), &print);
        assert_eq!(progress.take_unsaved(), None, "nor by saying the same again");
        assert!(progress.is_offered(&part, &print));
        assert!(!progress.is_offered(&part, &print.plus(print)), "it changed since");
        assert_eq!(Progress::from_bytes(&[]), Ok(Progress::default()));
    }

    #[test]
    fn what_is_damaged_is_dropped_wherever_the_damage_is() {
        let saved = some_progress().take_unsaved().unwrap();
        for place in 0..saved.len() {
            let mut damaged = saved.to_vec();
            damaged[place] ^= 0x10;
            assert!(Progress::from_bytes(&damaged).is_err(), "byte {place}");
            assert!(place == 0 || Progress::from_bytes(&saved[..place]).is_err(), "cut at {place}");
        }
    }

    #[test]
    fn what_another_version_wrote_is_dropped() {
        let mut saved = some_progress().take_unsaved().unwrap().to_vec();
        saved[0] = VERSION + 1;
        saved.truncate(saved.len() - CHECK_LEN);
        let sum = check(&saved);
        saved.extend(sum);
        let error = Progress::from_bytes(&saved).unwrap_err().to_string();
        assert!(error.contains("another version"), "{error}");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut progress = Progress::default();
        for number in 0..OFFERED_MAX + 10 {
            let row: Vec<u8> = number.to_be_bytes().into_iter().cycle().take(ROW_KEY_LEN).collect();
            let prefix = Prefix::of(&row.try_into().unwrap(), 16);
            let group = Group { span: Retention::Hours8, period: 1 };
            progress.note_offered(Part { group, prefix }, &Fingerprint::of(&[1; 32]));
        }
        assert_eq!(progress.offered.len(), OFFERED_MAX);
    }
}
