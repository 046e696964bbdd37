//! [`Correspondence`]: two people write to each other in a simulated network that loses packets, falls
//! apart and loses all its nodes at once; neither of them loses or repeats a letter.
//!
//! ```text
//! servers ◀─ lossy links, a cut, a crash of all ─▶ hosts that only ask
//!                                                    ├─ Alice: one device
//!                                                    └─ Bob: two devices, of which one reads much later
//! ```
//!
//! The clients are the library's own over the simulator's nodes. A device that is switched off keeps its
//! profile.

use std::time::Duration;

use dht_client::entropy::Entropy;
use dht_client::letters::{OutboxState, ReceivedLetter};
use dht_client::profile::Profile;
use dht_client::{Client, ClientError, ContactRequest, Identity};
use dht_sim::{Failure, HostId, Scenario, World};
use futures_util::future::BoxFuture;
use tokio::time::Instant;

/// Letters that Alice writes, in bursts.
const BURSTS: u32 = 20;
const BURST: u32 = 10;
/// Between two bursts at most.
const PAUSE: Duration = Duration::from_secs(120);
/// How long the network is in two.
const CUT: Duration = Duration::from_secs(15 * 60);
/// Of a thousand packets so many are lost, and so many letters of the network overtaken.
const LOSS_PERMILLE: u32 = 20;
/// All nodes are ready so long after the last one was started.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// What has to come comes within this, once nothing stands in its way.
const WITHIN: Duration = Duration::from_secs(2 * 3600);
/// Between two looks for what is not there yet.
const LOOK_AGAIN: Duration = Duration::from_secs(20);
/// How long one operation of a client may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Letters between people who are not there at the same time.
pub struct Correspondence;

/// A person's device: what is left of it when it is switched off.
struct Device {
    host: HostId,
    identity: Identity,
    entropy: Entropy,
    profile: Profile,
    /// What the application on it was given, in this order.
    read: Vec<String>,
}

impl Scenario for Correspondence {
    fn name(&self) -> &'static str {
        "correspondence"
    }

    fn about(&self) -> &'static str {
        "Alice writes while Bob is away, packets are lost, the network is cut in two and all nodes crash: \
         each of Bob's devices gets each letter once, in order"
    }

    fn nodes(&self) -> usize {
        9
    }

    fn run<'a>(&'a self, world: &'a mut World) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(play(world))
    }
}

async fn play(world: &mut World) -> Result<(), Failure> {
    let mut dice = world.dice("correspondence");
    let servers: Vec<HostId> = (0..world.host_count()).collect();
    for id in &servers {
        world.start(*id, first(&servers))?;
    }
    world.all_ready(READY_WITHIN).await?;
    let mut alice = Device::new(world, 1, 1)?;
    let mut bob = Device::new(world, 2, 2)?;
    let mut bobs_other = Device::new(world, 2, 3)?;
    world.network().set_loss(LOSS_PERMILLE);
    world.network().set_detours(LOSS_PERMILLE);

    let writer = alice.switch_on(world, &servers)?;
    meet(world, &writer, &mut bob, &mut bobs_other, &servers).await?;
    let to = bob.identity.public_key();
    let (cut_at, crash_at) = (dice.below(u64::from(BURSTS)), dice.below(u64::from(BURSTS)));
    let mut healed_at = None;
    for burst in 0..BURSTS {
        let letters: Vec<String> = (0..BURST).map(|place| text_of(burst * BURST + place)).collect();
        writer.send_all(&to, &letters).await.map_err(|error| failed("Alice sends", &error))?;
        if u64::from(burst) == cut_at {
            let (one, mut other) = servers.split_at(servers.len() / 2);
            let other: Vec<_> =
                std::mem::take(&mut other).iter().copied().chain([alice.host]).collect();
            world.split(one, &other);
            healed_at = Some(Instant::now() + CUT);
        }
        if u64::from(burst) == crash_at {
            world.crash(&servers).await;
            for id in &servers {
                world.start(*id, first(&servers))?;
            }
        }
        world.live(dice.between(Duration::ZERO, PAUSE)).await;
        if healed_at.is_some_and(|at| at <= Instant::now()) {
            world.heal();
        }
    }
    world.live(CUT).await;
    world.heal();

    let sent: Vec<String> = (0..BURSTS * BURST).map(text_of).collect();
    bob.reads_all(world, &servers, &sent).await?;
    bob.switch_off(world).await;
    bobs_other.reads_all(world, &servers, &sent).await?;
    let began = Instant::now();
    while began.elapsed() < WITHIN {
        let told = writer.refresh_outbox().await;
        let outbox = writer.outbox().map_err(|error| failed("Alice looks", &error))?;
        if told.is_ok() && outbox.iter().all(|letter| letter.state == OutboxState::Fetched) {
            world.note(format!("{} letters, each read once on two devices", sent.len()));
            alice.switch_off(world).await;
            return Ok(());
        }
        world.live(LOOK_AGAIN).await;
    }
    Err(Failure::Expected("Alice never learns that all of her letters were read".to_owned()))
}

/// Alice asks, Bob accepts on one device, and the other one learns of it. Then Bob goes away.
async fn meet(
    world: &mut World,
    alice: &Client,
    bob: &mut Device,
    bobs_other: &mut Device,
    servers: &[HostId],
) -> Result<(), Failure> {
    let reader = &bob.switch_on(world, servers)?;
    until(world, "Bob publishes his keys", || Box::pin(reader.publish_bundle())).await?;
    until(world, "Alice publishes hers", || Box::pin(alice.publish_bundle())).await?;
    let to = bob.identity.public_key();
    let ask = || alice.request_contact(&to, "it is me");
    until(world, "Alice asks", || Box::pin(ask())).await?;
    let asked = until(world, "Bob is asked", || Box::pin(first_request(reader))).await?;
    let who = hex::encode(asked.sender);
    until(world, "Bob accepts", || Box::pin(reader.accept(&who, Some("alice")))).await?;
    // A device is waited for once it has said that it is there.
    let other = &bobs_other.switch_on(world, servers)?;
    until(world, "Bob's other device recovers", || Box::pin(recovered(other))).await?;
    until(world, "Bob's other device looks", || Box::pin(other.fetch_letters())).await?;
    until(world, "Bob's device looks", || Box::pin(reader.fetch_letters())).await?;
    bobs_other.switch_off(world).await;
    bob.switch_off(world).await;
    Ok(())
}

/// The first request that waits.
async fn first_request(reader: &Client) -> Result<ContactRequest, ClientError> {
    let report = reader.contact_requests().await?;
    report.requests.into_iter().next().ok_or(ClientError::TimedOut(PATIENCE))
}

/// Brings back the contact that another device has made.
async fn recovered(client: &Client) -> Result<(), ClientError> {
    match client.recover().await?.found {
        0 => Err(ClientError::TimedOut(PATIENCE)),
        _ => Ok(()),
    }
}

/// Does something again until it succeeds.
async fn until<'a, T>(
    world: &World,
    what: &str,
    attempt: impl Fn() -> BoxFuture<'a, Result<T, ClientError>> + Send,
) -> Result<T, Failure> {
    let began = Instant::now();
    loop {
        match attempt().await {
            Ok(done) => return Ok(done),
            Err(error) if began.elapsed() > WITHIN => return Err(failed(what, &error)),
            Err(_) => world.live(LOOK_AGAIN).await,
        }
    }
}

impl Device {
    fn new(world: &mut World, person: u64, number: u64) -> Result<Self, Failure> {
        let identity = Identity::from_root(&world.seed().derive("person", person));
        let entropy = Entropy::from_seed(world.seed().derive("entropy", number));
        let owner = identity.public_key();
        let profile = Profile::in_memory(&owner, world.network_name(), &entropy)
            .map_err(|error| Failure::Expected(error.to_string()))?;
        Ok(Device { host: world.add_host(), identity, entropy, profile, read: Vec::new() })
    }

    fn switch_on(&mut self, world: &mut World, servers: &[HostId]) -> Result<Client, Failure> {
        world.start_client(self.host, first(servers))?;
        let context = world.user(self.host)?.context().clone();
        let builder = Client::builder(world.network_name().clone())
            .identity(self.identity.clone())
            .profile(self.profile.clone())
            .entropy(self.entropy.clone())
            .timeout(PATIENCE);
        Ok(builder.over(context))
    }

    async fn switch_off(&mut self, world: &mut World) {
        world.stop(&[self.host]).await;
    }

    /// Comes back, and reads and acknowledges until all that was sent has come: each letter once, in
    /// its order. Half-way it is switched off and on again.
    async fn reads_all(
        &mut self,
        world: &mut World,
        servers: &[HostId],
        sent: &[String],
    ) -> Result<(), Failure> {
        let began = Instant::now();
        let mut client = self.switch_on(world, servers)?;
        let mut interrupted = false;
        while self.read.len() < sent.len() {
            if began.elapsed() > WITHIN {
                let what = format!("only {} of {} letters came", self.read.len(), sent.len());
                return Err(Failure::Expected(what));
            }
            // Whatever could not be fetched is fetched the next time.
            let _ = client.fetch_letters().await;
            let letters = client.letters().map_err(|error| failed("Bob reads", &error))?;
            self.take(&letters, sent)?;
            let ids: Vec<_> = letters.iter().map(|letter| letter.id).collect();
            client.ack(&ids).await.map_err(|error| failed("Bob acknowledges", &error))?;
            if !interrupted && !self.read.is_empty() {
                interrupted = true;
                self.switch_off(world).await;
                client = self.switch_on(world, servers)?;
            }
            world.live(LOOK_AGAIN).await;
        }
        // Nothing comes again.
        let client = &client;
        until(world, "Bob looks again", || Box::pin(client.fetch_letters())).await?;
        match client.letters() {
            Ok(letters) if letters.is_empty() => Ok(()),
            other => Err(Failure::Expected(format!("after all were read there is {other:?}"))),
        }
    }

    fn take(&mut self, letters: &[ReceivedLetter], sent: &[String]) -> Result<(), Failure> {
        for letter in letters {
            let text = String::from_utf8_lossy(&letter.payload).into_owned();
            let expected = sent.get(self.read.len());
            if Some(&text) != expected || letter.missed != 0 {
                let what = format!("after {} letters came «{text}»", self.read.len());
                return Err(Failure::Expected(what));
            }
            self.read.push(text);
        }
        Ok(())
    }
}

/// Whom everybody asks first.
fn first(servers: &[HostId]) -> &[HostId] {
    &servers[..servers.len().min(3)]
}

fn text_of(number: u32) -> String {
    format!("letter {number}")
}

fn failed(what: &str, error: &ClientError) -> Failure {
    Failure::Expected(format!("{what}: {error}"))
}
