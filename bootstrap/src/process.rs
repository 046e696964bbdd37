//! What the operating system says of this process.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Where Linux tells of a process by itself, line by line (proc_pid_status(5)).
const OWN_STATUS: &str = "/proc/self/status";

/// Bytes of memory that the process has in RAM; `None` where the system does not tell.
#[must_use]
pub fn resident_bytes() -> Option<u64> {
    resident_in(&std::fs::read_to_string(OWN_STATUS).ok()?)
}

/// Time that all threads of the process have spent on processors.
#[must_use]
pub fn cpu_time() -> Duration {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    let secs = Duration::from_secs(u64::try_from(spent.tv_sec).unwrap_or(0));
    secs + Duration::from_nanos(u64::try_from(spent.tv_nsec).unwrap_or(0))
}

/// The line of the resident set, which is given in units of 1,024 bytes whatever the page size.
fn resident_in(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resident_set_is_read_from_its_line() {
        let status = "Name:\tx\nVmHWM:\t  999 kB\nVmRSS:\t   2048 kB\nThreads:\t3\n";
        assert_eq!(resident_in(status), Some(2 << 20));
        assert_eq!(resident_in("Name:\tx\n"), None);
        assert_eq!(resident_in("VmRSS:\tmuch\n"), None);
    }

    #[test]
    fn this_process_has_memory_and_has_worked() {
        let resident = resident_bytes().unwrap();
        assert!((1 << 16..1 << 40).contains(&resident), "{resident}");
        assert!(cpu_time() > Duration::ZERO);
    }
}
