//! Letters
mod chunks;
mod inbox;
mod letter;
mod mailbox;
mod rows;
mod tags;
mod watermark;

use dht_kad::UnixMs;

/// Id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct LetterId { pub contact: [u8; 32], pub tag: u32, pub counter: u64 }
/// L.
pub struct ReceivedLetter { pub id: LetterId, pub arrival: u64, pub sent_at: UnixMs, pub missed: u64, pub payload: Vec<u8> }
