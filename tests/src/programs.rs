//! The binaries under test, and running one of them to its end.

use std::fmt;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::waiting;

/// The daemon's name.
pub const DAEMON: &str = "dht-bootstrap";
/// The command line's name.
pub const CLIENT: &str = "dht-client";

/// Bytes of a program's output that a failed test shows.
const SHOWN_BYTES: usize = 400;

/// A program that ended.
pub struct Ended {
    /// Its exit status; 128 and the signal's number if a signal ended it.
    pub status: i32,
    /// What it wrote to stdout.
    pub stdout: Vec<u8>,
    /// What it wrote to stderr.
    pub stderr: String,
}

/// Where a binary of this workspace lies: in the folder that this test was built into.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    let this = std::env::current_exe().expect("a process knows its own file");
    let folders = this.ancestors().skip(1).take(2);
    let found = folders.map(|folder| folder.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| {
        panic!("there is no {name} beside this test; run: cargo build --release --workspace")
    })
}

/// Runs a command to its end, which has to come within the limit.
pub fn run(command: &mut Command) -> Ended {
    run_with_stdin(command, b"")
}

/// Runs a command that is given this on stdin to its end, which has to come within the limit.
pub fn run_with_stdin(command: &mut Command, stdin: &[u8]) -> Ended {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"));
    // Who does not read its stdin may have ended.
    let _ = child.stdin.take().expect("a pipe").write_all(stdin);
    finish(child)
}

/// Runs a command whose stdout nobody reads any more, as in `command | true`, to its end.
pub fn run_unread(command: &mut Command) -> Ended {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let child = command.stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped()).spawn();
    finish(child.unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}")))
}

/// Waits until a child with piped output has ended.
fn finish(mut child: Child) -> Ended {
    let stdout = read_all(child.stdout.take());
    let stderr = read_all(child.stderr.take());
    let status = wait(&mut child, waiting::LIMIT).unwrap_or_else(|| {
        let _ = child.kill();
        number(child.wait().expect("a child of ours"))
    });
    let read = |pipe: JoinHandle<Vec<u8>>| pipe.join().expect("a pipe that is read");
    let stderr = String::from_utf8_lossy(&read(stderr)).into_owned();
    Ended { status, stdout: read(stdout), stderr }
}

/// Reads a pipe as it fills, so that whoever writes never waits for the reader.
fn read_all(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.read_to_end(&mut bytes);
        }
        bytes
    })
}

/// The exit status of a child that ends within `limit`.
pub(crate) fn wait(child: &mut Child, limit: Duration) -> Option<i32> {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("a child of ours") {
            return Some(number(status));
        }
        if started.elapsed() >= limit {
            return None;
        }
        waiting::pause();
    }
}

fn number(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
}

impl Ended {
    /// What a run wrote to stdout that has to have succeeded, and said nothing else.
    #[must_use]
    pub fn expect_stdout(self) -> Vec<u8> {
        assert_eq!((self.status, self.stderr.as_str()), (0, ""), "{self:?}");
        self.stdout
    }

    /// The one JSON object that a run printed which has to have succeeded.
    #[must_use]
    pub fn expect_json(self) -> serde_json::Value {
        serde_json::from_slice(&self.expect_stdout()).expect("one JSON object")
    }

    /// Checks that the run failed with this number, in one sentence on stderr that contains `says`.
    pub fn expect_failure(&self, number: u8, says: &str) {
        assert_eq!(self.status, i32::from(number), "{self:?}");
        assert!(self.stdout.is_empty(), "{self:?}");
        let ending = format!("(error {number})\n");
        let last = self.stderr.lines().last().unwrap_or_default();
        assert!(self.stderr.ends_with(&ending) && last.contains(says), "{says}: {self:?}");
    }
}

impl fmt::Debug for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.stdout[..self.stdout.len().min(SHOWN_BYTES)];
        write!(f, "status {}, stderr {:?}", self.status, self.stderr)?;
        write!(f, ", {} bytes on stdout: {:?}", self.stdout.len(), String::from_utf8_lossy(shown))
    }
}
