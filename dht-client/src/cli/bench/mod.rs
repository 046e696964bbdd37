//! `bench`: measures operations against a running network, and checks what they return.
//!
//! Each kind of operation is a [`phase`]: a few operations that do not count, then `--count` of them
//! with `--concurrency` at once, on one connection a server. What is put lies in slots that were
//! never used, under a throwaway identity unless `--identity` is given, and is signed within the
//! operation, as a user does. What is got is compared byte by byte with what was put.
//!
//! | op | is | `wrong` counts |
//! |---|---|---|
//! | put | lookup, sign, store on a majority | nothing |
//! | get | of what this run put | other bytes, or nothing there |
//! | fetch | a get without the signature check | the same |
//! | miss | a get of what was never put | anything found |
//! | lookup | of a random key | nothing |
//! | meet, send, receive, ack, follow | letters between two people: see [`letters`] | other letters |

mod letters;
mod phase;
mod values;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use dht_client::{
    Client, ClientError, Consistency, GetError, GetOptions, Identity, Key, Put, Slot,
};
use dht_kad::record::layout::BODY_MAX;

use super::arguments;
use super::failure::Failure;
use super::session::Session;
use letters::Correspondents;
use phase::{Checked, Load, Phase};
use values::Values;

/// The most operations of a phase: half of a publisher's share of a store with default limits, so
/// that a run beside it still fits.
const COUNT_MAX: u64 = 50_000;
/// The most operations at once: beyond this a node's limits per connection are what is measured.
const CONCURRENCY_MAX: u64 = 4096;
/// Operations before each phase that do not count: they open connections and fill caches.
const WARM_UP_MAX: u64 = 64;

/// Arguments of `bench`.
#[derive(Args)]
pub(crate) struct BenchArgs {
    /// What to measure, in this order; besides the default there are meet, send, receive, ack and follow.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "put,get,fetch,miss,lookup")]
    ops: Vec<Op>,
    /// Operations a phase.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=COUNT_MAX))]
    count: u64,
    /// Bytes of each value or letter.
    #[arg(long, value_name = "BYTES", default_value_t = 1024, value_parser = clap::value_parser!(u64).range(0..=BODY_MAX as u64))]
    size: u64,
    /// Operations at once.
    #[arg(long, value_name = "C", default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..=CONCURRENCY_MAX))]
    concurrency: u64,
    /// How many holders a get asks: one, default or quorum.
    #[arg(long, value_name = "HOW", default_value = "default", value_parser = arguments::consistency)]
    consistency: Consistency,
    /// Where the profiles of those who write letters are kept meanwhile: the disk that is measured.
    /// [default: the system's folder for temporary files]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// A kind of operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Op {
    /// Sign and put a new value.
    Put,
    /// Get a value that was put.
    Get,
    /// Get it without checking the signature.
    Fetch,
    /// Get what was never put.
    Miss,
    /// Find the nodes closest to a random key.
    Lookup,
    /// Become contacts: once.
    Meet,
    /// Send letters: accepted on disk, sealed, and stored by a majority.
    Send,
    /// Receive what was sent: fetched, opened, on disk and read.
    Receive,
    /// Be done with what was received: said to the sender, and taken away from the network.
    Ack,
    /// Send letters one at a time to somebody who follows: from accepted to shown.
    Follow,
}

/// One run: the client, and what it puts; and two people, once they write to each other.
struct Bench<'a> {
    session: &'a Session,
    client: Client,
    publisher: [u8; 32],
    values: Values,
    options: GetOptions,
    dir: PathBuf,
    people: Option<Correspondents>,
}

impl BenchArgs {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let identity = match session.given_identity()? {
            Some(identity) => identity,
            None => Identity::generate()?,
        };
        let publisher = identity.public_key();
        let client = session.writer(identity)?;
        client.ready().await?;
        let size = usize::try_from(self.size).unwrap_or(BODY_MAX);
        let values = Values::new(size)?;
        let options = GetOptions { consistency: self.consistency, verify: true };
        let dir = self.dir.unwrap_or_else(std::env::temp_dir);
        let mut bench = Bench { session, client, publisher, values, options, dir, people: None };
        let load = Load {
            count: self.count,
            concurrency: usize::try_from(self.concurrency).unwrap_or(1),
            warm_up: self.count.min(WARM_UP_MAX),
            size,
        };
        let mut written = Vec::new();
        let mut failure = None;
        for op in &self.ops {
            let reads = matches!(op, Op::Get | Op::Fetch);
            if reads && written.is_empty() {
                written = bench.put_uncounted(load).await?;
            }
            let phase = Box::pin(bench.measure(*op, load, &written)).await?;
            phase.print(session.json())?;
            failure = failure.or_else(|| phase.failure());
            if *op == Op::Put {
                written = phase.succeeded;
            }
        }
        if let Some(people) = bench.people {
            people.stop().await;
        }
        failure.map_or(Ok(()), Err)
    }
}

impl Op {
    fn name(self) -> &'static str {
        match self {
            Op::Put => "put",
            Op::Get => "get",
            Op::Fetch => "fetch",
            Op::Miss => "miss",
            Op::Lookup => "lookup",
            Op::Meet => "meet",
            Op::Send => "send",
            Op::Receive => "receive",
            Op::Ack => "ack",
            Op::Follow => "follow",
        }
    }
}

impl Bench<'_> {
    /// Runs one phase. Gets read the values that `written` names, over and over.
    async fn measure(&mut self, op: Op, load: Load, written: &[u64]) -> Result<Phase, Failure> {
        let pick = |number: u64| {
            let place = number.checked_rem(written.len() as u64).unwrap_or(0);
            written.get(usize::try_from(place).unwrap_or(0)).copied().unwrap_or(0)
        };
        let name = op.name();
        match op {
            Op::Put => phase::run(name, load, |number| self.put(number)).await,
            Op::Get => phase::run(name, load, |number| self.get(pick(number), true)).await,
            Op::Fetch => phase::run(name, load, |number| self.get(pick(number), false)).await,
            Op::Miss => phase::run(name, load, |number| self.miss(number)).await,
            Op::Lookup => phase::run(name, load, |number| self.lookup(number)).await,
            Op::Meet => self.people(load)?.meet(name, load).await,
            Op::Send => self.people(load)?.send(name, load).await,
            Op::Receive => self.people(load)?.receive(name, load).await,
            Op::Ack => self.people(load)?.ack(name, load).await,
            Op::Follow => Box::pin(self.people(load)?.follow(name, load)).await,
        }
    }

    /// The two who write letters, made when they are needed first.
    fn people(&mut self, load: Load) -> Result<&mut Correspondents, Failure> {
        let people = match self.people.take() {
            Some(people) => people,
            None => Correspondents::new(self.session, &self.dir, load.size)?,
        };
        Ok(self.people.insert(people))
    }

    /// Puts what the gets read, where no put is measured before them.
    async fn put_uncounted(&self, load: Load) -> Result<Vec<u64>, Failure> {
        let phase = phase::run(Op::Put.name(), load, |number| self.put(number)).await?;
        match (phase.succeeded.is_empty(), phase.failure()) {
            (true, Some(failure)) => Err(failure),
            _ => Ok(phase.succeeded),
        }
    }

    async fn put(&self, number: u64) -> Result<Checked, ClientError> {
        let label = self.client.label(&self.values.label(number));
        let put = Put { first_version: true, ..Put::owned(label, self.values.body(number)) };
        self.client.put(put).await.map(|_| Checked::Right)
    }

    async fn get(&self, number: u64, verify: bool) -> Result<Checked, ClientError> {
        let options = GetOptions { verify, ..self.options };
        let got = self.client.get(&self.slot(&self.values.label(number)), options).await;
        let body = match got {
            Ok(report) => report.record.body(),
            Err(ClientError::Get(GetError::NotFound | GetError::Deleted)) => None,
            Err(error) => return Err(error),
        };
        Ok(Checked::from(body == Some(self.values.body(number))))
    }

    async fn miss(&self, number: u64) -> Result<Checked, ClientError> {
        let slot = self.slot(&self.values.missing_label(number));
        match self.client.get(&slot, self.options).await {
            Ok(_) => Ok(Checked::Wrong),
            Err(ClientError::Get(GetError::NotFound)) => Ok(Checked::Right),
            Err(error) => Err(error),
        }
    }

    async fn lookup(&self, number: u64) -> Result<Checked, ClientError> {
        let key = Key(self.client.label(&self.values.missing_label(number)));
        self.client.lookup(&key).await.map(|_| Checked::Right)
    }

    fn slot(&self, label: &str) -> Slot {
        Slot::Owned { publisher: self.publisher, label: self.client.label(label), slot: 0 }
    }
}
