//! Real nodes on loopback, with their data in temporary directories.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::Instant;

use super::processes::Running;

/// A running `dht-bootstrap`. Its data goes with it.
pub struct Node {
    /// The process.
    pub process: Running,
    /// Where it takes QUIC.
    pub listen: String,
    /// From its start until it said that it is ready.
    pub ready_after: Duration,
    started: Instant,
    admin: String,
    _folder: TempDir,
}

impl Node {
    /// Starts a node that joins by `bootstrap`, or stands alone where that is `None`, and waits until
    /// it says that it is ready. Its data is put below `parent`, which decides the disk.
    ///
    /// # Errors
    /// Where it does not become ready until `deadline`.
    pub fn start(
        parent: &Path,
        bootstrap: Option<&str>,
        deadline: Instant,
    ) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("dht-bench-")
            .tempdir_in(parent)
            .context("no folder for a node's data can be made; choose another with --dir")?;
        let data = folder.path().join("data").display().to_string();
        let admin = format!("127.0.0.1:{}", free_port()?);
        let place = bootstrap.map_or(vec!["--solo"], |peer| vec!["--bootstrap", peer]);
        let args = ["run", "--data-dir", &data, "--listen", "127.0.0.1:0", "--admin", &admin];
        let log = folder.path().join("log");
        let started = Instant::now();
        let mut process = Running::start(
            "dht-bootstrap",
            &[args.as_slice(), &place].concat(),
            Stdio::from(fs::File::create(&log)?),
        )?;
        let listen = process.ready(deadline).with_context(|| {
            // What is not there to be read cannot explain anything either.
            format!(
                "a node did not start; it logged: {}",
                fs::read_to_string(&log).unwrap_or_default()
            )
        })?;
        let ready_after = started.elapsed();
        Ok(Node { process, listen, ready_after, started, admin, _folder: folder })
    }

    /// Waits until so many servers are in its table, and says how long after its start that was. It is
    /// asked over and over, as a person would ask: by `dht-bootstrap status`.
    ///
    /// # Errors
    /// Where there are not so many until `deadline`.
    pub fn peers_after(&self, wanted: u64, deadline: Instant) -> anyhow::Result<Duration> {
        loop {
            let args = ["status", "--json", "--admin", &self.admin];
            let mut status = Running::start("dht-bootstrap", &args, Stdio::inherit())?;
            let line = status.line(deadline)?.context("a node's status is empty")?;
            let told: Value = serde_json::from_str(&line)?;
            if told.get("table").and_then(Value::as_u64).unwrap_or(0) >= wanted {
                return Ok(self.started.elapsed());
            }
            anyhow::ensure!(
                Instant::now() < deadline,
                "a node has not found {wanted} peers in time"
            );
        }
    }
}

/// A TCP port that nobody has. Should somebody take it first, then the node says so.
fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
