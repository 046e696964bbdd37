//! Real nodes on loopback, with their data in temporary directories.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::Instant;

use super::processes::Running;
use crate::ports;

/// The node's log, beside its data.
const LOG: &str = "log";
/// A node that says nothing of itself for so long is stuck.
const STATUS_TIMEOUT: Duration = Duration::from_secs(5);

/// A running `dht-bootstrap`. Its data goes with it.
pub struct Node {
    /// The process.
    pub process: Running,
    /// Where it takes QUIC.
    pub listen: String,
    started: Instant,
    admin: String,
    folder: TempDir,
}

impl Node {
    /// Starts a node that joins by `bootstrap`, or stands alone where that is `None`, without waiting
    /// for anything. Its data is put below `parent`, which decides the disk.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn launch(parent: &Path, bootstrap: Option<&str>) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("dht-bench-")
            .tempdir_in(parent)
            .context("no folder for a node's data can be made; choose another with --dir")?;
        let data = folder.path().join("data").display().to_string();
        let [listen, admin] = [ports::free_address(), ports::free_address()].map(|a| a.to_string());
        let place = bootstrap.map_or(vec!["--solo"], |peer| vec!["--bootstrap", peer]);
        let args = ["run", "--data-dir", &data, "--listen", &listen, "--admin", &admin];
        let log = Stdio::from(fs::File::create(folder.path().join(LOG))?);
        let started = Instant::now();
        let args = [args.as_slice(), &place].concat();
        let process = Running::start("dht-bootstrap", &args, log)?;
        Ok(Node { process, listen, started, admin, folder })
    }

    /// Starts a node, and waits until it is ready.
    ///
    /// # Errors
    /// Where it does not become ready until `deadline`.
    pub fn start(
        parent: &Path,
        bootstrap: Option<&str>,
        deadline: Instant,
    ) -> anyhow::Result<Self> {
        let mut node = Node::launch(parent, bootstrap)?;
        node.ready_after(deadline)?;
        Ok(node)
    }

    /// Waits until it says that it is ready, and says how long after its start that was. Once only.
    ///
    /// # Errors
    /// Where it does not become ready until `deadline`.
    pub fn ready_after(&mut self, deadline: Instant) -> anyhow::Result<Duration> {
        let ready = self.process.ready(deadline).with_context(|| {
            // A log that cannot be read explains nothing either.
            let log = fs::read_to_string(self.folder.path().join(LOG)).unwrap_or_default();
            format!("a node did not become ready; it logged:\n{log}")
        });
        ready.map(|(at, _)| at.duration_since(self.started))
    }

    /// Waits until so many servers are in its table, and says how long after its start that was. It is
    /// asked over and over, as a person would ask: by `dht-bootstrap status`.
    ///
    /// # Errors
    /// Where there are not so many until `deadline`.
    pub fn peers_after(&self, wanted: u64, deadline: Instant) -> anyhow::Result<Duration> {
        loop {
            if self.table().is_some_and(|servers| servers >= wanted) {
                return Ok(self.started.elapsed());
            }
            ensure!(Instant::now() < deadline, "a node has not found {wanted} peers in time");
        }
    }

    /// How many servers its table holds, once it can be asked.
    fn table(&self) -> Option<u64> {
        let args = ["status", "--json", "--admin", &self.admin];
        let mut status = Running::start("dht-bootstrap", &args, Stdio::null()).ok()?;
        let (_, line) = status.line(Instant::now() + STATUS_TIMEOUT).ok()??;
        serde_json::from_str::<Value>(&line).ok()?.get("table")?.as_u64()
    }
}
