//! Identities: made, protected, taken elsewhere and brought back, and what is said of a file or
//! words that cannot be used.

use std::os::unix::fs::PermissionsExt;

use crate::program::{Ended, Program};
use crate::servers::{NETWORK, servers};

const USAGE: i32 = 2;
const FILE_ACCESS: i32 = 86;
const IDENTITY_FILE: i32 = 87;
const FILE: &str = ".local/share/dht/identity";
/// A vector of BIP39, and what is derived from it.
const WORDS: &str = "legal winner thank year wave sausage worth useful legal winner thank yellow";

fn text(ended: Ended) -> String {
    String::from_utf8(ended.expect_stdout()).unwrap()
}

/// The public key of the identity in the program's own file.
fn shown(program: &Program) -> String {
    text(program.run(&["identity", "show"]))
}

fn write(program: &Program, name: &str, text: &str) {
    std::fs::write(program.path(name), text).unwrap();
}

/// A run that has to succeed and to tell something beside on stderr.
fn told(ended: Ended, says: &str) -> String {
    assert_eq!(ended.status, 0, "{ended:?}");
    assert!(ended.stderr.contains(says), "{ended:?}");
    String::from_utf8(ended.stdout).unwrap()
}

#[test]
fn the_words_alone_bring_an_identity_back_on_another_machine() {
    for (count, arguments) in
        [(24, &["identity", "new"][..]), (12, &["identity", "new", "--words", "12"])]
    {
        let lost = Program::new(&[]);
        let public = text(lost.run(arguments));
        let words = text(lost.run(&["identity", "export", "--words"]));
        assert_eq!(words.split_whitespace().count(), count);
        let found = Program::new(&[]);
        let imported = text(found.run_with_stdin(&["identity", "import"], words.as_bytes()));
        assert_eq!(imported, public);
        assert_eq!(shown(&found), public);
        // It is the same in all, its words and its root.
        assert_eq!(text(found.run(&["identity", "export", "--words"])), words);
        let root = |program: &Program| text(program.run(&["identity", "export", "--raw"]));
        assert_eq!(root(&found), root(&lost));
        let mode = std::fs::metadata(found.path(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[test]
fn a_passphrase_is_needed_besides_the_words_and_export_says_so() {
    let lost = Program::new(&[]);
    write(&lost, "passphrase", "gr\u{fc}n\n");
    let public = text(lost.run(&["identity", "new", "--passphrase-file", "passphrase"]));
    let words = told(lost.run(&["identity", "export", "--words"]), "passphrase");
    let json = told(lost.run(&["--json", "identity", "export", "--words"]), "passphrase");
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["words"], &json["passphrase"]), (&words.trim_end().into(), &true.into()));

    let without = Program::new(&[]);
    let other = text(without.run_with_stdin(&["identity", "import"], words.as_bytes()));
    assert_ne!(other, public, "another passphrase is another identity");
    let with = Program::new(&[]);
    let stdin = format!("gru\u{308}n\n{words}");
    let import = ["identity", "import", "--passphrase-file", "-"];
    assert_eq!(text(with.run_with_stdin(&import, stdin.as_bytes())), public);
    with.run(&["identity", "new", "--passphrase", "--identity", "x"])
        .expect_failure(USAGE, "--passphrase-file");
    write(&with, "empty", "\nsomething\n");
    with.run(&["identity", "new", "--passphrase-file", "empty", "--identity", "x"])
        .expect_failure(USAGE, "the passphrase is empty");
    with.run(&["identity", "new", "--passphrase-file", "none", "--identity", "x"])
        .expect_failure(FILE_ACCESS, "none");
    assert!(!with.path("x").exists());
}

#[test]
fn words_that_are_wrong_are_told_one_by_one_and_nothing_is_written() {
    let program = Program::new(&[]);
    let import = |words: &str| program.run_with_stdin(&["identity", "import"], words.as_bytes());
    import("").expect_failure(IDENTITY_FILE, "0 words were given");
    import(&WORDS[6..]).expect_failure(IDENTITY_FILE, "11 words were given");
    import(&WORDS.replace("wave", "wavve"))
        .expect_failure(IDENTITY_FILE, "word 5 ('wavve') is not on the list; you may mean 'wave'");
    import(&WORDS.replace("wave", "zoo")).expect_failure(IDENTITY_FILE, "do not belong together");
    import(&"zoo ".repeat(3_000)).expect_failure(USAGE, "longer than any");
    let raw =
        |root: &str| program.run_with_stdin(&["identity", "import", "--raw"], root.as_bytes());
    raw("").expect_failure(IDENTITY_FILE, "64 hex digits");
    raw(&"g".repeat(64)).expect_failure(IDENTITY_FILE, "64 hex digits");
    assert!(!program.path(FILE).exists());
    import(&WORDS.to_uppercase()).expect_stdout();
}

#[test]
fn a_root_brings_back_all_but_the_words() {
    let lost = Program::new(&[]);
    let public = text(lost.run(&["identity", "new"]));
    let root = text(lost.run(&["identity", "export", "--raw"]));
    assert_eq!(lost.json(&["identity", "export", "--raw"])["root"], root.trim_end());
    let found = Program::new(&[]);
    let import = ["identity", "import", "--raw"];
    assert_eq!(text(found.run_with_stdin(&import, root.as_bytes())), public);
    assert_eq!(text(found.run(&["identity", "export", "--raw"])), root);
    found.run(&["identity", "export", "--words"]).expect_failure(IDENTITY_FILE, "not known");
}

#[test]
fn an_identity_under_a_password_signs_with_it_and_with_no_other() {
    let peer = servers()[0].addr.to_string();
    let program = Program::new(&["--bootstrap", &peer, "--network", NETWORK]);
    write(&program, "password", "correct horse\nnot this line\n");
    write(&program, "wrong", "correct horsf\n");
    let made = program.json(&["identity", "new", "--password-file", "password"]);
    assert_eq!(made["encrypted"], true);
    let publisher = made["identity"].as_str().unwrap();
    assert_eq!(shown(&program).trim_end(), publisher, "its public key is no secret");
    let before = std::fs::read(program.path(FILE)).unwrap();

    let put = ["put", "label", "-"];
    program.run(&put).expect_failure(IDENTITY_FILE, "--password-file");
    let with = |file: &str, stdin: &str| {
        program.run_with_stdin(&["--password-file", file, "put", "label", "-"], stdin.as_bytes())
    };
    with("wrong", "").expect_failure(IDENTITY_FILE, "not the password");
    with("password", "value").expect_stdout();
    assert_eq!(program.run(&["get", publisher, "label"]).expect_stdout(), b"value");
    with("-", "correct horse\nthe rest").expect_stdout();
    assert_eq!(program.run(&["get", publisher, "label"]).expect_stdout(), b"the rest");
    for arguments in [
        &["delete", "label"][..],
        &["identity", "export", "--words"],
        &["identity", "export", "--raw"],
        &["identity", "passwd", "--no-password"],
        &["--identity", FILE, "bench", "--count", "1"],
    ] {
        program.run(arguments).expect_failure(IDENTITY_FILE, "--password-file");
        let wrong = [&["--password-file", "wrong"], arguments].concat();
        program.run(&wrong).expect_failure(IDENTITY_FILE, "not the password");
    }
    program.run(&["--password-file", "password", "delete", "label"]).expect_stdout();
    assert_eq!(std::fs::read(program.path(FILE)).unwrap(), before, "untouched");
}

#[test]
fn a_password_is_set_changed_and_taken_away_whatever_a_killed_attempt_left() {
    let program = Program::new(&[]);
    let public = text(program.run(&["identity", "new"]));
    let words = text(program.run(&["identity", "export", "--words"]));
    write(&program, "one", "first password\n");
    write(&program, "two", "second password\n");
    program.run(&["identity", "passwd"]).expect_failure(USAGE, "--no-password");

    // As a process leaves it that is killed between writing and renaming.
    let left = program.path(".local/share/dht/identity.0123456789abcdef.new");
    let plain = std::fs::read(program.path(FILE)).unwrap();
    std::fs::write(&left, &plain[..plain.len() / 2]).unwrap();
    assert_eq!(shown(&program), public);

    let passwd = ["identity", "passwd", "--new-password-file"];
    assert_eq!(text(program.run(&[&passwd[..], &["one"]].concat())), public);
    assert!(!left.exists(), "secrets in the clear do not stay beside the encrypted file");
    let encrypted = std::fs::read_to_string(program.path(FILE)).unwrap();
    assert!(encrypted.contains("argon2id") && !encrypted.contains("root"));
    program.run(&[&passwd[..], &["two"]].concat()).expect_failure(IDENTITY_FILE, "--password-file");
    // Both from stdin: the old one first.
    let both = [&passwd[..], &["-", "--password-file", "-"]].concat();
    program.run_with_stdin(&both, b"first password\nsecond password\n").expect_stdout();
    let export = |password: &str| {
        program.run(&["identity", "export", "--words", "--password-file", password])
    };
    export("one").expect_failure(IDENTITY_FILE, "not the password");
    assert_eq!(text(export("two")), words);
    let away = ["identity", "passwd", "--no-password", "--password-file", "two"];
    assert_eq!(text(program.run(&away)), public);
    assert_eq!(text(program.run(&["identity", "export", "--words"])), words);
    assert_eq!(std::fs::read(program.path(FILE)).unwrap(), plain);
}

#[test]
fn a_copy_in_a_file_has_a_password_of_its_own() {
    let program = Program::new(&[]);
    write(&program, "mine", "mine\n");
    write(&program, "copies", "copies\n");
    let public = text(program.run(&["identity", "new", "--password-file", "mine"]));
    let export = ["--password-file", "mine", "identity", "export", "--file", "copy"];
    program.run(&export).expect_failure(USAGE, "--new-password-file");
    assert!(!program.path("copy").exists());
    let made = program.json(&[&export[..], &["--new-password-file", "copies"]].concat());
    assert_eq!((&made["file"], &made["encrypted"]), (&"copy".into(), &true.into()));
    program
        .run(&[&export[..], &["--no-password"]].concat())
        .expect_failure(IDENTITY_FILE, "exists");

    let other = Program::new(&[]);
    std::fs::copy(program.path("copy"), other.path("copy")).unwrap();
    write(&other, "copies", "copies\n");
    let import = ["identity", "import", "--file", "copy"];
    other.run(&import).expect_failure(IDENTITY_FILE, "--password-file");
    let import = [&import[..], &["--from-password-file", "copies"]].concat();
    assert_eq!(text(other.run(&import)), public);
    assert_eq!(other.json(&["identity", "show"])["encrypted"], false);
    other.run(&["identity", "export", "--words"]).expect_stdout();
    other.run(&import).expect_failure(IDENTITY_FILE, "exists already");
}

#[test]
fn nothing_that_exists_is_ever_overwritten() {
    let program = Program::new(&[]);
    let public = text(program.run(&["identity", "new"]));
    write(&program, "notes", "notes");
    program.run(&["identity", "new"]).expect_failure(IDENTITY_FILE, "exists already");
    let import = program.run_with_stdin(&["identity", "import"], WORDS.as_bytes());
    import.expect_failure(IDENTITY_FILE, "exists already");
    for arguments in [
        &["identity", "new", "--identity", "notes"][..],
        &["identity", "export", "--no-password", "--file", "notes"],
    ] {
        program.run(arguments).expect_failure(IDENTITY_FILE, "exists already");
    }
    assert_eq!(std::fs::read(program.path("notes")).unwrap(), b"notes");
    assert_eq!(shown(&program), public);
}

#[test]
fn a_file_that_cannot_be_used_says_why_and_is_left_as_it_is() {
    let program = Program::new(&["--identity", "me"]);
    program.run(&["identity", "new"]).expect_stdout();
    let good = std::fs::read_to_string(program.path("me")).unwrap();
    let root = "ab".repeat(32);
    for (content, says) in [
        (format!("dht-identity 1\npublic {root}\nroot {root}\n"), "format 1"),
        (good.replacen("identity 2", "identity 3", 1), "upgrade"),
        (good.replacen("root ", "root 0", 1), "damaged"),
        (good[..good.len() - 2].to_owned(), "damaged"),
        ("something else\n".to_owned(), "no identity's file"),
        ("x".repeat(100_000), "no identity's file"),
        (String::new(), "no identity's file"),
    ] {
        std::fs::write(program.path("me"), &content).unwrap();
        for arguments in [&["show"][..], &["export", "--raw"], &["passwd", "--no-password"]] {
            let arguments = [&["identity"], arguments].concat();
            program.run(&arguments).expect_failure(IDENTITY_FILE, says);
        }
        assert_eq!(std::fs::read_to_string(program.path("me")).unwrap(), content);
    }
    std::fs::write(program.path("me"), &good).unwrap();
    program.run(&["identity", "show"]).expect_stdout();
}
