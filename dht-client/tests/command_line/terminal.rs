//! What is asked at a terminal: under `script` (util-linux), which gives the program one.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use crate::program::Program;

/// How every question ends.
const PROMPT: &[u8] = b": ";

/// Runs a command of the program at a terminal and gives each answer when it is asked for one;
/// returns the exit status and all that was seen.
fn at_terminal(program: &Program, command: &str, answers: &[&str]) -> (i32, String) {
    let line = format!("{} {command}", env!("CARGO_BIN_EXE_dht-client"));
    let mut child = Command::new("script")
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .env_clear()
        .env("HOME", program.path(""))
        .env("PATH", "/usr/bin:/bin")
        .current_dir(program.path(""))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("`script` of util-linux is installed");
    let (mut typed, mut screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let (mut seen, mut answers, mut byte) = (Vec::new(), answers.iter(), [0]);
    while screen.read(&mut byte).unwrap() > 0 {
        seen.push(byte[0]);
        if seen.ends_with(PROMPT)
            && let Some(answer) = answers.next()
        {
            typed.write_all(format!("{answer}\n").as_bytes()).unwrap();
            typed.flush().unwrap();
        }
    }
    let status = child.wait().unwrap().code().unwrap();
    assert_eq!(answers.next(), None, "more was asked: {}", String::from_utf8_lossy(&seen));
    (status, String::from_utf8(seen).unwrap())
}

#[test]
fn whoever_is_at_a_terminal_is_asked_for_a_password_and_told_of_the_words() {
    let program = Program::new(&[]);
    let (status, seen) = at_terminal(&program, "identity new", &["secret", "secret"]);
    assert_eq!(status, 0, "{seen}");
    assert!(seen.contains("identity export --words"), "{seen}");
    let made = program.json(&["identity", "show"]);
    assert_eq!(made["encrypted"], true);
    assert!(seen.contains(made["identity"].as_str().unwrap()), "{seen}");

    let (status, seen) = at_terminal(&program, "identity export --words", &["secret"]);
    assert_eq!(status, 0, "{seen}");
    let words = seen.trim().lines().last().unwrap().trim().to_owned();
    let (status, seen) = at_terminal(&program, "identity export --words", &["wrong"]);
    assert_eq!(status, 87, "{seen}");
    assert!(seen.contains("not the password"), "{seen}");

    let (status, seen) = at_terminal(&program, "identity passwd", &["secret", "one", "other"]);
    assert_eq!(status, 2, "{seen}");
    assert!(seen.contains("differ"), "{seen}");
    let (status, seen) = at_terminal(&program, "identity passwd", &["secret", ""]);
    assert_eq!(status, 0, "{seen}");
    assert!(seen.contains("there is no password"), "{seen}");
    assert_eq!(program.json(&["identity", "show"])["encrypted"], false);

    let (status, seen) = at_terminal(&program, "identity import --identity again", &["", &words]);
    assert_eq!(status, 0, "{seen}");
    let again = program.json(&["identity", "show", "--identity", "again"]);
    assert_eq!(again["identity"], made["identity"]);
}

#[test]
fn a_passphrase_is_asked_for_twice() {
    let program = Program::new(&[]);
    let new = "identity new --passphrase";
    let (status, seen) = at_terminal(&program, new, &["", "one", "other"]);
    assert_eq!(status, 2, "{seen}");
    let (status, seen) = at_terminal(&program, new, &["", ""]);
    assert_eq!(status, 2, "{seen}");
    assert!(seen.contains("leave --passphrase out"), "{seen}");
    let (status, seen) = at_terminal(&program, new, &["", "same", "same"]);
    assert_eq!(status, 0, "{seen}");
    let words = program.run(&["identity", "export", "--words"]);
    assert!(words.stderr.contains("passphrase"), "{words:?}");
}
