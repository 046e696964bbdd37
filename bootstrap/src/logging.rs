//! Logs: fields to journald when systemd runs the node, lines to the terminal otherwise.

use std::env;

use thiserror::Error;
use tracing::Level;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// Systemd sets this for services whose output goes to the journal (systemd.exec(5)).
const JOURNAL_STREAM: &str = "JOURNAL_STREAM";

/// Logs cannot be started.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LoggingError {
    /// Another part of the process logs already.
    #[error("logging was started twice ({0}); start it once")]
    Twice(#[from] TryInitError),
}

/// Starts to log what is at least as severe as `level`. Libraries below ours log warnings only.
///
/// # Errors
/// [`LoggingError`] if something in this process logs already.
pub fn start(level: Level) -> Result<(), LoggingError> {
    let ours = LevelFilter::from_level(level);
    let filter = Targets::new()
        .with_default(ours.min(LevelFilter::WARN))
        .with_target("dht_bootstrap", ours)
        .with_target("dht_context", ours)
        .with_target("dht_kad", ours);
    let journal = env::var_os(JOURNAL_STREAM).and_then(|_| tracing_journald::layer().ok());
    let terminal = journal
        .is_none()
        .then(|| tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false));
    tracing_subscriber::registry().with(filter).with(journal).with(terminal).try_init()?;
    Ok(())
}
