//! What strace saw a node do to its log: which bytes were written, and which of them were on stable
//! storage at which moment.
//!
//! RocksDB appends to its log by `write` and makes it durable by `fdatasync`. A trace has a file for
//! each thread, a line for each call: when it began, how long it took, on which file, and its result.
//! From these follows the *synced length* of a log at a moment: the bytes whose writes had ended when
//! the last completed sync of that file began. What lies beyond it, a loss of power may take.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::node_process::NodeProcess;
use crate::waiting::eventually;

/// Where the traces of one run of a node go.
#[derive(Debug)]
pub struct Trace {
    folder: PathBuf,
}

/// One call on a file, in microseconds since the epoch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileCall {
    /// When it began.
    pub began_us: u64,
    /// When it had ended.
    pub ended_us: u64,
    /// On which file.
    pub path: PathBuf,
    /// What it did.
    pub action: Action,
}

/// What a call did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// So many bytes were appended.
    Wrote(u64),
    /// All that was written before is on stable storage.
    Synced,
    /// It failed.
    Failed,
    /// Bytes were written at places of their own: lengths would not tell what is synced.
    WroteElsewhere,
}

impl Trace {
    /// Traces into a folder, which is made.
    ///
    /// Fails, and says what to do, if processes cannot be traced here.
    #[must_use]
    pub fn into_folder(folder: PathBuf) -> Self {
        require();
        std::fs::create_dir_all(&folder).expect("a folder for the trace");
        Trace { folder }
    }

    /// The words before a program's own by which it is traced, and stays the process that was
    /// started. `inject` says what to do to its `fdatasync` calls, as strace(1) writes it; empty for
    /// nothing.
    #[must_use]
    pub fn under(&self, inject: &str) -> Vec<String> {
        let out = self.folder.join("thread").to_string_lossy().into_owned();
        let calls = "trace=write,pwrite64,writev,pwritev,pwritev2,fdatasync,fsync";
        let mut words: Vec<String> =
            ["strace", "-D", "-ff", "-ttt", "-T", "-y", "-s", "0", "-o"].map(str::to_owned).into();
        words.extend([out, "-e".to_owned(), calls.to_owned()]);
        if !inject.is_empty() {
            words.extend(["-e".to_owned(), format!("inject=fdatasync:{inject}")]);
        }
        words
    }

    /// All calls on the logs of the database in this folder, by the moment they began. Waits until
    /// strace has written down how every thread ended.
    #[must_use]
    pub fn log_calls(&self, database: &Path) -> Vec<FileCall> {
        let texts = eventually("strace notes the end of every thread", || {
            let texts: Vec<String> = std::fs::read_dir(&self.folder)
                .expect("the trace's folder")
                .map(|file| std::fs::read_to_string(file.expect("a file").path()))
                .map(|text| text.expect("a trace"))
                .collect();
            let ended = |text: &String| text.trim_end().ends_with("+++");
            (!texts.is_empty() && texts.iter().all(ended)).then_some(texts)
        });
        let mut calls: Vec<FileCall> = texts
            .iter()
            .flat_map(|text| text.lines())
            .filter_map(FileCall::parse)
            .filter(|call| call.path.parent() == Some(database))
            .filter(|call| call.path.extension().is_some_and(|end| end == "log"))
            .collect();
        calls.sort_by_key(|call| call.began_us);
        let appended = calls.iter().all(|call| call.action != Action::WroteElsewhere);
        assert!(appended, "the log is not only appended to; read the new calls in, too");
        calls
    }
}

/// System calls of one thread that strace meddles with while this lives.
#[derive(Debug)]
pub struct Meddling {
    strace: Child,
}

impl Meddling {
    /// Meddles with the calls of a node's thread, which its name tells; the network's has the program's.
    /// `calls` names them as strace(1) does, separated by commas; `how` says what is done to each.
    ///
    /// Fails, and says what to do, if a running process cannot be traced here.
    #[must_use]
    pub fn with(node: &NodeProcess, thread: &str, calls: &str, how: &str) -> Self {
        let tasks = PathBuf::from(format!("/proc/{}/task", node.pid().as_raw_nonzero()));
        let task = eventually("the thread has its name", || {
            let mut tasks =
                std::fs::read_dir(&tasks).ok()?.filter_map(|task| Some(task.ok()?.path()));
            let named = |task: &PathBuf| std::fs::read_to_string(task.join("comm")).ok();
            tasks.find(|task| named(task).is_some_and(|name| name.trim_end() == thread))
        });
        let id = task.file_name().expect("a task's folder is its number").to_owned();
        let mut strace = Command::new("strace");
        strace.args(["-o", "/dev/null", "-e"]).arg(format!("trace={calls}"));
        strace.arg("-e").arg(format!("inject={calls}:{how}")).arg("-p").arg(id);
        let strace = strace.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        let mut meddling = Meddling {
            strace: strace.unwrap_or_else(|error| {
                panic!("strace cannot be run ({error}); run: apt-get install strace")
            }),
        };
        eventually("strace holds the thread", || {
            let ended = meddling.strace.try_wait().ok().flatten();
            assert!(
                ended.is_none(),
                "strace may not attach here (see above); run the test as root, or set \
                 kernel.yama.ptrace_scope to 0, or allow ptrace in the container"
            );
            let status = std::fs::read_to_string(task.join("status")).ok()?;
            let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:"))?;
            (tracer.trim() != "0").then_some(())
        });
        meddling
    }
}

impl Drop for Meddling {
    fn drop(&mut self) {
        // The thread goes on when its tracer is gone.
        let _ = self.strace.kill();
        let _ = self.strace.wait();
    }
}

impl FileCall {
    /// Reads a line such as `1795152327.430167 fdatasync(15</d/db/000012.log>) = 0 <0.000310>`; none
    /// if it is another call, or one that was cut off by the end of the process.
    fn parse(line: &str) -> Option<Self> {
        let (began, rest) = line.split_once(' ')?;
        let (name, rest) = rest.split_once('(')?;
        let (_, rest) = rest.split_once('<')?;
        let (path, rest) = rest.split_once('>')?;
        let (_, result) = rest.rsplit_once(" = ")?;
        let (result, took) = result.rsplit_once('<')?;
        let took = took.strip_suffix('>')?;
        let result: i64 = result.split_whitespace().next()?.parse().ok()?;
        let action = match (name, u64::try_from(result)) {
            ("fdatasync" | "fsync", Ok(0)) => Action::Synced,
            ("write", Ok(bytes)) => Action::Wrote(bytes),
            ("write" | "fdatasync" | "fsync", Err(_)) => Action::Failed,
            _ => Action::WroteElsewhere,
        };
        let began_us = micros(began);
        Some(FileCall { began_us, ended_us: began_us + micros(took), path: path.into(), action })
    }
}

/// How many bytes of a log were on stable storage after these calls.
#[must_use]
pub fn synced_length(calls: &[FileCall], log: &Path) -> u64 {
    let of_log = || calls.iter().filter(|call| call.path == log);
    let last_sync = of_log()
        .filter(|call| call.action == Action::Synced)
        .map(|call| call.began_us)
        .max()
        .unwrap_or(0);
    of_log()
        .filter(|call| call.ended_us <= last_sync)
        .filter_map(|call| match call.action {
            Action::Wrote(bytes) => Some(bytes),
            _ => None,
        })
        .sum()
}

/// The call that made the byte at `offset` of a log durable: the first sync that began after the
/// write which covers it had ended.
#[must_use]
pub fn sync_of<'a>(calls: &'a [FileCall], log: &Path, offset: u64) -> Option<&'a FileCall> {
    let of_log = || calls.iter().filter(|call| call.path == log);
    let mut length = 0;
    let write = of_log().find(|call| {
        if let Action::Wrote(bytes) = call.action {
            length += bytes;
        }
        length > offset
    })?;
    of_log().find(|call| call.action == Action::Synced && call.began_us >= write.ended_us)
}

/// The logs of a database that have any content.
#[must_use]
pub fn logs_of(database: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(database).expect("a database");
    let mut logs: Vec<PathBuf> = files
        .map(|file| file.expect("a file").path())
        .filter(|path| path.extension().is_some_and(|end| end == "log"))
        .filter(|path| path.metadata().is_ok_and(|meta| meta.len() > 0))
        .collect();
    logs.sort();
    logs
}

/// Fails, and says what to do, if processes cannot be traced here: a proof that was not run is none.
pub(crate) fn require() {
    let mut trial = Command::new("strace");
    let trial = trial.args(["-D", "-o", "/dev/null", "true"]).output();
    match trial {
        Err(error) => panic!("strace cannot be run ({error}); run: apt-get install strace"),
        Ok(trial) if !trial.status.success() => panic!(
            "strace may not trace here ({}); allow ptrace, in a container with --cap-add=SYS_PTRACE",
            String::from_utf8_lossy(&trial.stderr).trim()
        ),
        Ok(_) => {}
    }
}

/// Seconds with six decimals, as strace writes them, in microseconds.
fn micros(seconds: &str) -> u64 {
    let (whole, part) = seconds.split_once('.').unwrap_or((seconds, "0"));
    let number = |digits: &str| digits.parse::<u64>().expect("digits");
    number(whole) * 1_000_000 + number(part)
}
