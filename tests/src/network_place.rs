//! [`NetworkPlace`]: a folder with a network's file, its registry's key and its signed list, all made by
//! `dht-bootstrap network`.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::NETWORK;
use crate::programs::{self, DAEMON, Ended};

/// A network as the one who runs it has it.
pub struct NetworkPlace {
    folder: tempfile::TempDir,
}

impl NetworkPlace {
    /// Makes the network file with these further arguments of `network new`.
    #[must_use]
    pub fn new(arguments: &[&str]) -> Self {
        let place = NetworkPlace { folder: tempfile::tempdir().expect("a temporary folder") };
        let made = place.run(&[&["new", NETWORK], arguments].concat());
        assert_eq!(made.status, 0, "{made:?}");
        place
    }

    /// Runs `dht-bootstrap network` with these arguments in the folder.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Ended {
        let mut command = Command::new(programs::binary(DAEMON));
        command.env_clear().current_dir(self.folder.path());
        programs::run(command.arg("network").args(arguments))
    }

    /// Signs a list of these nodes, into the file beside the network file or into another.
    pub fn sign(&self, nodes: &[String], out: &Path) {
        let (key, file) = (self.path("test.key"), self.file());
        let mut arguments = vec!["sign", "--key", text(&key), "--network-file", text(&file)];
        for node in nodes {
            arguments.extend(["--node", node]);
        }
        arguments.extend(["--out", text(out)]);
        let signed = self.run(&arguments);
        assert_eq!(signed.status, 0, "{signed:?}");
    }

    /// The network file.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.path("test.toml")
    }

    /// The signed list beside it, if there is one.
    #[must_use]
    pub fn list(&self) -> PathBuf {
        self.path("test.registry")
    }

    /// Something in the folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A copy of the network file in a folder of its own, without what lies beside it.
    #[must_use]
    pub fn copy(&self, folder: &str) -> PathBuf {
        let copy = self.path(folder).join("test.toml");
        std::fs::create_dir_all(self.path(folder)).expect("a folder");
        std::fs::copy(self.file(), &copy).expect("a copy");
        copy
    }

    /// The line of a node's configuration that names a network file.
    #[must_use]
    pub fn line(file: &Path) -> String {
        format!("network_file = {:?}", text(file))
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}
