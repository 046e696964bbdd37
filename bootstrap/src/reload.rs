//! What changes while the node runs, when its configuration is read again (SIGHUP).
//!
//! ```text
//! file and flags ─▶ Config::load ─▶ compared with what runs ─▶ log, repair_bytes_per_sec, bootstrap: changed now
//!        │ wrong                                            └▶ anything else: named, and left for a restart
//!        └─▶ one warning, nothing changes
//! ```

use dht_context::DhtContext;

use crate::config::{Config, ConfigError, RunFlags, StoreSettings};
use crate::logging::LogLevel;

/// A running node's configuration, and what it takes to change it.
pub struct Reload {
    flags: RunFlags,
    running: Config,
    level: LogLevel,
    context: DhtContext,
}

impl Reload {
    /// For a node that was started with this configuration, which these flags led to.
    #[must_use]
    pub fn new(flags: RunFlags, running: Config, level: LogLevel, context: DhtContext) -> Self {
        Reload { flags, running, level, context }
    }

    /// Reads the configuration again, and changes what can be changed; says in the log what was, what was
    /// not, and why.
    pub fn reload(&mut self) {
        match self.try_reload() {
            Ok(()) => {}
            Err(error) => tracing::warn!(%error, "the configuration is not changed"),
        }
    }

    fn try_reload(&mut self) -> Result<(), ConfigError> {
        let wanted = Config::load(&self.flags)?;
        let mut changed = Vec::new();
        if wanted.log != self.running.log {
            self.level.set(wanted.log);
            self.running.log = wanted.log;
            changed.push("log");
        }
        if wanted.repair_bytes_per_sec != self.running.repair_bytes_per_sec {
            self.context.set_repair_bytes_per_sec(wanted.repair_bytes_per_sec);
            self.running.repair_bytes_per_sec = wanted.repair_bytes_per_sec;
            changed.push("repair_bytes_per_sec");
        }
        if wanted.bootstrap != self.running.bootstrap {
            // The check of the configuration and the context allow equally many.
            match self.context.set_bootstrap(wanted.bootstrap.clone()) {
                Ok(()) => {
                    self.running.bootstrap.clone_from(&wanted.bootstrap);
                    changed.push("bootstrap");
                }
                Err(error) => tracing::warn!(%error, "the bootstrap peers are not changed"),
            }
        }
        let restart = fixed_that_differ(&self.running, &wanted);
        if restart.is_empty() {
            tracing::info!(changed = changed.join(", "), "the configuration was read again");
        } else {
            let (changed, restart) = (changed.join(", "), restart.join(", "));
            tracing::warn!(
                changed,
                restart,
                "the configuration was read again; restart the node for the rest"
            );
        }
        Ok(())
    }
}

/// The fields that differ and cannot change while the node runs, under the names that the file gives
/// them.
fn fixed_that_differ(running: &Config, wanted: &Config) -> Vec<&'static str> {
    // Named one by one, so that a new field does not compile until somebody has decided.
    let Config {
        network,
        network_file,
        dns_server,
        data_dir,
        listen,
        bootstrap: _,
        mode,
        admin,
        solo,
        log: _,
        verify_threads,
        repair_bytes_per_sec: _,
        store: StoreSettings { max_bytes, cache_bytes, min_free_bytes },
    } = wanted;
    let fields = [
        ("network", *network != running.network),
        ("network_file", *network_file != running.network_file),
        ("dns_server", *dns_server != running.dns_server),
        ("data_dir", *data_dir != running.data_dir),
        ("listen", *listen != running.listen),
        ("mode", *mode != running.mode),
        ("admin", *admin != running.admin),
        ("solo", *solo != running.solo),
        ("verify_threads", *verify_threads != running.verify_threads),
        ("store.max_bytes", *max_bytes != running.store.max_bytes),
        ("store.cache_bytes", *cache_bytes != running.store.cache_bytes),
        ("store.min_free_bytes", *min_free_bytes != running.store.min_free_bytes),
    ];
    fields.into_iter().filter_map(|(name, differs)| differs.then_some(name)).collect()
}
