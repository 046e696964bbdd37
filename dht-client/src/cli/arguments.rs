//! How arguments are written: words that several commands share.

use std::time::Duration;

use clap::ValueEnum;
use dht_client::{Consistency, Key, Retention, Slot, Space};

/// The longest time limit: a day.
const TIMEOUT_MAX_SECS: f64 = 86_400.0;

/// Where a value lies, if it is not content.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum OwnedOrTopic {
    /// Under the publisher's own label, where nobody else can write.
    Owned,
    /// Under a topic, where everyone may write.
    Topic,
}

/// Where a value is put.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum AnySpace {
    /// Under the publisher's own label, where nobody else can write.
    Owned,
    /// Under a topic, where everyone may write.
    Topic,
    /// Under the hash of the value; label and slot do not matter.
    Content,
}

/// How long a value is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum RetentionName {
    /// 8 hours.
    #[value(name = "8h")]
    Hours8,
    /// 7 days.
    #[value(name = "7d")]
    Days7,
    /// 365 days.
    #[value(name = "365d")]
    Days365,
}

impl OwnedOrTopic {
    /// The slot that these arguments name.
    pub(crate) fn slot(self, publisher: [u8; 32], label: [u8; 32], slot: u64) -> Slot {
        match self {
            OwnedOrTopic::Owned => Slot::Owned { publisher, label, slot },
            OwnedOrTopic::Topic => Slot::Topic { publisher, label, slot },
        }
    }
}

impl From<OwnedOrTopic> for Space {
    fn from(space: OwnedOrTopic) -> Self {
        match space {
            OwnedOrTopic::Owned => Space::Owned,
            OwnedOrTopic::Topic => Space::Topic,
        }
    }
}

impl From<AnySpace> for Space {
    fn from(space: AnySpace) -> Self {
        match space {
            AnySpace::Owned => Space::Owned,
            AnySpace::Topic => Space::Topic,
            AnySpace::Content => Space::Content,
        }
    }
}

impl From<RetentionName> for Retention {
    fn from(name: RetentionName) -> Self {
        match name {
            RetentionName::Hours8 => Retention::Hours8,
            RetentionName::Days7 => Retention::Days7,
            RetentionName::Days365 => Retention::Days365,
        }
    }
}

/// A publisher: the 64 hex digits of its public key.
pub(crate) fn publisher(text: &str) -> Result<[u8; 32], String> {
    text.parse().map(|Key(bytes)| bytes).map_err(|error| format!("{error}"))
}

/// A consistency by its name.
pub(crate) fn consistency(text: &str) -> Result<Consistency, String> {
    text.parse().map_err(|error| format!("{error}"))
}

/// A time limit in seconds, decimals allowed.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: Option<f64> = text.parse().ok();
    seconds
        .filter(|seconds| *seconds > 0.0 && *seconds <= TIMEOUT_MAX_SECS)
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|limit| !limit.is_zero())
        .ok_or_else(|| format!("«{text}» is not a time limit; give seconds, at most a day"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retentions_are_written_as_the_library_names_them() {
        for retention in Retention::ALL {
            let read = RetentionName::from_str(retention.name(), false).unwrap();
            assert_eq!(Retention::from(read), retention);
        }
    }

    #[test]
    fn time_limits_are_positive_and_finite() {
        assert_eq!(seconds("0.25"), Ok(Duration::from_millis(250)));
        for bad in ["0", "-1", "nan", "inf", "1e9", "1e-30", "ten", ""] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
