//! Names: from a name that people can say to an identity, and back, without anybody who hands them out.
//!
//! ```text
//! claim_name ─▶ work ─▶ claim (slot 0) ─▶ receipts of all holders ─▶ evidence (slot 1) ─▶ reverse entry
//!                          │ all claims of names that read alike, at one key            │ Owned
//!                          ▼                                                            ▼
//! lookup_name ─▶ claims + evidence ─▶ rank: who was first, by the judges ─▶ trust     reverse_names
//!                                                     (what this reader knew before)   (each looked up)
//! ```
//!
//! Anybody may claim any name; nobody decides. A claim is a signed record in a slot of its publisher's
//! own, so nobody can remove or change another's. **Who was first** decides between them, by the moments
//! at which servers accepted the claims, as their signed receipts say: see [`rank`]. A claim lives for
//! 365 days and keeps its place for as long as it is renewed in time.
//!
//! ```no_run
#![doc = include_str!("example.rs")]
//! ```
//!
//! | file | holds |
//! |---|---|
//! | `form` | what a name looks like, what reads like it, what is reserved |
//! | `rules` | work by length, judges, times: what claimants and readers agree on |
//! | `claim`, `evidence`, `reverse` | the three records of a name |
//! | `rank` | whose a name is: a pure function |
//! | `trust` | what a reader remembers |
//! | `read`, `write`, `renewal` | looking up; claiming, renewing and releasing; renewing by itself |
//!
//! # What each can do
//!
//! *A claimant* can write any time into his claim, leave receipts out, copy others', or take them from
//! servers that lie. None of it helps: his own times are not looked at; a receipt counts for exactly the
//! record, network and node that signed it; the moment is that of a majority. He can claim many names,
//! for work each. He cannot take a name back after releasing it: the release has the seq that a renewal
//! would need. He can claim what reads like a name before anybody claims the name itself; then both are
//! his.
//!
//! *A minority of the judges* that works for him can backdate receipts, withhold theirs, or hide records
//! from a reader: the moment stays between those of honest judges, and listings ask a majority.
//!
//! *Who comes late* can make the work, be accepted by everybody, and is still later. He can wait for a
//! lapse: a claim that was not renewed for a year is nobody's. He can bring in servers of his own, see
//! below. He can fill the place of a name that nobody claimed with as many records as a key takes, so
//! that nobody can claim it for as long as they live; the names that are claimed already stay. By making
//! very many claims, for work each, he can make a name unreadable (`Crowded`), but not his.
//!
//! # What is not protected without a registry
//!
//! With [`Judges::Holders`] the judges are the servers closest to the name's place. Whoever runs a
//! majority of them, by making node keys until enough lie close, decides when a claim was made: for new
//! readers, any claim. And where more than a minority of them is replaced between two renewals, the
//! receipts of those that left are worth nothing any more: who was first has no better standing then
//! than who renewed with the new ones first. Each renewal asks every holder, new ones too, which makes that
//! rare and not impossible. Readers that trusted somebody before are told of a change in both cases,
//! and decide. [`Judges::Registry`] does away with both, for those who trust whoever keeps the registry: a
//! client of a network file that names one uses its nodes without being told.
//!
//! Receipts have the clocks of those who sign them. A claim that came less than a second after another
//! is a tie, and shown as one.

mod claim;
mod error;
mod evidence;
mod form;
mod rank;
mod read;
mod renewal;
mod reverse;
mod rules;
mod trust;
#[cfg(test)]
mod vectors;
mod write;

pub use error::NameError;
pub use form::{LOOKALIKES, NAME_CHARS_MAX, NAME_CHARS_MIN, Name, NameFault, RESERVED, Skeleton};
pub use read::{FoundName, ReverseName};
pub use rules::{JUDGES_MAX, Judges, NameRules, NameWork};
pub use write::{ClaimedName, NameProgress};
