//! Letters between two people who are made for the run.
//!
//! ```text
//! meet      both publish a key bundle, Alice asks, Bob accepts
//! send      Alice's letters, handed over as `send --lines` does: accepted on disk, sealed, stored by a majority
//! receive   Bob fetches what waits: opened, checked, on disk, and read in pages as `inbox` does
//! ack       Bob is done with it: his watermark is published, the letters are taken away from the network
//! follow    Alice sends one letter after the other, and Bob, who follows, is shown each
//! ```
//!
//! Each has a profile on disk, as a user has, and a client of its own in this process: what is told of
//! processor time is both sides', and in all but `follow` only one of them does something. What a phase
//! needs and no phase before it has done is done first and not counted, so that each can be measured alone;
//! and a few letters go to and fro before the first phase that counts them.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use dht_client::entropy::Entropy;
use dht_client::letters::{LetterId, ReceivedLetter};
use dht_client::profile::Profile;
use dht_client::{Client, ClientError, ErrorNumber, Identity};
use tempfile::TempDir;
use tokio::time::{Instant, timeout};

use super::phase::{Checked, Load, Phase};
use super::values::Values;
use crate::cli::failure::Failure;
use crate::cli::session::Session;

/// The most letters of a phase: half of what one key of the network may hold, as each letter that is
/// acknowledged leaves a tombstone there.
const LETTERS_MAX: u64 = 10_000;
/// The most letters of `follow`, where one waits for the other: some seconds' worth.
const FOLLOWED_MAX: u64 = 200;
/// Letters that do not count before the first that do; those of `follow` are as many again.
const WARM_UP: u64 = 16;
/// The bits of work that the two ask of each other: as little as there is, since work is no concern of
/// this measurement.
const WORK_BITS: u8 = 1;

/// Two people, and what they have written so far.
pub(super) struct Correspondents {
    alice: Person,
    bob: Person,
    values: Values,
    met: bool,
    warm: bool,
    /// Letters that Alice has sent.
    sent: u64,
    /// Letters that Bob has read.
    read: u64,
    /// The last arrival that Bob has read.
    arrival: u64,
    /// What Bob has read and not acknowledged.
    unacknowledged: Vec<LetterId>,
    patience: Duration,
    // Dropped last, when nobody has a profile open.
    _folder: TempDir,
}

struct Person {
    public_key: [u8; 32],
    client: Client,
}

impl Correspondents {
    /// Two strangers, whose letters have this many bytes; their profiles lie below `dir`.
    pub(super) fn new(session: &Session, dir: &Path, size: usize) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("dht-bench-").tempdir_in(dir);
        let folder = folder.map_err(|error| {
            let place = dir.display();
            let sentence =
                format!("no folder can be made in {place} ({error}); give another with --dir");
            Failure::new(ErrorNumber::FileAccess, sentence)
        })?;
        let (alice, bob) = (
            Person::new(session, folder.path(), "alice")?,
            Person::new(session, folder.path(), "bob")?,
        );
        Ok(Correspondents {
            alice,
            bob,
            values: Values::new(size)?,
            met: false,
            warm: false,
            sent: 0,
            read: 0,
            arrival: 0,
            unacknowledged: Vec::new(),
            patience: session.timeout(),
            _folder: folder,
        })
    }

    /// Ends both clients.
    pub(super) async fn stop(self) {
        self.alice.client.stop().await;
        self.bob.client.stop().await;
    }

    /// Lets them become contacts, if they are not yet: one operation.
    pub(super) async fn meet(&mut self, name: &'static str, load: Load) -> Result<Phase, Failure> {
        let load = Load { count: 1, concurrency: 1, warm_up: 0, ..load };
        for person in [&self.alice, &self.bob] {
            person.client.ready().await?;
        }
        let mut phase = Phase::begin(name, load)?;
        let began = Instant::now();
        let met = self.become_contacts().await;
        phase.end();
        phase.note(0, micros_since(began), met.map(|()| Checked::Right));
        if phase.failure().is_none() {
            self.warm_up().await?;
        }
        Ok(phase)
    }

    async fn become_contacts(&mut self) -> Result<(), ClientError> {
        let (alice, bob) = (&self.alice, &self.bob);
        for person in [alice, bob] {
            // The client publishes a bundle by itself; this one is to be the last word.
            person.client.renew_own_bundle().await?;
            person.client.publish_bundle_asking(WORK_BITS).await?;
        }
        alice.client.request_contact(&bob.public_key, "bench").await?;
        bob.client.contact_requests().await?;
        bob.client.accept(&hex::encode(alice.public_key), Some("alice")).await?;
        alice.client.contact_requests().await?;
        self.met = true;
        Ok(())
    }

    /// Sees that the two know each other, and that what they keep of the network is warm.
    async fn warm_up(&mut self) -> Result<(), Failure> {
        if !self.met {
            self.become_contacts().await?;
        }
        if !self.warm {
            self.hand_over(self.letters(WARM_UP)).await?;
            self.read_all().await?;
            self.acknowledge_all().await?;
            self.warm = true;
        }
        Ok(())
    }

    /// Sends as many letters as the load says.
    pub(super) async fn send(&mut self, name: &'static str, load: Load) -> Result<Phase, Failure> {
        self.warm_up().await?;
        let load = letters_of(load, LETTERS_MAX)?;
        let letters = self.letters(load.count);
        let mut phase = Phase::begin(name, load)?;
        let sent = self.hand_over(letters).await;
        phase.end();
        note(&mut phase, load.count, sent.map(|stored| (stored, 0)), "were not stored");
        Ok(phase)
    }

    /// Fetches and reads what was sent, or as many letters as the load says that are sent first.
    pub(super) async fn receive(
        &mut self,
        name: &'static str,
        load: Load,
    ) -> Result<Phase, Failure> {
        self.warm_up().await?;
        let mut load = letters_of(load, LETTERS_MAX)?;
        if self.read == self.sent {
            self.hand_over(self.letters(load.count)).await?;
        }
        load.count = self.sent - self.read;
        let mut phase = Phase::begin(name, load)?;
        let read = self.read_all().await;
        phase.end();
        note(&mut phase, load.count, read, "did not come");
        Ok(phase)
    }

    /// Acknowledges what was read, or as many letters as the load says that are sent and read first.
    pub(super) async fn ack(&mut self, name: &'static str, load: Load) -> Result<Phase, Failure> {
        self.warm_up().await?;
        let mut load = letters_of(load, LETTERS_MAX)?;
        if self.unacknowledged.is_empty() {
            if self.read == self.sent {
                self.hand_over(self.letters(load.count)).await?;
            }
            self.read_all().await?;
        }
        load.count = self.unacknowledged.len() as u64;
        let mut phase = Phase::begin(name, load)?;
        let acknowledged = self.acknowledge_all().await;
        phase.end();
        note(&mut phase, load.count, acknowledged.map(|done| (done, 0)), "were not taken away");
        Ok(phase)
    }

    /// Sends letters one at a time while Bob follows. Each one's time runs from when it is accepted, which is
    /// before the network has acknowledged it, until it is shown.
    pub(super) async fn follow(
        &mut self,
        name: &'static str,
        load: Load,
    ) -> Result<Phase, Failure> {
        self.warm_up().await?;
        self.read_all().await?;
        self.acknowledge_all().await?;
        let load = Load { count: load.count.min(FOLLOWED_MAX), concurrency: 1, ..load };
        let mut followed = self.bob.client.follow_letters();
        let mut phase = Phase::begin(name, load)?;
        for number in 0..WARM_UP + load.count {
            if number == WARM_UP {
                phase = Phase::begin(name, load)?;
            }
            let body = self.values.body(self.sent);
            self.sent += 1;
            let handed = async {
                self.alice.client.send(&self.bob.public_key, &body).await?;
                Ok::<_, ClientError>(Instant::now())
            };
            let shown = async {
                let letter = followed.next().await?;
                Ok((letter, Instant::now()))
            };
            let both = async { tokio::try_join!(handed, shown) };
            let both = Box::pin(timeout(self.patience, both)).await;
            let both = both.unwrap_or(Err(ClientError::TimedOut(self.patience)));
            let (took_us, result) = match both {
                Ok((accepted_at, (letter, shown_at))) => {
                    let took = shown_at.saturating_duration_since(accepted_at);
                    self.note_read(&letter);
                    (micros(took), Ok(Checked::from(letter.payload == body)))
                }
                Err(error) => (0, Err(error)),
            };
            // What was not shown in time would be taken for the next.
            let failed = result.is_err();
            phase.note(number, took_us, result);
            if failed {
                break;
            }
        }
        phase.end();
        drop(followed);
        self.acknowledge_all().await?;
        Ok(phase)
    }

    /// The next letters that Alice sends.
    fn letters(&self, count: u64) -> Vec<Bytes> {
        (self.sent..self.sent + count).map(|number| self.values.body(number)).collect()
    }

    /// Has letters accepted and stored; says how many are.
    async fn hand_over(&mut self, letters: Vec<Bytes>) -> Result<u64, ClientError> {
        let client = &self.alice.client;
        let numbers = client.send_all(&self.bob.public_key, &letters).await?;
        self.sent += letters.len() as u64;
        // It waits for what the client delivers by itself, too.
        client.deliver_letters().await?;
        let first = numbers.first().copied().unwrap_or_default();
        let outbox = client.outbox()?;
        let of_these = outbox.iter().filter(|letter| letter.number >= first);
        Ok(of_these.filter(|letter| letter.state.name() == "stored").count() as u64)
    }

    /// Fetches what waits and reads it; says how many letters came, and how many of them are not what was
    /// sent in their place.
    async fn read_all(&mut self) -> Result<(u64, u64), ClientError> {
        self.bob.client.fetch_letters().await?;
        let (mut came, mut wrong) = (0, 0);
        loop {
            let page = self.bob.client.letters_after(self.arrival)?;
            if page.is_empty() {
                return Ok((came, wrong));
            }
            for letter in &page {
                came += 1;
                wrong += u64::from(letter.payload != self.values.body(self.read));
                self.note_read(letter);
            }
        }
    }

    fn note_read(&mut self, letter: &ReceivedLetter) {
        self.read += 1;
        self.arrival = letter.arrival;
        self.unacknowledged.push(letter.id);
    }

    /// Acknowledges what was read; says how many letters are gone from the network.
    async fn acknowledge_all(&mut self) -> Result<u64, ClientError> {
        let ids = std::mem::take(&mut self.unacknowledged);
        Ok(self.bob.client.ack(&ids).await?.pruned)
    }
}

impl Person {
    /// Somebody new, with a profile of this name.
    fn new(session: &Session, folder: &Path, name: &str) -> Result<Self, Failure> {
        let identity = Identity::generate()?;
        let (public_key, entropy) = (identity.public_key(), Entropy::system());
        let profile = Profile::open(&folder.join(name), &public_key, session.network(), &entropy);
        let client = session.another(identity, profile.map_err(ClientError::from)?)?;
        Ok(Person { public_key, client })
    }
}

/// The load of a phase of letters.
fn letters_of(load: Load, most: u64) -> Result<Load, Failure> {
    if load.count > most {
        let sentence = format!("a mailbox has room for {most} letters; give a smaller --count");
        return Err(Failure::new(ErrorNumber::Usage, sentence));
    }
    // Letters go in batches that the client makes itself, and are not repeated to warm up.
    Ok(Load { concurrency: 1, ..load })
}

/// Takes note of a batch: how many came to a good end, how many of these are wrong, and what is missing.
fn note(phase: &mut Phase, count: u64, result: Result<(u64, u64), ClientError>, what: &str) {
    match result {
        Ok((done, wrong)) => {
            phase.note_batch(done, wrong);
            if done < count {
                let missing = count - done;
                let sentence = format!("{missing} letters {what}; look at the nodes' logs");
                phase.note_failed(missing, ErrorNumber::QuorumNotReached, sentence);
            }
        }
        Err(error) => phase.note_failed(count, error.number(), error.to_string()),
    }
}

fn micros_since(began: Instant) -> u64 {
    micros(began.elapsed())
}

fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}
