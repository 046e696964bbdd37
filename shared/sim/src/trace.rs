//! [`Trace`]: a running hash over all that happened, in its order.
//!
//! Two runs with one trace delivered the same frames to the same nodes at the same moments. That is
//! what makes a seed a full description of a fault.

use std::time::Duration;

/// What happened on the network so far.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    hasher: blake3::Hasher,
    events: u64,
}

/// One thing that happened.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// When, since the run began.
    pub at: Duration,
    /// The sending host's number, if it has one.
    pub from: Option<u32>,
    /// The receiving host's number, if it has one.
    pub to: Option<u32>,
    /// What it was.
    pub kind: u8,
    /// What was carried; empty if nothing was.
    pub frame: &'a [u8],
}

impl Trace {
    /// Adds an event.
    pub fn note(&mut self, event: &Event<'_>) {
        let at_us = u64::try_from(event.at.as_micros()).unwrap_or(u64::MAX);
        let mut head = [0; 25];
        let number = |host: Option<u32>| host.unwrap_or(u32::MAX).to_be_bytes();
        let fields = at_us.to_be_bytes().into_iter().chain(number(event.from));
        let fields = fields.chain(number(event.to)).chain([event.kind]);
        let fields = fields.chain((event.frame.len() as u64).to_be_bytes());
        for (place, byte) in head.iter_mut().zip(fields) {
            *place = byte;
        }
        self.hasher.update(&head).update(event.frame);
        self.events += 1;
    }

    /// How many events there were.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }

    /// 64 hex digits that stand for all of them.
    #[must_use]
    pub fn digest(&self) -> String {
        self.hasher.finalize().to_hex().to_string()
    }
}
