//! A disk without room: puts are refused with a clear number, what was acknowledged is served, and
//! when there is room again puts are taken.
//!
//! As root, on a kernel that allows it, the node's data lies on a real disk of a few megabytes, a
//! tmpfs, which is then filled. Otherwise the floor of free bytes is set above what the disk has,
//! which shows the same refusal but not the full disk itself; the test says which of them it did.

use std::path::{Path, PathBuf};
use std::process::Command;

use dht_client::ErrorNumber;
use dht_tests::{Network, NodeOptions, User, eventually};

const FULL: [ErrorNumber; 2] = [ErrorNumber::Full, ErrorNumber::ReadOnly];

/// A small file system, unmounted when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one, if this process may.
    fn mount(at: &Path) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=48m", "tmpfs"]).arg(at);
        let mounted = mount.output().is_ok_and(|output| output.status.success());
        mounted.then(|| SmallDisk(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

#[test]
fn a_full_disk_refuses_puts_serves_what_it_has_and_recovers_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("disk");
    let Some(disk) = SmallDisk::mount(&at) else {
        eprintln!("no tmpfs can be mounted: the floor of free bytes is tested instead");
        return by_the_floor();
    };
    let options = NodeOptions {
        top: format!("data_dir = {:?}", disk.0.join("data")),
        store: "min_free_bytes = 0".to_owned(),
        ..NodeOptions::solo()
    };
    let mut node = dht_tests::NodeProcess::start(folder.path().join("node"), options);
    let user = User::new(1, &[node.peer()]);
    let mut kept = vec![user.put(user.first("kept", 0, "before")).record];
    // Somebody else fills the disk, to the last byte.
    let filler = disk.0.join("filler");
    let mut size = 40 << 20;
    let mut bytes = Vec::new();
    while size > 0 {
        bytes.resize(bytes.len() + size, 7);
        if std::fs::write(&filler, &bytes).is_err() {
            bytes.truncate(bytes.len() - size);
            size /= 2;
        }
    }
    let _ = std::fs::write(&filler, &bytes);
    let refused =
        (1..200).find_map(|slot| match user.try_put(user.first("kept", slot, vec![1; 60_000])) {
            Ok(report) => {
                kept.push(report.record);
                None
            }
            Err(error) => Some(error),
        });
    let refused = refused.expect("a full disk takes no 12 MB");
    assert!(FULL.contains(&refused.number()), "{refused}");
    let read_all = |when: &str| {
        for record in &kept {
            let got = user.get(&user.slot("kept", record.slot()));
            assert_eq!(got.unwrap().record.bytes(), record.bytes(), "{when}");
        }
    };
    read_all("while the disk is full");

    std::fs::remove_file(&filler).unwrap();
    let after = eventually("it takes puts when there is room again", || {
        user.try_put(user.first("after", 0, "room")).ok()
    });
    read_all("when there is room again");
    node.restart();
    read_all("after a restart");
    let got = user.get(&user.slot("after", 0)).unwrap();
    assert_eq!(got.record.bytes(), after.record.bytes());
    drop(node);
}

fn by_the_floor() {
    let mut net = Network::start(1);
    let user = User::new(1, &net.peers());
    let record = user.put(user.first("kept", 0, "before")).record;
    net.kill_all();
    net[0].options().store = format!("min_free_bytes = {}", 1_u64 << 62);
    net.start_all();
    let error = user.try_put(user.first("kept", 1, "more")).unwrap_err();
    assert_eq!(error.number(), ErrorNumber::Full, "{error}");
    let got = user.get(&user.slot("kept", 0)).unwrap();
    assert_eq!(got.record.bytes(), record.bytes());
    net.kill_all();
    net[0].options().store.clear();
    net.start_all();
    let _ = user.put(user.first("kept", 1, "more"));
}

#[test]
fn a_node_is_not_begun_on_a_disk_without_room() {
    const DISK_FULL: u8 = 85;
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(&folder.path().join("disk")) else {
        eprintln!("no tmpfs can be mounted: a start on a full disk is not tested");
        return;
    };
    let _ = std::fs::write(disk.0.join("filler"), vec![7; 48 << 20]);
    let options =
        NodeOptions { top: format!("data_dir = {:?}", disk.0.join("data")), ..NodeOptions::solo() };
    let node = dht_tests::NodeProcess::place(folder.path().join("node"), options);
    node.run_to_end().expect_failure(DISK_FULL, "no room");
}
