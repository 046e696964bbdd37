//! Replays the fuzz targets' committed corpora, so that what fuzzing once found stays right where
//! no fuzzer is installed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../fuzz/checks.rs"]
mod checks;

use std::fs;
use std::path::Path;

/// The most bytes of all corpora together: they are a start for the fuzzer, not its memory.
const CORPORA_MAX: usize = 200 * 1024;

#[test]
fn every_input_of_the_corpora_passes_its_check() {
    let mut total = 0;
    for (target, check) in checks::TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
        let inputs: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(inputs.len() >= 5, "{target} has too small a corpus");
        for input in inputs {
            let bytes = fs::read(&input).unwrap();
            check(&bytes);
            total += bytes.len();
        }
    }
    assert!(total < CORPORA_MAX, "the corpora have {total} bytes");
}

/// Each record in a corpus, cut and changed at every place, is still read safely.
#[test]
fn damaged_inputs_pass_their_checks_too() {
    for (target, check) in checks::TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
        for entry in fs::read_dir(folder).unwrap() {
            let bytes = fs::read(entry.unwrap().path()).unwrap();
            for at in 0..bytes.len().min(400) {
                check(&bytes[..at]);
                for change in [1, 0x80, 0xff] {
                    let mut changed = bytes.clone();
                    changed[at] ^= change;
                    check(&changed);
                }
            }
        }
    }
}

/// Steps of made-up puts, from a counter in place of chance.
#[test]
fn made_up_puts_keep_the_rules_of_admission() {
    for round in 0..2_000_u32 {
        let mut steps = Vec::new();
        for part in 0..6_u32 {
            steps.extend_from_slice(blake3_of(round, part).as_slice());
        }
        checks::plan_puts(&steps);
    }
}

fn blake3_of(round: u32, part: u32) -> [u8; 32] {
    *blake3::hash(&[round.to_be_bytes(), part.to_be_bytes()].concat()).as_bytes()
}
