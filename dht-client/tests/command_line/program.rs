//! Running the program.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

/// The program with a folder of its own and nothing of this machine's environment.
pub(crate) struct Program {
    folder: tempfile::TempDir,
    globals: Vec<String>,
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Program {
    pub(crate) fn new(globals: &[&str]) -> Self {
        let globals = globals.iter().map(ToString::to_string).collect();
        Program { folder: tempfile::tempdir().unwrap(), globals }
    }

    /// A file in the program's folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        self.run_with_stdin(arguments, b"")
    }

    pub(crate) fn run_with_stdin(&self, arguments: &[&str], stdin: &[u8]) -> Ended {
        let mut child = self.start(arguments);
        // A program that refuses its arguments does not read.
        let _ = child.stdin.take().unwrap().write_all(stdin);
        let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(stderr).unwrap();
        Ended { status: status.code().unwrap(), stdout, stderr }
    }

    /// Starts a run that goes on beside others.
    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        Command::new(env!("CARGO_BIN_EXE_dht-client"))
            .args(&self.globals)
            .args(arguments)
            .env_clear()
            .env("HOME", self.folder.path())
            .current_dir(self.folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Runs a command that has to succeed, and returns its JSON object.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let arguments = [&["--json"], arguments].concat();
        self.run(&arguments).expect_json()
    }
}

impl Ended {
    /// The bytes on stdout of a run that has to have succeeded, and said nothing else.
    pub(crate) fn expect_stdout(self) -> Vec<u8> {
        assert_eq!((self.status, self.stderr.as_str()), (0, ""));
        self.stdout
    }

    pub(crate) fn expect_json(self) -> Value {
        let stdout = self.expect_stdout();
        assert_eq!(stdout.iter().filter(|byte| **byte == b'\n').count(), 1, "one line");
        serde_json::from_slice(&stdout).unwrap()
    }

    /// Checks that the run failed with this number, one sentence on stderr and nothing on stdout.
    pub(crate) fn expect_failure(&self, number: i32, says: &str) {
        assert_eq!(self.status, number, "{self:?}");
        assert!(self.stdout.is_empty(), "{self:?}");
        let ending = format!(" (error {number})\n");
        let sentence = self
            .stderr
            .strip_prefix("dht-client: ")
            .and_then(|said| said.strip_suffix(&ending))
            .unwrap_or_else(|| panic!("{self:?}"));
        assert!(!sentence.contains('\n'), "{sentence}");
        assert!(sentence.contains(says), "{sentence}");
    }
}
