//! Processes of a benchmark: started from the folder of this program, read line by line, killed
//! when they are dropped.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::{env, fs, thread};

use anyhow::{Context, anyhow, bail};
use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

/// Lines that wait to be read; a process that says more waits in turn.
const LINES_MAX: usize = 64;
/// The unit of a process's times in `/proc`, 1/100 s on Linux whatever its own tick is (proc(5)).
const TICKS_PER_SEC: f64 = 100.0;
/// Where in `/proc/PID/stat` the times in user and system mode are, counted from the state, which
/// follows the name in parentheses (proc(5)).
const UTIME_FIELD: usize = 11;
const STIME_FIELD: usize = 12;

/// A program of this workspace, next to the one that runs.
///
/// # Errors
/// Where it was not built.
pub fn program(name: &str) -> anyhow::Result<PathBuf> {
    let own = env::current_exe().context("this program's own place is unknown")?;
    let path = own.with_file_name(name);
    if !path.is_file() {
        bail!("{name} was not built; run cargo build --release --workspace first");
    }
    Ok(path)
}

/// A running process of which stdout is read.
pub struct Running {
    name: String,
    child: Child,
    lines: Receiver<(Instant, String)>,
}

impl Running {
    /// Starts a program of this workspace.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn start(name: &str, args: &[&str], stderr: Stdio) -> anyhow::Result<Self> {
        let mut command = Command::new(program(name)?);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr);
        let mut child = command.spawn().with_context(|| format!("{name} cannot be started"))?;
        let stdout = child.stdout.take().ok_or_else(|| anyhow!("{name} has no stdout"))?;
        let (sender, lines) = sync_channel(LINES_MAX);
        thread::spawn(move || {
            // It ends with the process's stdout, or when nobody reads on.
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send((Instant::now(), line)).is_err() {
                    return;
                }
            }
        });
        Ok(Running { name: name.to_owned(), child, lines })
    }

    /// The next line of its stdout and when it came; `None` once the process has ended well.
    ///
    /// # Errors
    /// Where none came until `deadline`, or the process failed.
    pub fn line(&mut self, deadline: Instant) -> anyhow::Result<Option<(Instant, String)>> {
        match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => Ok(Some(line)),
            Err(RecvTimeoutError::Timeout) => {
                bail!("{} said nothing in time; give it more with --max-secs", self.name)
            }
            Err(RecvTimeoutError::Disconnected) => {
                let status = self.child.wait()?;
                match status.success() {
                    true => Ok(None),
                    false => bail!("{} failed ({status}); its reason is above", self.name),
                }
            }
        }
    }

    /// When it said that it is ready, and what follows `listen=` in the line that says so.
    ///
    /// # Errors
    /// Where it ends, or says nothing until `deadline`.
    pub fn ready(&mut self, deadline: Instant) -> anyhow::Result<(Instant, String)> {
        while let Some((at, line)) = self.line(deadline)? {
            if let Some((_, listen)) = line.split_once("listen=") {
                return Ok((at, listen.to_owned()));
            }
        }
        bail!("{} ended before it was ready", self.name)
    }

    /// Processor time of all its threads so far, in user and system mode, to a hundredth of a second.
    ///
    /// # Errors
    /// Where `/proc` does not tell.
    pub fn cpu_secs(&self) -> anyhow::Result<f64> {
        let path = format!("/proc/{}/stat", self.child.id());
        let stat = fs::read_to_string(&path).with_context(|| format!("{path} cannot be read"))?;
        cpu_secs_of(&stat).with_context(|| format!("{path} is not as proc(5) says"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone then.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn cpu_secs_of(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let field = |place| fields.split(' ').nth(place)?.parse::<u64>().ok();
    Some((field(UTIME_FIELD)? + field(STIME_FIELD)?) as f64 / TICKS_PER_SEC)
}

/// Processor time of this process so far, in user and system mode.
#[must_use]
pub fn own_cpu_secs() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_read_whatever_the_process_is_called() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194304 119 0 0 0 250 31 0 0 20 0 1 0 459477 3133440";
        assert_eq!(cpu_secs_of(stat), Some(2.81));
        assert_eq!(cpu_secs_of("7 (a) S 1"), None);
    }

    #[test]
    fn the_kernel_tells_the_processor_time_of_a_process() {
        let stat = fs::read_to_string("/proc/self/stat").unwrap();
        let told = cpu_secs_of(&stat).unwrap();
        assert!((told - own_cpu_secs()).abs() < 1.0, "{told} is far from {}", own_cpu_secs());
    }
}
