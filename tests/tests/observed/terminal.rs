//! `status --watch` at a terminal: under `script` (util-linux), which gives the program one.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};

use dht_tests::programs::{self, DAEMON};
use dht_tests::{Network, NodeProcess, eventually};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// What switches a terminal to its second screen, and back.
const SECOND_SCREEN: &str = "\x1b[?1049h";
const FIRST_SCREEN: &str = "\x1b[?1049l";
/// What makes the cursor visible again.
const CURSOR: &str = "\x1b[?25h";

const USAGE: u8 = 2;
const ADMIN_UNREACHABLE: u8 = 88;
const CTRL_C: &[u8] = b"\x03";

/// The program at a terminal of 80 columns and 24 lines.
struct Watching {
    folder: TempDir,
    child: Child,
    keys: ChildStdin,
    seen: Arc<Mutex<Vec<u8>>>,
}

impl Watching {
    fn start(node: &NodeProcess) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = programs::binary(DAEMON);
        let line = format!(
            "stty rows 24 cols 80; stty -a > before; \
             sh -c 'echo $$ > pid; exec {} status --watch --admin {}'; \
             echo $? > status; stty -a > after",
            program.display(),
            node.addr()
        );
        let mut child = Command::new("script")
            .args(["--quiet", "--return", "--command", &line, "/dev/null"])
            .env("TERM", "xterm")
            .env("SHELL", "/bin/sh")
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("`script` of util-linux is installed");
        let keys = child.stdin.take().unwrap();
        let mut screen = child.stdout.take().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&seen);
        std::thread::spawn(move || {
            let mut some = [0; 4096];
            while let Ok(count @ 1..) = screen.read(&mut some) {
                noted.lock().unwrap().extend_from_slice(&some[..count]);
            }
        });
        Watching { folder, child, keys, seen }
    }

    fn seen(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().unwrap()).into_owned()
    }

    fn await_seen(&self, what: &str) {
        eventually(&format!("«{what}» is drawn"), || self.seen().contains(what).then_some(()));
    }

    fn press(&mut self, keys: &[u8]) {
        self.keys.write_all(keys).unwrap();
        self.keys.flush().unwrap();
    }

    fn file(&self, name: &str) -> String {
        let path: &Path = &self.folder.path().join(name);
        std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Waits for the end, which has to be in order, and checks that the terminal is as it was.
    fn expect_restored(mut self) {
        eventually("it ends", || self.child.try_wait().unwrap());
        assert_eq!(self.file("status"), "0\n", "{}", self.seen());
        assert_eq!(self.file("after"), self.file("before"), "modes of the terminal");
        let seen = self.seen();
        let (drawn, after) = seen.rsplit_once(FIRST_SCREEN).expect("the first screen is back");
        assert!(drawn.contains(SECOND_SCREEN));
        assert!(!after.contains(SECOND_SCREEN) && seen.contains(CURSOR), "{after:?}");
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_node_is_watched_until_q_is_pressed() {
    let net = Network::start(1);
    let mut watching = Watching::start(&net[0]);
    watching.await_seen(&net[0].id().to_string()[..16]);
    watching.await_seen("settled");
    watching.press(b"x");
    watching.press(b"q");
    watching.expect_restored();
}

#[test]
fn ctrl_c_and_a_signal_leave_the_terminal_as_it_was() {
    let net = Network::start(1);
    let mut watching = Watching::start(&net[0]);
    watching.await_seen("settled");
    watching.press(CTRL_C);
    watching.expect_restored();

    let watching = Watching::start(&net[0]);
    watching.await_seen("settled");
    let pid = watching.file("pid").trim().parse().ok().and_then(Pid::from_raw).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    watching.expect_restored();
}

#[test]
fn a_node_that_falls_silent_is_said_to_be_and_q_still_ends_it() {
    let mut net = Network::start(1);
    let mut watching = Watching::start(&net[0]);
    watching.await_seen("settled");
    net.kill_all();
    // On an empty line, so that all of it is drawn; blanks are not, where the screen was blank.
    watching.await_seen(&net[0].addr().to_string());
    watching.press(b"q");
    watching.expect_restored();
}

#[test]
fn without_a_terminal_or_a_node_it_is_an_error_in_one_line() {
    let mut net = Network::start(1);
    let addr = net[0].addr().to_string();
    let watch = || {
        let mut command = Command::new(programs::binary(DAEMON));
        command.args(["status", "--watch", "--admin", &addr]);
        programs::run(&mut command)
    };
    watch().expect_failure(USAGE, "stdout is none");
    net.kill_all();
    let mut watching = Watching::start(&net[0]);
    eventually("it ends", || watching.child.try_wait().unwrap());
    assert_eq!(watching.file("status"), format!("{ADMIN_UNREACHABLE}\n"));
    let seen = watching.seen();
    assert!(seen.contains("does not answer") && !seen.contains(SECOND_SCREEN), "{seen}");
}
