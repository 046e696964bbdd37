//! [`NodeProcess`]: one `dht-bootstrap run`, with a folder of its own, that can be killed and started
//! again at the same place.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use dht_kad::NodeId;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::programs::{self, DAEMON, Ended};
use crate::waiting::{self, eventually};
use crate::{NETWORK, ports};

/// How long a node may take to stop in order.
pub const STOP_LIMIT: Duration = Duration::from_secs(10);

/// Lines of a node's log that a failed test shows.
const LOG_TAIL_LINES: usize = 30;

/// How a node starts.
#[derive(Clone, Debug, Default)]
pub struct NodeOptions {
    /// Peers to join by.
    pub bootstrap: Vec<String>,
    /// Whether it may be the only one.
    pub solo: bool,
    /// Lines of its configuration file before the section of the store. A field that stands here is
    /// not written from elsewhere.
    pub top: String,
    /// Lines of the section of the store.
    pub store: String,
    /// A program that becomes the node's process, with its arguments; empty for none.
    pub under: Vec<String>,
    /// Further arguments of `run`.
    pub arguments: Vec<String>,
}

/// A node's process, or the place for one.
#[derive(Debug)]
pub struct NodeProcess {
    folder: PathBuf,
    addr: SocketAddr,
    options: NodeOptions,
    id: Option<NodeId>,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    stdout: Receiver<String>,
}

impl NodeOptions {
    /// A node that may be the only one.
    #[must_use]
    pub fn solo() -> Self {
        NodeOptions { solo: true, ..NodeOptions::default() }
    }

    /// A node that joins by these peers.
    #[must_use]
    pub fn joining(bootstrap: Vec<String>) -> Self {
        NodeOptions { bootstrap, ..NodeOptions::default() }
    }
}

impl NodeProcess {
    /// A place for a node in `folder`, which is made if need be, at a port of its own.
    #[must_use]
    pub fn place(folder: PathBuf, options: NodeOptions) -> Self {
        Self::place_at(folder, ports::free_address(), options)
    }

    /// A place for a node at an address that was picked before.
    #[must_use]
    pub fn place_at(folder: PathBuf, addr: SocketAddr, options: NodeOptions) -> Self {
        std::fs::create_dir_all(&folder).expect("a folder for the node");
        NodeProcess { folder, addr, options, id: None, running: None }
    }

    /// Starts a node and waits until it is ready.
    #[must_use]
    pub fn start(folder: PathBuf, options: NodeOptions) -> Self {
        let mut node = Self::place(folder, options);
        node.spawn();
        node.await_ready();
        node
    }

    /// Starts the process, and waits for nothing.
    pub fn spawn(&mut self) {
        assert!(self.running.is_none(), "the node runs already");
        let log = OpenOptions::new().create(true).append(true).open(self.log_path());
        let mut child = self
            .command()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log.expect("a file for the log"))
            .spawn()
            .unwrap_or_else(|error| panic!("the node cannot be started: {error}"));
        let (sender, stdout) = channel();
        let pipe = BufReader::new(child.stdout.take().expect("a pipe"));
        std::thread::spawn(move || {
            for line in pipe.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        self.running = Some(Running { child, stdout });
    }

    /// Waits for the line by which the node says that it is usable.
    pub fn await_ready(&mut self) {
        let running = self.running.as_ref().expect("the node was started");
        let Ok(line) = running.stdout.recv_timeout(waiting::LIMIT) else {
            panic!("the node ended or was not ready within {:?}\n{}", waiting::LIMIT, self.tail());
        };
        let id = self.named_in(&line).unwrap_or_else(|| panic!("«{line}» is not the ready line"));
        assert!(self.id.is_none_or(|before| before == id), "a node keeps its name");
        self.id = Some(id);
    }

    /// The node that a ready line names, if it is one that also names this place.
    fn named_in(&self, line: &str) -> Option<NodeId> {
        let (id, listen) = line.strip_prefix("ready node=")?.split_once(" listen=")?;
        let here = listen.split(',').any(|addr| addr == self.addr.to_string());
        id.parse().ok().filter(|_| here)
    }

    /// Whether the ready line has come by now. It is then not waited for again.
    pub fn is_ready(&mut self) -> bool {
        let running = self.running.as_ref().expect("the node was started");
        running.stdout.try_recv().is_ok_and(|line| line.starts_with("ready "))
    }

    /// Runs the node's command to its end: for starts that have to fail.
    #[must_use]
    pub fn run_to_end(&self) -> Ended {
        programs::run(&mut self.command())
    }

    /// Kills the process with -9.
    pub fn kill(&mut self) {
        if let Some(mut running) = self.running.take() {
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
    }

    /// Sends a signal and returns the exit status; fails if the node takes longer than allowed.
    pub fn end_by(&mut self, signal: Signal) -> i32 {
        let mut running = self.running.take().expect("the node runs");
        let _ = kill_process(pid_of(&running.child), signal);
        let ended = programs::wait(&mut running.child, STOP_LIMIT);
        let _ = running.child.kill();
        let _ = running.child.wait();
        ended.unwrap_or_else(|| panic!("no stop within {STOP_LIMIT:?}\n{}", self.tail()))
    }

    /// Sends a signal and waits for nothing.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("a signal to a process of the test's own");
    }

    /// Writes its configuration as its options say now, and has it read again.
    pub fn reload(&self) {
        std::fs::write(self.config_path(), self.configuration()).expect("a configuration file");
        self.signal(Signal::HUP);
    }

    /// Stops in order.
    pub fn stop(&mut self) {
        assert_eq!(self.end_by(Signal::TERM), 0, "{}", self.tail());
    }

    /// Kills with -9, starts again and waits until the node is ready.
    pub fn restart(&mut self) {
        self.kill();
        self.spawn();
        self.await_ready();
    }

    /// What it is started with from the next start on.
    pub fn options(&mut self) -> &mut NodeOptions {
        &mut self.options
    }

    /// Whether the process is there.
    pub fn is_running(&mut self) -> bool {
        self.running.as_mut().is_some_and(|running| matches!(running.child.try_wait(), Ok(None)))
    }

    /// Where it listens, for UDP as for its admin address.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its name, which it said when it was ready.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.id.expect("the node was ready once")
    }

    /// How others are told of it: `host:port`.
    #[must_use]
    pub fn peer(&self) -> String {
        self.addr.to_string()
    }

    /// How others are told of it and of nobody else: `NODEID@host:port`.
    #[must_use]
    pub fn pinned(&self) -> String {
        format!("{}@{}", self.id(), self.addr)
    }

    /// The folder of its data.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// The node's own folder: configuration, log and data.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What `dht-bootstrap status --json` says, if the node answers.
    #[must_use]
    pub fn try_status(&self) -> Option<Value> {
        let admin = self.addr.to_string();
        let mut command = Command::new(programs::binary(DAEMON));
        let ended = programs::run(command.args(["status", "--json", "--admin", &admin]));
        (ended.status == 0).then(|| ended.expect_json())
    }

    /// What `dht-bootstrap status --json` says.
    #[must_use]
    pub fn status(&self) -> Value {
        eventually("the node says how it is", || self.try_status())
    }

    /// What it logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// The process.
    #[must_use]
    pub fn pid(&self) -> Pid {
        pid_of(&self.running.as_ref().expect("the node runs").child)
    }

    fn command(&self) -> Command {
        let config = self.config_path();
        std::fs::write(&config, self.configuration()).expect("a configuration file");
        let daemon = programs::binary(DAEMON);
        let mut words = self.options.under.clone();
        words.push(daemon.to_string_lossy().into_owned());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).arg("run").arg("--config").arg(config);
        command.args(&self.options.arguments).env_clear();
        command
    }

    /// A small cache, and a floor of free bytes that no machine these tests run on is below; what
    /// the options say stands in place of it.
    fn configuration(&self) -> String {
        let NodeOptions { bootstrap, solo, top, store, .. } = &self.options;
        let (addr, dir) = (format!("{:?}", self.addr.to_string()), self.data_dir());
        let top_defaults = [
            ("network", format!("{NETWORK:?}")),
            ("data_dir", format!("{dir:?}")),
            ("listen", format!("[{addr}]")),
            ("admin", addr.clone()),
            ("bootstrap", format!("{bootstrap:?}")),
            ("solo", solo.to_string()),
            ("verify_threads", "1".to_owned()),
        ];
        let store_defaults =
            [("cache_bytes", "16777216".to_owned()), ("min_free_bytes", "1048576".to_owned())];
        format!("{}\n[store]\n{}", section(top, &top_defaults), section(store, &store_defaults))
    }

    /// Its configuration file, which each start and each reload writes.
    #[must_use]
    pub fn config_path(&self) -> PathBuf {
        self.folder.join("node.toml")
    }

    fn log_path(&self) -> PathBuf {
        self.folder.join("log")
    }

    fn tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the log of {}\n{}\n---", self.addr, self.tail());
        }
        if let Some(mut running) = self.running.take() {
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
    }
}

fn pid_of(child: &Child) -> Pid {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a process id")
}

/// These lines, and the defaults of fields that they do not give.
fn section(lines: &str, defaults: &[(&str, String)]) -> String {
    let given = |field: &str| lines.lines().any(|line| line.starts_with(&format!("{field} =")));
    let mut section = lines.to_owned();
    for (field, value) in defaults.iter().filter(|(field, _)| !given(field)) {
        section.push_str(&format!("\n{field} = {value}"));
    }
    section
}

/// Copies a folder with all that is in it.
pub fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder for the copy");
    for entry in std::fs::read_dir(from).expect("a folder to copy") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("its type").is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), &target).expect("a copy");
        }
    }
}
