//! The daemon's configuration: a file and flags, checked once into a [`Config`] that is right.
//!
//! ```text
//! file (TOML) ─▶ ConfigFile ─┐
//!                            ├─▶ check ─▶ Config, or the one thing to correct
//! command line ─▶ RunFlags ──┘
//! ```
//!
//! A flag stands in place of the file's field of the same name, lists included. What neither gives
//! has the default that [`ConfigFile`] documents. Unknown fields are errors.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;
use dht_context::network_file::{NetworkFile, NetworkFileError};
use dht_context::peer_address::PeerAddress;
use dht_context::toml_file::{self, TomlFileError};
use dht_kad::{ErrorNumber, NetworkName};
use serde::Deserialize;
use thiserror::Error;

mod check;

use self::check::Origin;

/// The data directory unless configured.
pub const DATA_DIR: &str = "/var/lib/dht-bootstrap";
/// Where the node listens unless configured; an IPv6 socket that also takes IPv4.
pub const LISTEN: &str = "[::]:4400";
/// Where status and metrics are served unless configured.
pub const ADMIN: &str = "127.0.0.1:4401";
/// Bytes of records unless configured: fits the smallest disk that a VPS is sold with.
pub const MAX_BYTES: u64 = 20 << 30;

/// The largest configuration file that is read, in KiB.
const FILE_KIB_MAX: u64 = 1_024;

/// The file's fields, in TOML. All may be left out.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigFile {
    /// The network's name, 1 to 64 of `a-z`, `0-9` and `-`; default `main`. Nodes of different
    /// networks never talk to each other, and a data directory belongs to one network for good.
    pub network: Option<String>,
    /// The file that defines the network: its name, seeds, names in the DNS, registry key; default none.
    /// Its name stands in place of the default one, and has to be that of `network` if both are given. A
    /// name without a folder lies beside the configuration.
    pub network_file: Option<PathBuf>,
    /// The name server that is asked for hosts and TXT records, `ip:port`; default those that the system
    /// is configured with. For networks whose names only their own server knows.
    pub dns_server: Option<String>,
    /// Where identity and records are kept; default `/var/lib/dht-bootstrap`. One process at a time.
    pub data_dir: Option<PathBuf>,
    /// UDP addresses to listen on, `ip:port`; default `["[::]:4400"]`. Port 0 lets the system
    /// choose, which others then cannot know in advance.
    pub listen: Option<Vec<String>>,
    /// Peers to join by, `host:port` or `NODEID@host:port`; default none. With a node id nobody else
    /// is accepted there.
    pub bootstrap: Option<Vec<String>>,
    /// `server` stores and answers, `client` only asks, `auto` becomes a server once others proved
    /// that it can be reached; default `server`.
    pub mode: Option<String>,
    /// TCP address of status, readiness and metrics, `ip:port`; default `127.0.0.1:4401`. It has no
    /// password, so only loopback is taken unless `admin_public` is set.
    pub admin: Option<String>,
    /// Whether `admin` may be an address that other machines reach; default `false`. Whoever reaches
    /// it reads the node's statistics.
    pub admin_public: Option<bool>,
    /// Whether the node is ready without having joined anyone; default `false`. For the first node of
    /// a network, and for trying things out.
    pub solo: Option<bool>,
    /// The least severe of what is logged: `error`, `warn`, `info`, `debug` or `trace`; default
    /// `info`. `debug` writes some lines a request.
    pub log: Option<String>,
    /// Threads that check signatures; default half the cores, at least 1. Each checks some 30,000
    /// records a second.
    pub verify_threads: Option<usize>,
    /// Bytes a second that repair may move between this node and the others, both ways together;
    /// default 8 MiB, at least 64 KiB. Less leaves more for puts and gets, and fills a new node more
    /// slowly: 100 GB take three and a half hours at the default.
    pub repair_bytes_per_sec: Option<u64>,
    /// The store's fields.
    #[serde(default)]
    pub store: StoreFile,
}

/// The fields of the section `[store]`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreFile {
    /// Bytes of records, index and counters; default 20 GiB. A full store refuses puts as `Full`
    /// and never drops what it promised. The disk needs half as much again for compactions.
    pub max_bytes: Option<u64>,
    /// Bytes of memory for the store's cache and what is not in tables yet; default 192 MiB. Less
    /// makes reads go to the disk more often.
    pub cache_bytes: Option<usize>,
    /// Free bytes on the disk under which puts are refused as `Full`; default 512 MiB. Less risks a
    /// full disk, on which nothing can be written at all.
    pub min_free_bytes: Option<u64>,
}

/// The flags of `dht-bootstrap run`. Each stands in place of the file's field of its name.
#[derive(Clone, PartialEq, Eq, Debug, Default, Args)]
pub struct RunFlags {
    /// Read the configuration from this file
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Keep identity and records in this directory
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Listen on this UDP address; may be given several times
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Vec<String>,
    /// Join by this peer, host:port or NODEID@host:port; may be given several times
    #[arg(long, value_name = "PEER")]
    pub bootstrap: Vec<String>,
    /// The network's name
    #[arg(long, value_name = "NAME")]
    pub network: Option<String>,
    /// Take the network's name, seeds, DNS names and registry from this file
    #[arg(long, value_name = "FILE")]
    pub network_file: Option<PathBuf>,
    /// Ask this name server instead of the system's
    #[arg(long, value_name = "ADDR:PORT")]
    pub dns_server: Option<String>,
    /// server, client or auto
    #[arg(long, value_name = "MODE")]
    pub mode: Option<String>,
    /// Serve status and metrics on this TCP address
    #[arg(long, value_name = "ADDR:PORT")]
    pub admin: Option<String>,
    /// Be ready without having joined anyone
    #[arg(long)]
    pub solo: bool,
    /// Move at most so many bytes a second for repair
    #[arg(long, value_name = "BYTES")]
    pub repair_bytes_per_sec: Option<u64>,
}

/// What the daemon runs with. Each field was checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// The network.
    pub network: NetworkName,
    /// What defines the network, and the file that does.
    pub network_file: Option<(PathBuf, NetworkFile)>,
    /// The name server to ask instead of the system's.
    pub dns_server: Option<SocketAddr>,
    /// Where identity and records are kept.
    pub data_dir: PathBuf,
    /// UDP addresses to listen on; at least one.
    pub listen: Vec<SocketAddr>,
    /// Peers to join by.
    pub bootstrap: Vec<PeerAddress>,
    /// Server, client, or whichever turns out.
    pub mode: RunMode,
    /// TCP address of status and metrics.
    pub admin: SocketAddr,
    /// Whether the node is ready without having joined anyone.
    pub solo: bool,
    /// The least severe of what is logged.
    pub log: tracing::Level,
    /// Threads that check signatures; at least one.
    pub verify_threads: usize,
    /// Bytes a second that repair may move.
    pub repair_bytes_per_sec: u64,
    /// The store's part.
    pub store: StoreSettings,
}

/// The store's part of a [`Config`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StoreSettings {
    /// Bytes of records, index and counters.
    pub max_bytes: u64,
    /// Bytes of memory for cache and memtables.
    pub cache_bytes: usize,
    /// Free bytes on the disk under which puts are refused.
    pub min_free_bytes: u64,
}

/// How the node takes part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RunMode {
    /// Stores and answers.
    Server,
    /// Only asks.
    Client,
    /// A server once others proved that it can be reached.
    Auto,
}

/// A configuration cannot be used.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read, or is not what it should be.
    #[error(transparent)]
    File(#[from] TomlFileError),
    /// The network file cannot be used.
    #[error(transparent)]
    NetworkFile(#[from] NetworkFileError),
    /// A value cannot be used.
    #[error("{place}: {reason}")]
    Unusable {
        /// The flag, or the field and its file.
        place: String,
        /// What is wrong, and what to do.
        reason: String,
    },
}

impl ConfigError {
    /// The error's number.
    #[must_use]
    pub fn number(&self) -> ErrorNumber {
        ErrorNumber::BadConfig
    }
}

impl Config {
    /// Reads the file, if the flags name one, and checks both together.
    ///
    /// # Errors
    /// [`ConfigError`] names the first thing to correct.
    pub fn load(flags: &RunFlags) -> Result<Self, ConfigError> {
        let file = match &flags.config {
            Some(path) => ConfigFile::read(path)?,
            None => ConfigFile::default(),
        };
        Config::check(flags, file)
    }

    /// Checks flags and a file's fields together.
    ///
    /// # Errors
    /// [`ConfigError::Unusable`] names the first value to correct.
    pub fn check(flags: &RunFlags, file: ConfigFile) -> Result<Self, ConfigError> {
        let from = Origin { file: flags.config.as_deref() };
        let data_dir = flags.data_dir.clone().or(file.data_dir);
        let listen = from.list(&flags.listen, file.listen, "listen")?;
        let admin_public = file.admin_public.unwrap_or(false);
        let network_file = from.network_file(flags.network_file.as_ref(), file.network_file)?;
        Ok(Config {
            network: from.network(flags.network.as_ref(), file.network, network_file.as_ref())?,
            network_file,
            dns_server: from.dns_server(flags.dns_server.as_ref(), file.dns_server)?,
            data_dir: data_dir.unwrap_or_else(|| DATA_DIR.into()),
            listen: from.listen(listen)?,
            bootstrap: from.list(&flags.bootstrap, file.bootstrap, "bootstrap")?.1,
            mode: from.one(flags.mode.as_ref(), file.mode, "mode", "server")?,
            admin: from.admin(flags.admin.as_ref(), file.admin, admin_public)?,
            solo: flags.solo || file.solo.unwrap_or(false),
            log: from.log(file.log.as_deref())?,
            verify_threads: from.verify_threads(file.verify_threads)?,
            repair_bytes_per_sec: from
                .repair_bytes_per_sec(flags.repair_bytes_per_sec, file.repair_bytes_per_sec)?,
            store: from.store(&file.store)?,
        })
    }
}

impl ConfigFile {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ConfigError::File`].
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = toml_file::read("the configuration", path, FILE_KIB_MAX)?;
        ConfigFile::parse(&text, path)
    }

    /// Reads a file's text; `path` is for the error.
    ///
    /// # Errors
    /// [`ConfigError::File`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        Ok(toml_file::parse(text, path)?)
    }
}

impl FromStr for RunMode {
    type Err = ParseRunModeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "server" => Ok(RunMode::Server),
            "client" => Ok(RunMode::Client),
            "auto" => Ok(RunMode::Auto),
            other => Err(ParseRunModeError(other.to_owned())),
        }
    }
}

/// A text is not a mode.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("«{0}» is not a mode; write server, client or auto")]
pub struct ParseRunModeError(String);

#[cfg(test)]
mod tests;
