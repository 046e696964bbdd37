//! Whoever reads a command's output through a pipe may end first, as `head` does: the command ends quietly.

use std::process::Command;

use dht_tests::programs::{self, DAEMON};
use dht_tests::{CommandLine, Network};

#[test]
fn a_command_whose_output_nobody_reads_ends_quietly() {
    let net = Network::start(1);
    let (admin, config) = (net[0].addr().to_string(), net[0].config_path());
    for arguments in [
        &["status", "--admin", &admin][..],
        &["status", "--json", "--admin", &admin],
        &["check-config", "--config", config.to_str().unwrap()],
        &["--help"],
    ] {
        let mut command = Command::new(programs::binary(DAEMON));
        let ended = programs::run_unread(command.args(arguments));
        assert_eq!((ended.status, ended.stderr.as_str()), (0, ""), "{arguments:?}");
    }
    let user = CommandLine::new(&net.peers());
    let ended = programs::run_unread(&mut user.command(&["ping", &net[0].peer()]));
    assert_eq!((ended.status, ended.stderr.as_str()), (0, ""));
}
