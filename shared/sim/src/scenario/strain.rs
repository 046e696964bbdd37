//! [`Strain`]: the most that any single node sends within a second.
//!
//! Of the bytes those of puts and gets are left out: they are as many as people like, and one value in
//! fifty is as large as a record may be. Of the requests they are not: whoever announces by puts what
//! it holds sends thousands.

use std::fmt;
use std::time::Duration;

use super::load::Load;
use crate::transport::{Purpose, Sent};
use crate::world::{Failure, World};

/// How long one measurement takes.
const SECOND: Duration = Duration::from_secs(1);

/// Looks every second at what each node has sent.
pub(super) struct Strain {
    before: Vec<Sent>,
    /// The most requests, all purposes together, of one node in one second.
    pub(super) requests: u64,
    /// The most bytes that no user asked for.
    pub(super) bytes: u64,
    /// The most bytes of replication alone.
    pub(super) repair_bytes: u64,
}

impl Strain {
    /// Begins to look now.
    pub(super) fn new(world: &World) -> Self {
        Strain { before: world.network().sent(), requests: 0, bytes: 0, repair_bytes: 0 }
    }

    /// Lets the world live on for so many seconds under load.
    ///
    /// # Errors
    /// As [`Load::live`].
    pub(super) async fn live(
        &mut self,
        world: &mut World,
        load: &mut Load,
        span: Duration,
    ) -> Result<(), Failure> {
        for _ in 0..span.as_secs() {
            load.live(world, SECOND).await?;
            self.look(world);
        }
        Ok(())
    }

    /// Fails if any node has sent more than so much in any second.
    ///
    /// # Errors
    /// [`Failure::Expected`].
    pub(super) fn at_most(&self, requests: u64, bytes: u64) -> Result<(), Failure> {
        if self.requests > requests || self.bytes > bytes {
            let allowed = format!("at most {requests} requests and {bytes} bytes are allowed");
            return Err(Failure::Expected(format!("it stormed: {self}; {allowed}")));
        }
        Ok(())
    }

    fn look(&mut self, world: &World) {
        let now = world.network().sent();
        let none = Sent::default();
        for (place, after) in now.iter().enumerate() {
            let before = self.before.get(place).unwrap_or(&none);
            let since = |of: fn(&Sent) -> u64| of(after) - of(before);
            self.requests = self.requests.max(since(Sent::all_requests));
            self.bytes = self.bytes.max(since(unasked_bytes));
            self.repair_bytes = self.repair_bytes.max(since(repair_bytes));
        }
        self.before = now;
    }
}

impl fmt::Display for Strain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Strain { requests, bytes, repair_bytes, .. } = self;
        write!(
            f,
            "in its worst second a node sent {requests} requests, and {bytes} bytes beside \
             puts and gets; {repair_bytes} bytes of replication in its worst second of that"
        )
    }
}

/// What was sent without a user's asking.
fn unasked_bytes(sent: &Sent) -> u64 {
    sent.all_bytes() - sent.bytes(Purpose::Puts) - sent.bytes(Purpose::Gets)
}

/// What was sent so that copies stay whole.
pub(super) fn repair_bytes(sent: &Sent) -> u64 {
    [Purpose::Compare, Purpose::Copy, Purpose::Offer]
        .map(|purpose| sent.bytes(purpose))
        .iter()
        .sum()
}
