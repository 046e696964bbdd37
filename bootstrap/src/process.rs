//! What the operating system says of this process.

use std::path::Path;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Where Linux tells of a process by itself, line by line (proc_pid_status(5)).
const OWN_STATUS: &str = "/proc/self/status";
/// Where Linux tells in which control group a process is (cgroups(7)).
const OWN_GROUP: &str = "/proc/self/cgroup";
/// Where control groups are found, of version 2.
const GROUPS: &str = "/sys/fs/cgroup";
/// How deep a group is looked for at most: deeper than any service manager or container nests them.
const GROUP_DEPTH_MAX: usize = 32;

/// Bytes of memory that the process has in RAM; `None` where the system does not tell.
#[must_use]
pub fn resident_bytes() -> Option<u64> {
    resident_in(&std::fs::read_to_string(OWN_STATUS).ok()?)
}

/// The most bytes of memory that its control group, and those around that, let the process have; `None`
/// where there is no such limit, or the system does not tell.
#[must_use]
pub fn memory_limit_bytes() -> Option<u64> {
    let groups = std::fs::read_to_string(OWN_GROUP).ok()?;
    memory_limit_under(Path::new(GROUPS), group_in(&groups)?)
}

/// The process's group of version 2, whose line has no number and no controllers.
fn group_in(groups: &str) -> Option<&str> {
    groups.lines().find_map(|line| line.strip_prefix("0::/"))
}

/// The smallest limit of a group and those that it lies in.
fn memory_limit_under(root: &Path, group: &str) -> Option<u64> {
    let place = root.join(group);
    let around = place.ancestors().take(GROUP_DEPTH_MAX).take_while(|dir| dir.starts_with(root));
    // A group without a limit says `max`, and the outermost one says nothing.
    let limits = around.filter_map(|dir| std::fs::read_to_string(dir.join("memory.max")).ok());
    limits.filter_map(|limit| limit.trim().parse().ok()).min()
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
    fn the_smallest_limit_of_the_groups_around_a_process_holds() {
        let root = tempfile::tempdir().unwrap();
        let limit = |group: &str, text: &str| {
            let dir = root.path().join(group);
            std::fs::create_dir_all(&dir).unwrap();
            std::fs::write(dir.join("memory.max"), text).unwrap();
        };
        limit("a", "2000\n");
        limit("a/b", "max\n");
        limit("a/b/c", "3000\n");
        let under = |group| memory_limit_under(root.path(), group);
        assert_eq!(
            [under("a/b/c"), under("a"), under("x"), under("")],
            [Some(2000), Some(2000), None, None]
        );
        assert_eq!(group_in("1:name=systemd:/x\n0::/a/b\n"), Some("a/b"));
        assert_eq!(group_in("1:memory:/x\n"), None);
    }

    #[test]
    fn this_process_has_memory_and_has_worked() {
        let resident = resident_bytes().unwrap();
        assert!((1 << 16..1 << 40).contains(&resident), "{resident}");
        assert!(cpu_time() > Duration::ZERO);
    }
}
