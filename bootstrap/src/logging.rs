//! Logs: fields to journald when systemd runs the node, lines to the terminal otherwise.

use std::env;
use std::io::stderr;

use thiserror::Error;
use tracing::Level;
use tracing_subscriber::Registry;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// Systemd sets this for services whose output goes to the journal, to `device:inode` of the stream
/// (systemd.exec(5)). Children inherit it, so it counts only if our own output is that stream.
const JOURNAL_STREAM: &str = "JOURNAL_STREAM";

/// Logs cannot be started.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LoggingError {
    /// Another part of the process logs already.
    #[error("logging was started twice ({0}); start it once")]
    Twice(#[from] TryInitError),
}

/// The least severe of what is logged, which can be changed.
#[derive(Clone, Debug)]
pub struct LogLevel(Handle<Targets, Registry>);

impl LogLevel {
    /// Logs what is at least as severe as `level` from now on.
    pub fn set(&self, level: Level) {
        if let Err(error) = self.0.reload(targets(level)) {
            tracing::error!(%error, "the level of the log is not changed; restart the node");
        }
    }
}

/// Starts to log what is at least as severe as `level`. Libraries below ours log warnings only.
///
/// # Errors
/// [`LoggingError`] if something in this process logs already.
pub fn start(level: Level) -> Result<LogLevel, LoggingError> {
    let (filter, handle) = reload::Layer::new(targets(level));
    let named = env::var(JOURNAL_STREAM).ok();
    let journal = named
        .filter(|stream| is_journal(stream, own_stream()))
        .and_then(|_| tracing_journald::layer().ok());
    let terminal = journal
        .is_none()
        .then(|| tracing_subscriber::fmt::layer().with_writer(stderr).with_ansi(false));
    tracing_subscriber::registry().with(filter).with(journal).with(terminal).try_init()?;
    Ok(LogLevel(handle))
}

fn targets(level: Level) -> Targets {
    let ours = LevelFilter::from_level(level);
    Targets::new()
        .with_default(ours.min(LevelFilter::WARN))
        .with_target("dht_bootstrap", ours)
        .with_target("dht_context", ours)
        .with_target("dht_kad", ours)
}

/// Device and inode of what this process writes its errors to.
fn own_stream() -> Option<(u64, u64)> {
    let stat = rustix::fs::fstat(stderr()).ok()?;
    Some((stat.st_dev, stat.st_ino))
}

fn is_journal(named: &str, own: Option<(u64, u64)>) -> bool {
    let Some((device, inode)) = named.split_once(':') else { return false };
    match (device.parse(), inode.parse()) {
        (Ok(device), Ok(inode)) => own == Some((device, inode)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_stream_is_the_journal() {
        assert!(is_journal("8:12345", Some((8, 12345))));
        for foreign in ["8:12346", "9:12345", "", "8", "x:y"] {
            assert!(!is_journal(foreign, Some((8, 12345))), "{foreign}");
        }
        assert!(!is_journal("8:12345", None));
    }
}
