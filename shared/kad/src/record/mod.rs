//! Records: the signed items that the network keeps.
//!
//! ```text
//!             sign                       parse                      verify
//! RecordDraft ────▶ canonical bytes ───▶ ParsedRecord ───────────▶ ValidRecord ───▶ stores, answers
//!                   (disk, wire)         right structure,          right body and
//!                                        nothing proven            signature, key and digest known
//! ```
//!
//! A record has one byte form, [`layout`], which is what is signed, hashed, stored and sent. Only a
//! [`ValidRecord`] can be stored. Which of two versions of one slot wins is [`Precedence`], a total
//! order, so that holders converge whatever order things come in.

mod draft;
pub mod layout;
mod parsed;
mod precedence;
mod signer;
mod valid;

pub use draft::{DraftError, DraftWork, RecordDraft, WORK_BITS_MAX};
pub use layout::{Kind, Retention, Space};
pub use parsed::{MalformedRecord, ParsedRecord};
pub use precedence::Precedence;
pub use signer::RecordSigner;
pub use valid::{RecordId, SignatureFault, ValidRecord};
