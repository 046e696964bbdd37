//! [`CommandLine`]: `dht-client` with a folder of its own and nothing of this machine's environment.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::NETWORK;
use crate::programs::{self, CLIENT, Ended};

/// Seconds a command may take: longer than anything it waits for.
const TIMEOUT_SECS: &str = "30";

/// A user at a terminal: an identity, and peers to ask.
#[derive(Debug)]
pub struct CommandLine {
    folder: TempDir,
    peers: Vec<String>,
}

impl CommandLine {
    /// A user who asks these peers first, and has no identity yet.
    #[must_use]
    pub fn new(peers: &[String]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        CommandLine { folder, peers: peers.to_vec() }
    }

    /// A user with an identity, and the publisher that it is known as.
    #[must_use]
    pub fn with_identity(peers: &[String]) -> (Self, String) {
        let user = CommandLine::new(peers);
        let publisher = user.json(&["identity", "new"])["identity"].as_str().map(str::to_owned);
        (user, publisher.expect("a new identity is printed"))
    }

    /// Runs a command to its end.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Ended {
        programs::run(&mut self.command(arguments))
    }

    /// Runs a command that is given this on stdin to its end.
    #[must_use]
    pub fn run_with_stdin(&self, arguments: &[&str], stdin: &[u8]) -> Ended {
        programs::run_with_stdin(&mut self.command(arguments), stdin)
    }

    /// Runs a command that has to succeed, and returns its JSON object.
    #[must_use]
    pub fn json(&self, arguments: &[&str]) -> Value {
        self.run(&[arguments, &["--json"]].concat()).expect_json()
    }

    /// A command of this user's, with which more can be done than run it.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(programs::binary(CLIENT));
        command.env_clear().env("HOME", self.folder.path()).current_dir(self.folder.path());
        command.args(["--network", NETWORK, "--timeout", TIMEOUT_SECS]);
        for peer in &self.peers {
            command.args(["--bootstrap", peer]);
        }
        command.args(arguments);
        command
    }

    /// Asks only these peers from here on.
    pub fn ask(&mut self, peers: &[String]) {
        self.peers = peers.to_vec();
    }

    /// A file in the user's folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}
