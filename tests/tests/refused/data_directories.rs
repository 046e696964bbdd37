//! Data directories that must not be used: each start ends with one sentence and its number, and what
//! was in the directory is there afterwards, byte by byte.

use std::collections::BTreeMap;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use dht_tests::node_process::copy_folder;
use dht_tests::{Network, NodeOptions, User};

const BAD_CONFIG: u8 = 80;
const DATA_DIR_IN_USE: u8 = 82;
const DATABASE_DAMAGED: u8 = 83;
const FILE_ACCESS: u8 = 86;
const IDENTITY_FILE: u8 = 87;

/// Every file's content, beside RocksDB's own log, in which it says what it found.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else if !path.file_name().unwrap().to_string_lossy().starts_with("LOG") {
            found.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
    found
}

fn files_ending(folder: &Path, end: &str) -> Vec<PathBuf> {
    contents(folder).into_keys().filter(|path| path.to_string_lossy().ends_with(end)).collect()
}

#[test]
fn a_second_process_on_one_data_directory_is_refused_and_the_first_goes_on() {
    let net = Network::start(1);
    let user = User::new(1, &net.peers());
    let record = user.put(user.first("kept", 0, "x")).record;
    let mut second =
        dht_tests::NodeProcess::place(net.folder().join("second"), NodeOptions::solo());
    second.options().top = format!("data_dir = {:?}", net[0].data_dir());
    second.run_to_end().expect_failure(DATA_DIR_IN_USE, "another process");
    let got = user.get(&user.slot("kept", 0)).unwrap();
    assert_eq!(got.record.bytes(), record.bytes());
    assert_eq!(user.put(user.first("more", 0, "y")).outcome.stored.len(), 1);
}

#[test]
fn a_damaged_database_is_refused_and_left_as_it_is() {
    let mut net = Network::start(1);
    let user = User::new(1, &net.peers());
    let mut put = Vec::new();
    for slot in 0..20 {
        put.push(user.put(user.first("kept", slot, vec![1; 3_000])).record);
    }
    // An orderly stop writes tables, so that there is something to damage beside the log.
    net[0].stop();
    let (data, intact) = (net[0].data_dir(), net.folder().join("intact"));
    copy_folder(&data, &intact);

    let damages: [(&str, &dyn Fn(&Path)); 4] = [
        ("a table is missing", &|db| std::fs::remove_file(&files_ending(db, ".sst")[0]).unwrap()),
        ("CURRENT names nothing", &|db| {
            std::fs::write(db.join("CURRENT"), "MANIFEST-999999\n").unwrap()
        }),
        ("the manifest is missing", &|db| {
            let manifest =
                contents(db).into_keys().find(|path| path.to_string_lossy().contains("MANIFEST"));
            std::fs::remove_file(manifest.unwrap()).unwrap();
        }),
        ("the manifest is damaged", &|db| {
            let manifest =
                contents(db).into_keys().find(|path| path.to_string_lossy().contains("MANIFEST"));
            let file = std::fs::File::options().write(true).open(manifest.unwrap()).unwrap();
            file.write_all_at(&[0xff; 64], 8).unwrap();
        }),
    ];
    for (what, damage) in damages {
        std::fs::remove_dir_all(&data).unwrap();
        copy_folder(&intact, &data);
        restrict(&data);
        damage(&data.join("db"));
        let before = contents(&data);
        let ended = net[0].run_to_end();
        assert_eq!(ended.status, i32::from(DATABASE_DAMAGED), "{what}: {ended:?}");
        ended.expect_failure(DATABASE_DAMAGED, "damaged");
        let after = contents(&data);
        for (path, bytes) in &before {
            assert!(after.get(path) == Some(bytes), "{what}: {} was changed", path.display());
        }
    }
    std::fs::remove_dir_all(&data).unwrap();
    copy_folder(&intact, &data);
    restrict(&data);
    net.start_all();
    for record in &put {
        let got = user.get(&user.slot("kept", record.slot())).unwrap();
        assert_eq!(got.record.bytes(), record.bytes(), "the intact copy has it all");
    }
}

/// The key's file is its owner's alone, in a copy too.
fn restrict(data: &Path) {
    let owner_only = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(data.join("node.key"), owner_only).unwrap();
}

#[test]
fn the_directory_of_another_network_is_refused() {
    let mut net = Network::start(1);
    net[0].stop();
    let before = contents(&net[0].data_dir());
    net[0].options().top = "network = \"other\"".to_owned();
    net[0].run_to_end().expect_failure(BAD_CONFIG, "belongs to network test");
    let after = contents(&net[0].data_dir());
    let key = net[0].data_dir().join("node.key");
    assert_eq!(before[&key], after[&key]);
    net[0].options().top.clear();
    net.start_all();
}

#[test]
fn a_node_key_that_is_damaged_or_exposed_is_refused() {
    let mut net = Network::start(1);
    net[0].stop();
    let key = net[0].data_dir().join("node.key");
    let good = std::fs::read(&key).unwrap();
    std::fs::write(&key, "not a key\n").unwrap();
    net[0].run_to_end().expect_failure(IDENTITY_FILE, "node key");
    assert_eq!(std::fs::read(&key).unwrap(), b"not a key\n", "it is left as it is");
    std::fs::write(&key, good).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    net[0].run_to_end().expect_failure(IDENTITY_FILE, "chmod 600");
    restrict(&net[0].data_dir());
    net.start_all();
}

#[test]
fn a_data_directory_that_cannot_be_made_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let top = "data_dir = \"/proc/nowhere\"".to_owned();
    let options = NodeOptions { top, ..NodeOptions::solo() };
    let node = dht_tests::NodeProcess::place(folder.path().join("node"), options);
    node.run_to_end().expect_failure(FILE_ACCESS, "/proc/nowhere");
}
