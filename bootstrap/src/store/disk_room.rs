//! How much room the disk has, so that the store refuses records before RocksDB meets a full disk.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often the disk is asked while little is written.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Bytes written after which it is asked in any case.
const LOOK_AFTER_BYTES: usize = 16 << 20;

/// The room on the file system that the store lies on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DiskSpace {
    /// Bytes that this process may still write.
    pub free_bytes: u64,
    /// Bytes in all.
    pub total_bytes: u64,
    /// Bytes free under which nothing more is taken, as configured.
    pub floor_bytes: u64,
}

impl DiskSpace {
    /// The room at `dir` right now.
    pub(super) fn at(dir: &Path, floor_bytes: u64) -> rustix::io::Result<Self> {
        let disk = rustix::fs::statvfs(dir)?;
        Ok(DiskSpace {
            free_bytes: disk.f_bavail.saturating_mul(disk.f_frsize),
            total_bytes: disk.f_blocks.saturating_mul(disk.f_frsize),
            floor_bytes,
        })
    }

    /// Whether there is too little room for more.
    #[must_use]
    pub const fn is_short(&self) -> bool {
        self.free_bytes < self.floor_bytes
    }
}

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
        let space = match DiskSpace::at(&self.dir, self.floor_bytes) {
            Ok(space) => space,
            Err(error) => {
                tracing::warn!(%error, dir = %self.dir.display(), "cannot see the disk's room");
                return;
            }
        };
        let short = space.is_short();
        if short != self.short {
            self.short = short;
            let (free, floor) = (space.free_bytes, space.floor_bytes);
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
