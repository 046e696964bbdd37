//! What a file keeps, and what is told of one that cannot be used.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use rustix::fs::{FlockOperation, flock};

use super::*;
use crate::derivation::{Purpose, derive};
use crate::identity::{WordCount, Words};

struct Place {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

fn place() -> Place {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a/b/identity");
    Place { _folder: folder, path }
}

/// The names in the file's folder, sorted.
fn beside(place: &Place) -> Vec<String> {
    let folder = std::fs::read_dir(place.path.parent().unwrap()).unwrap();
    let mut names: Vec<_> =
        folder.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn password(text: &str) -> Password {
    Password::new(Zeroizing::new(text.to_owned())).unwrap()
}

fn created(place: &Place, password: Option<&Password>) -> Identity {
    let identity = Identity::generate().unwrap();
    create(&place.path, &identity, password).unwrap();
    identity
}

fn open(place: &Place, password: Option<&Password>) -> Result<Identity, IdentityError> {
    IdentityFile::read(&place.path)?.open(password)
}

/// Writes the file with `text` instead, and a check that holds.
fn rewrite(place: &Place, change: impl Fn(&str) -> String) {
    let text = String::from_utf8(std::fs::read(&place.path).unwrap()).unwrap();
    let changed = change(text.split_once("check ").unwrap().0);
    let check = derive(Purpose::IdentityCheck, None, &[changed.as_bytes()]);
    let check = hex::encode(check.as_slice());
    std::fs::write(&place.path, format!("{changed}check {check}\n")).unwrap();
}

#[test]
fn an_identity_is_read_back_with_its_words_from_a_file_that_only_its_owner_can_read() {
    let secret = password("correct horse");
    for password in [None, Some(&secret)] {
        let words = Words::generate(WordCount::Twelve, &Entropy::system()).unwrap();
        for identity in [
            Identity::from_words(&words, ""),
            Identity::from_words(&words, "passphrase"),
            Identity::from_root(&[7; 32]),
        ] {
            let place = place();
            create(&place.path, &identity, password).unwrap();
            let mode = std::fs::metadata(&place.path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            assert_eq!(beside(&place), ["identity"], "nothing else is left in the folder");
            let file = IdentityFile::read(&place.path).unwrap();
            assert_eq!(file.is_encrypted(), password.is_some());
            assert_eq!(file.public_key(), identity.public_key());
            let read = file.open(password).unwrap();
            assert_eq!((read.root(), read.words()), (identity.root(), identity.words()));
        }
    }
}

#[test]
fn an_encrypted_file_has_no_secret_in_the_clear_and_opens_with_its_password_alone() {
    let (place, secret) = (place(), password("correct horse"));
    let identity = created(&place, Some(&secret));
    let text = String::from_utf8(std::fs::read(&place.path).unwrap()).unwrap();
    assert!(!text.contains(&hex::encode(identity.root())));
    let words = identity.words().unwrap().words.to_entropy();
    assert!(!text.contains(&hex::encode(&*words)));
    assert!(text.contains("\nargon2id m=65536 t=3 p=1 salt="), "{text}");
    let path = place.path.clone();
    assert_eq!(open(&place, None).unwrap_err(), IdentityError::PasswordNeeded(path.clone()));
    let wrong = open(&place, Some(&password("correct horsf"))).unwrap_err();
    assert_eq!(wrong, IdentityError::WrongPassword(path));
    assert_eq!(String::from_utf8(std::fs::read(&place.path).unwrap()).unwrap(), text);
    open(&place, Some(&secret)).unwrap();
}

#[test]
fn all_that_stands_before_the_sealed_secrets_is_bound_to_them() {
    let (place, secret) = (place(), password("p"));
    created(&place, Some(&secret));
    let good = std::fs::read(&place.path).unwrap();
    let flipped = |text: &str, after: &str| {
        let at = text.find(after).unwrap() + after.len();
        let digit = if text[at..].starts_with('0') { "1" } else { "0" };
        format!("{}{digit}{}", &text[..at], &text[at + 1..])
    };
    type Change<'a> = &'a dyn Fn(&str) -> String;
    let changes: [(&str, Change<'_>); 4] = [
        ("the public key", &|text| flipped(text, "public ")),
        ("the salt", &|text| flipped(text, "salt=")),
        ("the passes", &|text| text.replace(" t=3 ", " t=2 ")),
        ("their spelling", &|text| text.replace(" t=3 ", " t=03 ")),
    ];
    for (what, change) in changes {
        std::fs::write(&place.path, &good).unwrap();
        rewrite(&place, change);
        let error = open(&place, Some(&secret)).unwrap_err();
        assert_eq!(error, IdentityError::WrongPassword(place.path.clone()), "{what}");
    }
    std::fs::write(&place.path, &good).unwrap();
    open(&place, Some(&secret)).unwrap();
}

#[test]
fn a_file_that_wants_more_memory_or_time_than_any_of_ours_is_refused_before_it_gets_it() {
    let (place, secret) = (place(), password("p"));
    created(&place, Some(&secret));
    let good = std::fs::read(&place.path).unwrap();
    for greedy in
        ["m=4294967295 t=3 p=1", "m=262145 t=3 p=1", "m=65536 t=17 p=1", "m=65536 t=3 p=5"]
    {
        std::fs::write(&place.path, &good).unwrap();
        rewrite(&place, |text| text.replace("m=65536 t=3 p=1", greedy));
        let error = open(&place, Some(&secret)).unwrap_err();
        assert_eq!(error, IdentityError::TooCostly(place.path.clone()), "{greedy}");
    }
    for senseless in
        ["m=0 t=3 p=1", "m=65536 t=0 p=1", "m=65536 t=3 p=0", "m=-1 t=3 p=1", "m=8 t=3"]
    {
        std::fs::write(&place.path, &good).unwrap();
        rewrite(&place, |text| text.replace("m=65536 t=3 p=1", senseless));
        let error = open(&place, Some(&secret)).unwrap_err();
        assert!(matches!(error, IdentityError::Damaged { .. }), "{senseless}: {error}");
    }
}

#[test]
fn a_file_that_exists_is_never_overwritten() {
    let place = place();
    let first = created(&place, None);
    for attempt in [None, Some(&password("p"))] {
        let error = create(&place.path, &Identity::generate().unwrap(), attempt).unwrap_err();
        assert_eq!(error, IdentityError::Exists(place.path.clone()));
    }
    // Also if it comes into being meanwhile.
    let error = super::place::write_new(&place.path, b"x").unwrap_err();
    assert_eq!(error, IdentityError::Exists(place.path.clone()));
    assert_eq!(open(&place, None).unwrap().public_key(), first.public_key());
    assert_eq!(beside(&place), ["identity"], "the attempts leave no secret behind");
}

#[test]
fn a_missing_file_is_told_from_one_that_is_something_else() {
    let place = place();
    assert_eq!(open(&place, None).unwrap_err(), IdentityError::Missing(place.path.clone()));
    let folder = place.path.parent().unwrap();
    std::fs::create_dir_all(folder).unwrap();
    let error = Identity::load(folder).unwrap_err();
    assert_eq!(error, IdentityError::Foreign(folder.to_owned()));
    for foreign in
        [&b""[..], b"dht", b"-----BEGIN OPENSSH PRIVATE KEY-----\n", &[0xff; 100], &[b'a'; 10_000]]
    {
        std::fs::write(&place.path, foreign).unwrap();
        std::fs::set_permissions(&place.path, Permissions::from_mode(0o600)).unwrap();
        let error = open(&place, None).unwrap_err();
        assert_eq!(error, IdentityError::Foreign(place.path.clone()));
        let error = change_password(&place.path, None, Some(&password("p"))).unwrap_err();
        assert_eq!(error, IdentityError::Foreign(place.path.clone()));
        assert_eq!(std::fs::read(&place.path).unwrap(), foreign, "left as it is");
    }
}

#[test]
fn a_file_that_others_can_read_is_refused_with_the_command_that_mends_it() {
    for mode in [0o640, 0o604, 0o620, 0o644] {
        let place = place();
        created(&place, None);
        std::fs::set_permissions(&place.path, Permissions::from_mode(mode)).unwrap();
        let error = open(&place, None).unwrap_err();
        assert_eq!(error, IdentityError::Exposed { path: place.path.clone(), mode });
        let command = format!("chmod 600 '{}'", place.path.display());
        assert!(error.to_string().contains(&command), "{error}");
    }
}

#[test]
fn any_changed_byte_and_any_lost_end_is_noticed_without_a_password() {
    let secret = password("p");
    for password in [None, Some(&secret)] {
        let place = place();
        created(&place, password);
        let good = std::fs::read(&place.path).unwrap();
        let refused = |bytes: &[u8]| {
            let fault = decode(bytes).err().expect("it is noticed");
            assert_ne!(fault, Fault::WrongPassword);
        };
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            refused(&bad);
            refused(&good[..at]);
        }
        refused(&[good.as_slice(), b"more\n"].concat());
        assert!(decode(&good).is_ok());
    }
}

#[test]
fn secrets_that_do_not_belong_together_are_refused_though_the_check_holds() {
    let place = place();
    let identity = created(&place, None);
    let good = std::fs::read(&place.path).unwrap();
    let root = hex::encode(identity.root());
    let words = hex::encode(&*identity.words().unwrap().words.to_entropy());
    for (from, to) in [
        (root.as_str(), "ab".repeat(32)),
        (words.as_str(), "ab".repeat(32)),
        (words.as_str(), "ab".repeat(31)),
        (" bare", " else".to_owned()),
        (" bare\n", " bare\nmore\n".to_owned()),
        ("root ", "soot ".to_owned()),
    ] {
        std::fs::write(&place.path, &good).unwrap();
        rewrite(&place, |text| text.replace(from, &to));
        let error = open(&place, None).unwrap_err();
        assert!(matches!(error, IdentityError::Damaged { .. }), "{from} → {to}: {error}");
    }
}

#[test]
fn other_formats_say_what_to_do() {
    let place = place();
    created(&place, None);
    let root = "ab".repeat(32);
    let told = |text: &str| {
        std::fs::write(&place.path, text).unwrap();
        open(&place, None).unwrap_err()
    };
    let old = told(&format!("dht-identity 1\npublic {root}\nroot {root}\n"));
    assert_eq!(old, IdentityError::OldFormat(place.path.clone()));
    assert!(old.to_string().contains("import --raw"), "{old}");
    let later = told("dht-identity 3\nanything\n");
    assert_eq!(later, IdentityError::UnknownFormat(place.path.clone()));
}

#[test]
fn a_password_is_set_changed_and_taken_away() {
    let place = place();
    let identity = created(&place, None);
    let (one, other) = (password("one"), password("other"));
    for (old, new) in [(None, Some(&one)), (Some(&one), Some(&other)), (Some(&other), None)] {
        let before = std::fs::read(&place.path).unwrap();
        if old.is_some() {
            let error = change_password(&place.path, Some(&password("no")), new).unwrap_err();
            assert_eq!(error, IdentityError::WrongPassword(place.path.clone()));
            assert_eq!(std::fs::read(&place.path).unwrap(), before, "untouched");
        }
        change_password(&place.path, old, new).unwrap();
        let read = open(&place, new).unwrap();
        assert_eq!((read.root(), read.words()), (identity.root(), identity.words()));
        let mode = std::fs::metadata(&place.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(beside(&place), ["identity"]);
    }
}

#[test]
fn what_a_killed_change_left_beside_harms_nothing_and_is_removed_by_the_next_one() {
    let place = place();
    let identity = created(&place, None);
    let left = place.path.with_file_name("identity.0123456789abcdef.new");
    let half = &std::fs::read(&place.path).unwrap()[..40];
    std::fs::write(&left, half).unwrap();
    let live = place.path.with_file_name("identity.aaaaaaaaaaaaaaaa.new");
    let writer = std::fs::File::create(&live).unwrap();
    flock(&writer, FlockOperation::NonBlockingLockExclusive).unwrap();
    let own = place.path.with_file_name("identity.profile");
    std::fs::write(&own, b"not ours to remove").unwrap();

    assert_eq!(open(&place, None).unwrap().public_key(), identity.public_key());
    change_password(&place.path, None, Some(&password("p"))).unwrap();
    let kept = ["identity", "identity.aaaaaaaaaaaaaaaa.new", "identity.profile"];
    assert_eq!(beside(&place), kept, "what is still being written stays, and what is not ours");
    assert_eq!(open(&place, Some(&password("p"))).unwrap().public_key(), identity.public_key());
}

#[test]
fn two_changes_at_a_time_are_kept_apart() {
    let place = place();
    created(&place, None);
    let held = super::place::Locked::take(&place.path).unwrap();
    let error = change_password(&place.path, None, Some(&password("p"))).unwrap_err();
    assert_eq!(error, IdentityError::InUse(place.path.clone()));
    assert!(open(&place, None).is_ok(), "reading goes on");
    drop(held);
    change_password(&place.path, None, Some(&password("p"))).unwrap();
}

#[test]
fn a_file_behind_a_symbolic_link_is_changed_in_its_own_place() {
    let place = place();
    let identity = created(&place, None);
    let link = place.path.with_file_name("link");
    std::os::unix::fs::symlink(&place.path, &link).unwrap();
    change_password(&link, None, Some(&password("p"))).unwrap();
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    let read = open(&place, Some(&password("p"))).unwrap();
    assert_eq!(read.public_key(), identity.public_key());
}
