//! Watching: being told of what is written at some keys, as it is written.
//!
//! ```text
//! asker                                  node
//! Watch{keys, cursor?} ────────────────▶ since the cursor's commit: from its store
//!        ◀─────────────── Watching{cursor, resumed}
//!        ◀─────────────── Changed{records, cursor}, Changed{…}, …   as long as the stream lives
//!        ◀─────────────── a refusal, which ends it
//! ```
//!
//! A cursor says up to which of a node's commits everything was shown. It means something only to the
//! node that gave it, and only while its store is the same one.

use serde::{Deserialize, Serialize};

use super::{PAGE_RECORDS, PublisherKey, RecordBytes};
use crate::bounded;
use crate::id::Key;

/// The most keys of one watch: the mailboxes of some hundreds of contacts, and some 50 KiB of a frame.
pub const WATCH_KEYS_MAX: usize = 1_024;

/// What is watched: one place, and perhaps only one publisher's records there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct WatchKey {
    /// The place of interest.
    pub key: Key,
    /// Only this publisher's records (zeros in the `Content` space); all publishers' if absent.
    pub publisher: Option<PublisherKey>,
}

/// Up to where a node's commits were shown.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Cursor {
    /// Which store: another number where commits are counted anew.
    pub incarnation: u64,
    /// Everything up to this commit, itself included, was shown.
    pub commit_no: u64,
}

/// Tell me of what is written at these keys. A peer's next watch takes the place of this one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Watch {
    /// At most [`WATCH_KEYS_MAX`].
    #[serde(deserialize_with = "bounded::list::<_, _, WATCH_KEYS_MAX>")]
    pub keys: Vec<WatchKey>,
    /// From where to go on, if these keys were watched here before.
    pub cursor: Option<Cursor>,
}

/// One frame of the answer to [`Watch`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Watched {
    /// It begins; or, again and not resumed, what was written since the last frame is not shown.
    Watching {
        /// Up to where nothing more will be shown; the asker's own if it is gone on from there.
        cursor: Cursor,
        /// Whether everything since the asker's cursor is shown. Otherwise it has to read what is
        /// there for itself.
        resumed: bool,
    },
    /// These versions were written.
    Changed {
        /// Records, or heads, in the order of commits; at most [`PAGE_BYTES`](super::PAGE_BYTES)
        /// together. None if only the cursor has moved.
        #[serde(deserialize_with = "bounded::list::<_, _, PAGE_RECORDS>")]
        records: Vec<RecordBytes>,
        /// Up to where everything has been shown with this frame.
        cursor: Cursor,
    },
}
