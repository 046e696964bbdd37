//! Two holders of very many records: what it costs to find them equal, and to find and fetch the few
//! that one of them lacks; and what it costs to open such a store.

use std::path::Path;
use std::time::Instant;

use dht_context::replication::RoundReport;
use dht_context::store::RecordStore;
use dht_kad::reconcile::{Cut, Prefix, ROW_KEY_LEN};
use tokio::runtime::Builder;

use super::corpus::{Corpus, open};
use super::holder::Holder;
use crate::bench::processes::own_cpu_secs;
use crate::node_process::copy_folder;
use crate::records::now;
use crate::waiting::eventually;

/// Rounds between equal holders that are measured; the median counts, since the stores tidy up
/// beside some of them.
const EQUAL_ROUNDS: usize = 21;
/// How often a store is opened; the shortest counts, since others' work only adds to it.
const OPENS: usize = 5;
/// Half bytes of the prefixes of a comparison by parts.
const PARTS_LEN: usize = 2;
/// Parts of such a comparison: as many as most neighbours share among 30 to 10,000 servers.
pub const PARTS: u8 = 32;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Records that both hold.
    pub records: u64,
    /// Records that one of them lacks.
    pub differing: u64,
    /// Bytes of each record's body.
    pub body_bytes: usize,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// How long an open takes that an empty store does not take.
    pub open_secs: f64,
    /// The processor time of it.
    pub open_cpu_secs: f64,
    /// A round between equals over all the keyspace.
    pub equal: EqualRound,
    /// The same over [`PARTS`] parts of it, as neighbours in a larger network compare.
    pub equal_in_parts: EqualRound,
    /// The round that finds and fetches what lacks.
    pub differing: RoundReport,
    /// Bytes of the records that lacked.
    pub lacking_bytes: u64,
}

/// A round between equals.
#[derive(Clone, Copy, Debug, Default)]
pub struct EqualRound {
    /// Bytes asked and answered.
    pub bytes: u64,
    /// Processor time of both sides.
    pub cpu_secs: f64,
}

/// Measures all, with the stores below `dir`.
#[must_use]
pub fn measure(dir: &Path, sizes: Sizes) -> Figures {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(measure_all(dir, sizes))
}

async fn measure_all(dir: &Path, sizes: Sizes) -> Figures {
    let corpus = Corpus::new(sizes.body_bytes);
    let [here, there, empty] = ["here", "there", "empty"].map(|name| dir.join(name));
    corpus.fill(&there, sizes.records).await;
    copy_folder(&there, &here);
    let (empty_secs, empty_cpu_secs) = opening(&empty).await;
    let (full_secs, full_cpu_secs) = opening(&here).await;

    let (here, there) = (Holder::start(&here, 1).await, Holder::start(&there, 2).await);
    let equal = equal_rounds(&here, &there, &[Prefix::all()]).await;
    let equal_in_parts = equal_in_parts(&here, &there).await;

    let numbers = sizes.records..sizes.records + sizes.differing;
    let lacking = numbers.clone().map(|number| corpus.record(number).bytes().len() as u64).sum();
    corpus.submit(there.store(), numbers).await;
    let differing = here.round(&there, &[Prefix::all()]).await;
    assert_eq!((differing.lacked, differing.fetched), (sizes.differing, sizes.differing));
    assert!(here.round(&there, &[Prefix::all()]).await.equal, "what lacked was fetched");
    here.stop().await;
    there.stop().await;
    Figures {
        open_secs: full_secs - empty_secs,
        open_cpu_secs: full_cpu_secs - empty_cpu_secs,
        equal,
        equal_in_parts,
        differing,
        lacking_bytes: lacking,
    }
}

/// How long it takes to open the store in a folder, and the processor time of that.
async fn opening(dir: &Path) -> (f64, f64) {
    let (mut least_secs, mut least_cpu_secs) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..OPENS {
        let (started, cpu_before) = (Instant::now(), own_cpu_secs());
        let store = open(dir);
        least_secs = least_secs.min(started.elapsed().as_secs_f64());
        least_cpu_secs = least_cpu_secs.min(own_cpu_secs() - cpu_before);
        store.close().await;
    }
    (least_secs, least_cpu_secs)
}

async fn equal_rounds(here: &Holder, there: &Holder, range: &[Prefix]) -> EqualRound {
    // The first one connects.
    let mut bytes = here.round(there, range).await.compare_bytes;
    let mut cpu = Vec::new();
    for _ in 0..EQUAL_ROUNDS {
        let before = own_cpu_secs();
        let report = here.round(there, range).await;
        cpu.push(own_cpu_secs() - before);
        assert!(report.equal, "{report:?}");
        bytes = bytes.max(report.compare_bytes);
    }
    EqualRound { bytes, cpu_secs: median(cpu) }
}

async fn equal_in_parts(here: &Holder, there: &Holder) -> EqualRound {
    let part = |number| {
        let mut row = [0; ROW_KEY_LEN];
        row[0] = number * (u8::MAX / PARTS + 1);
        Prefix::of(&row, PARTS_LEN)
    };
    let range: Vec<Prefix> = (0..PARTS).map(part).collect();
    let cut = Cut::at(now());
    for holder in [here, there] {
        let store = holder.store();
        store.set_resolution(PARTS_LEN);
        eventually("a store tells the parts apart", || {
            let mut groups = None;
            store.fingerprints(&mut |all| groups = all.groups(&cut, &range));
            groups
        });
    }
    equal_rounds(here, there, &range).await
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}
