//! [`Pace`]: how fast this node asks other holders.

use std::time::Duration;

/// How fast this node asks other holders.
#[derive(Debug, Default)]
pub(crate) struct Pace;

impl Pace {
    /// Waits until another request may be made.
    pub(crate) async fn before_request(&self) {}

    /// Takes note of what a request used.
    pub(crate) fn used(&self, _bytes: usize, _took: Duration) {}
}
