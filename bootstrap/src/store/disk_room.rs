//! How much room the disk has, so that the store refuses records before RocksDB meets a full disk.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often the disk is asked while little is written.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Bytes written after which it is asked in any case.
const LOOK_AFTER_BYTES: usize = 16 << 20;

/// Watches the file system that the store lies on.
#[derive(Debug)]
pub(super) struct DiskRoom {
    dir: PathBuf,
    floor_bytes: u64,
    short: bool,
    written: usize,
    looked_at: Option<Instant>,
}

impl DiskRoom {
    /// Watches `dir`, where less than `floor_bytes` free is too little.
    pub(super) fn new(dir: PathBuf, floor_bytes: u64) -> Self {
        let mut room = DiskRoom { dir, floor_bytes, short: false, written: 0, looked_at: None };
        room.look();
        room
    }

    /// Whether there is too little room for more.
    pub(super) fn is_short(&self) -> bool {
        self.short
    }

    /// Notes that so many bytes were written.
    pub(super) fn written(&mut self, bytes: usize) {
        self.written = self.written.saturating_add(bytes);
        if self.written >= LOOK_AFTER_BYTES {
            self.looked_at = None;
            self.look();
        }
    }

    /// Asks the file system, if it is time to.
    pub(super) fn look(&mut self) {
        if self.looked_at.is_some_and(|at| at.elapsed() < LOOK_EVERY) {
            return;
        }
        self.looked_at = Some(Instant::now());
        self.written = 0;
        let free = match free_bytes(&self.dir) {
            Ok(free) => free,
            Err(error) => {
                tracing::warn!(%error, dir = %self.dir.display(), "cannot see the disk's room");
                return;
            }
        };
        let short = free < self.floor_bytes;
        if short != self.short {
            self.short = short;
            let (free, floor) = (free, self.floor_bytes);
            if short {
                tracing::warn!(
                    free,
                    floor,
                    "the disk has too little room: puts are refused as full"
                );
            } else {
                tracing::info!(free, floor, "the disk has room again: records are taken");
            }
        }
    }
}

/// Bytes that this process may still write to the file system that `dir` lies on.
pub(super) fn free_bytes(dir: &Path) -> rustix::io::Result<u64> {
    let disk = rustix::fs::statvfs(dir)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}
