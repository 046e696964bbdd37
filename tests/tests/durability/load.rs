//! Puts from several writers at once, each with the moment at which it was acknowledged.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use dht_kad::ValidRecord;
use dht_tests::User;

/// A put that was acknowledged.
pub(crate) struct Acknowledged {
    pub(crate) record: ValidRecord,
    /// By the clock that strace goes by, too.
    pub(crate) at_us: u64,
}

/// The wall clock, in microseconds.
pub(crate) fn now_us() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since_epoch.as_micros()).unwrap()
}

/// Puts values until one is not acknowledged, or `count` were.
pub(crate) fn put_until_refused(user: &User, label: &str, count: u64) -> Vec<Acknowledged> {
    let mut acknowledged = Vec::new();
    for slot in 0..count {
        match user.try_put(user.first(label, slot, "a small value")) {
            Ok(report) => {
                acknowledged.push(Acknowledged { record: report.record, at_us: now_us() });
            }
            Err(_) => break,
        }
    }
    acknowledged
}

/// In which log a record was written, and at which of its bytes the record's signature ends.
pub(crate) fn place_in_logs(logs: &[PathBuf], record: &ValidRecord) -> Option<(PathBuf, u64)> {
    let signature = record.signature();
    logs.iter().find_map(|log| {
        let bytes = std::fs::read(log).unwrap();
        let at = bytes.windows(signature.len()).position(|window| window == signature)?;
        Some((log.clone(), u64::try_from(at + signature.len() - 1).unwrap()))
    })
}

/// The database in a data directory.
pub(crate) fn database(data_dir: &Path) -> PathBuf {
    data_dir.join("db")
}
