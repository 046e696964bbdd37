//! [`Step`]: kill -9 between any two steps of a program.
//!
//! What a process leaves behind, a byte in a file, a packet, a line on stdout, it leaves by a system call.
//! So whoever kills it just before its first such call, then just before its second, and so on, sees every
//! state in which it can be left. strace(1) does both: it counts the calls, and it kills.
//!
//! ```text
//! command ─▶ steps_of: run once, every call noted ─▶ spread ─▶ run_until: killed just before that call
//! ```
//!
//! Only calls of the main thread are counted: a client does all its work there.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use crate::programs::{self, Ended};
use crate::strace;
use crate::waiting::eventually;

/// What a program that [`run_until`] has killed ended with.
pub const KILLED: i32 = 128 + 9;

/// The calls by which a process leaves something behind, and those that make it last.
const CALLS: &str = "write,writev,pwrite64,ftruncate,fallocate,fsync,fdatasync,rename,linkat,unlink,\
                     sendto,sendmsg,sendmmsg";

/// One call of a program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// Which system call.
    pub call: String,
    /// The how many-th of its kind, from 1.
    pub number: u32,
}

/// Runs a command to its end, which has to be a success; says what it ended with, and its steps in their
/// order. The trace is kept in `folder` meanwhile.
///
/// Fails, and says what to do, if processes cannot be traced here.
#[must_use]
pub fn steps_of(command: &Command, folder: &Path) -> (Ended, Vec<Step>) {
    strace::require();
    let file = folder.join("steps");
    let out = file.to_string_lossy().into_owned();
    let ended = programs::run(&mut under(command, &["-s", "0", "-e", CALLS, "-o", &out]));
    assert_eq!(ended.status, 0, "{ended:?}");
    let trace = eventually("strace notes the end of the program", || {
        let trace = std::fs::read_to_string(&file).unwrap_or_default();
        trace.trim_end().ends_with("+++").then_some(trace)
    });
    let mut numbers: BTreeMap<&str, u32> = BTreeMap::new();
    let calls = trace.lines().filter_map(|line| line.split_once('(')).map(|(call, _)| call);
    let steps = calls.filter(|call| CALLS.split(',').any(|known| known == *call)).map(|call| {
        let number = numbers.entry(call).or_default();
        *number += 1;
        Step { call: call.to_owned(), number: *number }
    });
    (ended, steps.collect())
}

/// At most `count` of these, evenly spread: the first and the last among them.
#[must_use]
pub fn spread(steps: &[Step], count: usize) -> Vec<Step> {
    if steps.len() <= count || count < 2 {
        return steps.to_vec();
    }
    let place = |number: usize| number * (steps.len() - 1) / (count - 1);
    (0..count).map(|number| steps[place(number)].clone()).collect()
}

/// Runs a command and kills it with -9 just before this step; it runs to its end if it does not come so
/// far.
#[must_use]
pub fn run_until(command: &Command, step: &Step) -> Ended {
    let Step { call, number } = step;
    let trace = format!("trace={call}");
    let inject = format!("inject={call}:signal=KILL:when={number}");
    programs::run(&mut under(command, &["-e", &trace, "-e", &inject, "-o", "/dev/null"]))
}

/// The same command, traced, and still the process that is started.
fn under(command: &Command, options: &[&str]) -> Command {
    let mut traced = Command::new("strace");
    traced.arg("-D").args(options).arg(command.get_program()).args(command.get_args()).env_clear();
    traced.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(folder) = command.get_current_dir() {
        traced.current_dir(folder);
    }
    traced
}
