//! The checks of each value, and the sentence that says which one to correct.

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use dht_context::config::{DEFAULT_NETWORK, REPAIR_BYTES_PER_SEC};
use dht_context::network_file::NetworkFile;
use dht_kad::NetworkName;

use super::{ADMIN, ConfigError, LISTEN, MAX_BYTES, StoreFile, StoreSettings};
use crate::store::{CACHE_BYTES, MIN_FREE_BYTES};

/// The least bytes of records that make sense: 16 commits of the largest size.
const MAX_BYTES_LEAST: u64 = 16 << 20;
/// The least bytes of cache with which the store works at all well.
const CACHE_BYTES_LEAST: usize = 16 << 20;
/// The most addresses to listen on, and the most peers to name: more is a mistake.
const LIST_MAX: usize = 64;
/// The most verify threads: more than any machine this runs on has cores.
const VERIFY_THREADS_MAX: usize = 64;
/// The least bytes a second with which repair gets on at all: an answer with records in two seconds.
const REPAIR_BYTES_LEAST: u64 = 64 << 10;
/// Where values come from, for what an error says.
pub(super) struct Origin<'a> {
    pub(super) file: Option<&'a Path>,
}

impl Origin<'_> {
    /// A value of the file, or of the flag in its place.
    pub(super) fn one<T: FromStr<Err: Display>>(
        &self,
        flag: Option<&String>,
        file: Option<String>,
        field: &str,
        default: &str,
    ) -> Result<T, ConfigError> {
        let place = self.place(flag.is_some(), field);
        let text = flag.cloned().or(file).unwrap_or_else(|| default.to_owned());
        text.parse().map_err(|error: T::Err| unusable(place, error.to_string()))
    }

    /// What the network file says, if there is one: the flag's, or the one of the configuration, whose path
    /// is told from the folder in which that lies.
    pub(super) fn network_file(
        &self,
        flag: Option<&PathBuf>,
        field: Option<PathBuf>,
    ) -> Result<Option<(PathBuf, NetworkFile)>, ConfigError> {
        let folder = self.file.and_then(Path::parent).unwrap_or(Path::new(""));
        let Some(path) = flag.cloned().or(field.map(|path| folder.join(path))) else {
            return Ok(None);
        };
        let file = NetworkFile::read(&path)?;
        Ok(Some((path, file)))
    }

    /// The network's name, by name or by its file; if both are given they have to agree.
    pub(super) fn network(
        &self,
        flag: Option<&String>,
        file: Option<String>,
        network_file: Option<&(PathBuf, NetworkFile)>,
    ) -> Result<NetworkName, ConfigError> {
        let place = self.place(flag.is_some(), "network");
        let default =
            network_file.map_or(DEFAULT_NETWORK, |(_, network)| network.name.as_str()).to_owned();
        let name: NetworkName = self.one(flag, file, "network", &default)?;
        match network_file {
            Some((path, network)) if network.name != name => {
                let path = path.display();
                let reason = format!(
                    "«{name}» is not «{}», the network of {path}; give the same, or leave it out",
                    network.name
                );
                Err(unusable(place, reason))
            }
            _ => Ok(name),
        }
    }

    pub(super) fn dns_server(
        &self,
        flag: Option<&String>,
        file: Option<String>,
    ) -> Result<Option<SocketAddr>, ConfigError> {
        let name = if flag.is_some() { "dns-server" } else { "dns_server" };
        let place = self.place(flag.is_some(), name);
        let Some(text) = flag.cloned().or(file) else { return Ok(None) };
        match text.parse::<SocketAddr>() {
            Ok(addr) if addr.port() != 0 => Ok(Some(addr)),
            _ => {
                let reason =
                    format!("«{text}» is no name server; write ip:port, like 192.0.2.1:53");
                Err(unusable(place, reason))
            }
        }
    }

    /// A list of the file, or of the flags in its place; and where it came from.
    pub(super) fn list<T: FromStr<Err: Display> + PartialEq>(
        &self,
        flags: &[String],
        file: Option<Vec<String>>,
        field: &str,
    ) -> Result<(Option<String>, Vec<T>), ConfigError> {
        let place = self.place(!flags.is_empty(), field);
        let texts = match (flags.is_empty(), file) {
            (false, _) => flags.to_vec(),
            (true, Some(texts)) => texts,
            (true, None) => return Ok((None, Vec::new())),
        };
        if texts.len() > LIST_MAX {
            return Err(unusable(place, format!("more than {LIST_MAX} entries; give fewer")));
        }
        let mut list = Vec::with_capacity(texts.len());
        for text in &texts {
            let wrong = |reason: String| unusable(place.clone(), reason);
            let entry =
                text.parse().map_err(|error: T::Err| wrong(format!("«{text}»: {error}")))?;
            if list.contains(&entry) {
                return Err(wrong(format!("«{text}» is named twice; remove one")));
            }
            list.push(entry);
        }
        Ok((Some(place), list))
    }

    pub(super) fn listen(
        &self,
        (place, addrs): (Option<String>, Vec<SocketAddr>),
    ) -> Result<Vec<SocketAddr>, ConfigError> {
        match place {
            Some(place) if addrs.is_empty() => {
                Err(unusable(place, "the list is empty; name at least one ip:port".to_owned()))
            }
            Some(_) => Ok(addrs),
            None => self.one(None, None, "listen", LISTEN).map(|addr| vec![addr]),
        }
    }

    pub(super) fn admin(
        &self,
        flag: Option<&String>,
        file: Option<String>,
        public: bool,
    ) -> Result<SocketAddr, ConfigError> {
        let place = self.place(flag.is_some(), "admin");
        let admin: SocketAddr = self.one(flag, file, "admin", ADMIN)?;
        if admin.ip().is_loopback() || public {
            return Ok(admin);
        }
        let reason =
            format!("{admin} is not a loopback address; use 127.0.0.1, or set admin_public");
        Err(unusable(place, reason))
    }

    pub(super) fn log(&self, file: Option<&str>) -> Result<tracing::Level, ConfigError> {
        match file {
            None | Some("info") => Ok(tracing::Level::INFO),
            Some("error") => Ok(tracing::Level::ERROR),
            Some("warn") => Ok(tracing::Level::WARN),
            Some("debug") => Ok(tracing::Level::DEBUG),
            Some("trace") => Ok(tracing::Level::TRACE),
            Some(other) => {
                let reason =
                    format!("«{other}» is no level; write error, warn, info, debug or trace");
                Err(unusable(self.place(false, "log"), reason))
            }
        }
    }

    pub(super) fn verify_threads(&self, file: Option<usize>) -> Result<usize, ConfigError> {
        match file {
            None => {
                Ok(std::thread::available_parallelism().map_or(1, |cores| cores.get() / 2).max(1))
            }
            Some(threads @ 1..=VERIFY_THREADS_MAX) => Ok(threads),
            Some(other) => {
                let reason = format!("{other} threads cannot be; give 1 to {VERIFY_THREADS_MAX}");
                Err(unusable(self.place(false, "verify_threads"), reason))
            }
        }
    }

    pub(super) fn repair_bytes_per_sec(
        &self,
        flag: Option<u64>,
        file: Option<u64>,
    ) -> Result<u64, ConfigError> {
        let bytes = flag.or(file).unwrap_or(REPAIR_BYTES_PER_SEC);
        if bytes < REPAIR_BYTES_LEAST {
            let reason = format!("too small; give at least {REPAIR_BYTES_LEAST} bytes a second");
            let field =
                if flag.is_some() { "repair-bytes-per-sec" } else { "repair_bytes_per_sec" };
            return Err(unusable(self.place(flag.is_some(), field), reason));
        }
        Ok(bytes)
    }

    pub(super) fn store(&self, file: &StoreFile) -> Result<StoreSettings, ConfigError> {
        let settings = StoreSettings {
            max_bytes: file.max_bytes.unwrap_or(MAX_BYTES),
            cache_bytes: file.cache_bytes.unwrap_or(CACHE_BYTES),
            min_free_bytes: file.min_free_bytes.unwrap_or(MIN_FREE_BYTES),
        };
        let too_small = |field, least: u64| {
            Err(unusable(
                self.place(false, field),
                format!("too small; give at least {least} bytes"),
            ))
        };
        if settings.max_bytes < MAX_BYTES_LEAST {
            return too_small("store.max_bytes", MAX_BYTES_LEAST);
        }
        if settings.cache_bytes < CACHE_BYTES_LEAST {
            return too_small("store.cache_bytes", CACHE_BYTES_LEAST as u64);
        }
        Ok(settings)
    }

    fn place(&self, is_flag: bool, field: &str) -> String {
        match (is_flag, self.file) {
            (true, _) => format!("--{field}"),
            (false, Some(file)) => format!("{field} in {}", file.display()),
            (false, None) => field.to_owned(),
        }
    }
}

fn unusable(place: String, reason: String) -> ConfigError {
    ConfigError::Unusable { place, reason }
}
