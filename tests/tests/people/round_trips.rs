//! How often the network is asked for what fifty contacts write, in a simulated network where each way takes
//! the same time and computing takes none: what passes between two moments is round trips and nothing else.

use std::time::Duration;

use dht_client::entropy::Entropy;
use dht_client::letters::ReceivedLetter;
use dht_client::profile::Profile;
use dht_client::{Client, ClientError, Identity};
use dht_sim::disk::DiskModel;
use dht_sim::transport::LinkModel;
use dht_sim::{Failure, HostId, Scenario, Settings, World, simulate};
use futures_util::future::{BoxFuture, try_join_all};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

const SERVERS: usize = 5;
const CONTACTS: u64 = 50;
/// From any host to any other.
const WAY: Duration = Duration::from_millis(10);
const ROUND_TRIP: Duration = Duration::from_millis(20);
/// What has to happen happens within this.
const WITHIN: Duration = Duration::from_secs(60);
/// The bits of work that these people ask of each other.
const WORK_BITS: u8 = 1;
/// Letters of somebody who has most to say.
const MANY: usize = 30;
/// How long nothing comes, each time; all of it together is shorter than the ten minutes after which a watch
/// looks again though nothing is amiss.
const IDLE: Duration = Duration::from_secs(2 * 60);
/// A follower is shown a letter so soon after its put was acknowledged.
const SHOWN_WITHIN: Duration = Duration::from_millis(100);

/// Somebody with a client of his own.
struct Person {
    key: [u8; 32],
    client: Client,
}

/// One person, and those who write to him.
struct Circle {
    reader: Person,
    writers: Vec<Person>,
}

type Story = fn(&World, Circle) -> BoxFuture<'_, Result<(), Failure>>;

/// A story of so many people who have met.
struct Told(u64, Story);

impl Scenario for Told {
    fn name(&self) -> &'static str {
        "round-trips"
    }

    fn about(&self) -> &'static str {
        "contacts write, and the network is asked as seldom as can be"
    }

    fn nodes(&self) -> usize {
        SERVERS
    }

    fn run<'a>(&'a self, world: &'a mut World) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            let circle = Circle::gather(world, self.0).await?;
            (self.1)(world, circle).await
        })
    }
}

fn play(contacts: u64, story: Story) {
    let links = LinkModel {
        nearest: WAY,
        width: Duration::ZERO,
        jitter: Duration::ZERO,
        ..LinkModel::default()
    };
    let disks = DiskModel { sync_shortest: Duration::ZERO, sync_longest: Duration::ZERO };
    let settings = Settings { links, disks, ..Settings::new(1, SERVERS) };
    let run = simulate(&Told(contacts, story), settings).unwrap();
    assert_eq!(run.verdict, Ok(()));
}

#[test]
fn what_fifty_contacts_wrote_is_fetched_in_three_round_trips_once_holders_are_known() {
    play(CONTACTS, |_, circle| Box::pin(fetches(circle)));
}

async fn fetches(circle: Circle) -> Result<(), Failure> {
    let reader = &circle.reader.client;
    circle.all_write(&["first"]).await?;
    // Here it learns who holds what, and says that it is there.
    circle.fetch(CONTACTS).await?;

    circle.all_write(&["second"]).await?;
    let before = asked(reader);
    let took = circle.fetch(CONTACTS).await?;
    within("one letter of each", took, 3)?;
    let after = asked(reader);
    same("lookups", before.find_node, after.find_node)?;
    same("puts", before.store, after.store)?;

    let nothing_came = circle.fetch(0).await?;
    within("nothing", nothing_came, 1)?;

    // As much as one page of a mailbox holds.
    let many: Vec<String> =
        (0..MANY).map(|number| format!("{number}{}", "x".repeat(900))).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    circle.all_write(&many).await?;
    let took = circle.fetch(CONTACTS * MANY as u64).await?;
    within("many letters of each", took, 3)
}

#[test]
fn who_follows_asks_nothing_while_nothing_comes_and_sees_at_once_what_does() {
    play(3, |world, circle| Box::pin(follows(world, circle)));
}

async fn follows(world: &World, circle: Circle) -> Result<(), Failure> {
    let (shown, mut letters) = mpsc::unbounded_channel();
    let mut stream = circle.reader.client.follow_letters();
    let follower = tokio::spawn(async move {
        while let Ok(letter) = stream.next().await {
            if shown.send((Instant::now(), letter)).is_err() {
                return;
            }
        }
    });
    circle.all_write(&["before"]).await?;
    for _ in &circle.writers {
        next(&mut letters).await?;
    }
    // Its watch stands, and what it begins with is done.
    world.live(WITHIN).await;
    for round in 0..3 {
        let before = asked(&circle.reader.client);
        world.live(IDLE).await;
        let after = asked(&circle.reader.client);
        same("finds", before.find, after.find)?;
        same("puts", before.store, after.store)?;
        same("watches", before.watch, after.watch)?;
        for writer in &circle.writers {
            let text = format!("{round}");
            let acknowledged_at = circle.write(writer, &[text.as_str()]).await?;
            let (shown_at, letter) = next(&mut letters).await?;
            let took = shown_at.saturating_duration_since(acknowledged_at);
            expect(letter.payload == text.as_bytes(), || format!("{letter:?} is not «{text}»"))?;
            expect(took <= SHOWN_WITHIN, || format!("a letter was shown after {took:?}"))?;
        }
    }
    follower.abort();
    Ok(())
}

async fn next(
    letters: &mut mpsc::UnboundedReceiver<(Instant, ReceivedLetter)>,
) -> Result<(Instant, ReceivedLetter), Failure> {
    let letter = timeout(WITHIN, letters.recv()).await.ok().flatten();
    letter.ok_or_else(|| Failure::Expected("a letter is not shown".to_owned()))
}

impl Circle {
    /// Servers, a reader, and so many contacts of his.
    async fn gather(world: &mut World, contacts: u64) -> Result<Self, Failure> {
        let servers: Vec<HostId> = (0..world.host_count()).collect();
        for id in &servers {
            world.start(*id, &servers[..1])?;
        }
        world.all_ready(WITHIN).await?;
        let reader = Person::new(world, 0, &servers)?;
        let writers: Result<Vec<_>, _> =
            (1..=contacts).map(|number| Person::new(world, number, &servers)).collect();
        let circle = Circle { reader, writers: writers? };
        circle.meet().await.map_err(|error| failed("they meet", &error))?;
        Ok(circle)
    }

    async fn meet(&self) -> Result<(), ClientError> {
        let (reader, writers) = (&self.reader, &self.writers);
        for person in writers.iter().chain([reader]) {
            person.client.renew_own_bundle().await?;
            person.client.publish_bundle_asking(WORK_BITS).await?;
        }
        for writer in writers {
            writer.client.request_contact(&reader.key, "it is me").await?;
        }
        reader.client.contact_requests().await?;
        for writer in writers {
            reader.client.accept(&hex::encode(writer.key), None).await?;
            writer.client.contact_requests().await?;
        }
        Ok(())
    }

    /// Each sends these letters, all at the same time.
    async fn all_write(&self, letters: &[&str]) -> Result<(), Failure> {
        try_join_all(self.writers.iter().map(|writer| self.write(writer, letters))).await?;
        Ok(())
    }

    /// One sends these letters; says when all were acknowledged.
    async fn write(&self, writer: &Person, letters: &[&str]) -> Result<Instant, Failure> {
        let sent = async {
            writer.client.send_all(&self.reader.key, letters).await?;
            writer.client.deliver_letters().await
        };
        let delivery = sent.await.map_err(|error| failed("a letter is sent", &error))?;
        expect(delivery.failed == 0, || format!("{delivery:?}"))?;
        Ok(Instant::now())
    }

    /// Fetches, and says how long that took.
    async fn fetch(&self, expected: u64) -> Result<Duration, Failure> {
        let began = Instant::now();
        let report = self.reader.client.fetch_letters().await;
        let report = report.map_err(|error| failed("letters are fetched", &error))?;
        let complete = report.ready == expected && report.awaited + report.failed == 0;
        expect(complete, || format!("of {expected} letters came {report:?}"))?;
        Ok(began.elapsed())
    }
}

impl Person {
    fn new(world: &mut World, number: u64, servers: &[HostId]) -> Result<Self, Failure> {
        let host = world.add_host();
        world.start_client(host, &servers[..1])?;
        let identity = Identity::from_root(&world.seed().derive("person", number));
        let entropy = Entropy::from_seed(world.seed().derive("entropy", number));
        let key = identity.public_key();
        let profile = Profile::in_memory(&key, world.network_name(), &entropy).unwrap();
        let builder = Client::builder(world.network_name().clone())
            .identity(identity)
            .profile(profile)
            .entropy(entropy)
            .timeout(WITHIN);
        Ok(Person { key, client: builder.over(world.user(host)?.context().clone()) })
    }
}

/// How many requests of each kind a client has asked.
struct Asked {
    find_node: u64,
    find: u64,
    store: u64,
    watch: u64,
}

fn asked(client: &Client) -> Asked {
    let stats = client.stats();
    let count = |kind| {
        let counts = stats.asked.iter().find(|(name, _)| *name == kind).unwrap().1;
        counts.ok + counts.refused + counts.failed
    };
    Asked {
        find_node: count("find_node"),
        find: count("find"),
        store: count("store"),
        watch: count("watch"),
    }
}

fn within(what: &str, took: Duration, round_trips: u32) -> Result<(), Failure> {
    let most = ROUND_TRIP * round_trips;
    expect(took <= most, || format!("{what} took {took:?} at {ROUND_TRIP:?} a round trip"))
}

fn same(what: &str, before: u64, after: u64) -> Result<(), Failure> {
    expect(before == after, || format!("{} {what} were asked", after - before))
}

fn expect(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), Failure> {
    if holds { Ok(()) } else { Err(Failure::Expected(otherwise())) }
}

fn failed(what: &str, error: &ClientError) -> Failure {
    Failure::Expected(format!("{what}: {error}"))
}
