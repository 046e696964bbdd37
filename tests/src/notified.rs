//! [`Notified`]: what a node tells the service manager, read from the socket that stands for one
//! (sd_notify(3)).

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::waiting::eventually;

/// The longest message that is read: a state and a line of words.
const MESSAGE_MAX: usize = 4_096;

/// A socket in the service manager's place. It is read all the time: a full one would hold the node up.
#[derive(Debug)]
pub struct Notified {
    path: PathBuf,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Notified {
    /// A socket in this folder.
    #[must_use]
    pub fn in_folder(folder: &Path) -> Self {
        let path = folder.join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket in a folder of the test's own");
        let lines = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::downgrade(&lines);
        std::thread::spawn(move || {
            let mut buffer = vec![0; MESSAGE_MAX];
            while let Ok(length) = socket.recv(&mut buffer) {
                let Some(lines) = heard.upgrade() else { return };
                let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
                lines.extend(text.lines().map(str::to_owned));
            }
        });
        Notified { path, lines }
    }

    /// The words before a program's own by which it finds this socket, and a watchdog with this limit if
    /// one is given.
    #[must_use]
    pub fn under(&self, watchdog: Option<Duration>) -> Vec<String> {
        let mut words = vec!["env".to_owned(), format!("NOTIFY_SOCKET={}", self.path.display())];
        words.extend(watchdog.map(|limit| format!("WATCHDOG_USEC={}", limit.as_micros())));
        words
    }

    /// Everything that was told so far, line by line.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many of the lines so far begin in this way.
    #[must_use]
    pub fn count(&self, beginning: &str) -> usize {
        self.lines().iter().filter(|line| line.starts_with(beginning)).count()
    }

    /// Waits until so many more lines have come that begin in this way.
    pub fn await_more(&self, count: usize, beginning: &str) {
        let wanted = self.count(beginning) + count;
        let what = format!("{count} more times {beginning}");
        eventually(&what, || (self.count(beginning) >= wanted).then_some(()));
    }

    /// Waits for a line that begins in this way, unless it has come already.
    pub fn await_line(&self, beginning: &str) {
        eventually(beginning, || (self.count(beginning) > 0).then_some(()));
    }
}
