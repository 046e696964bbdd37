//! [`Correspondence`]: two people write to each other in a simulated network that loses packets, falls
//! apart and loses all its nodes at once, and their own devices die, too; neither of them loses or repeats
//! a letter.
//!
//! ```text
//! servers ◀─ lossy links, cuts, a crash of all ─▶ hosts that only ask
//!                                                   ├─ Alice: one device, which dies while it sends
//!                                                   └─ Bob: two, which die while they read, one after the other
//! ```
//!
//! The clients are the library's own over the simulator's nodes. A device that dies or is switched off
//! keeps its profile, and nothing else.

use std::time::Duration;

use dht_client::entropy::Entropy;
use dht_client::letters::{OutboxState, ReceivedLetter};
use dht_client::profile::Profile;
use dht_client::{Client, ClientError, ContactRequest, Identity};
use dht_sim::dice::Dice;
use dht_sim::{Failure, HostId, Scenario, World};
use futures_util::future::BoxFuture;
use tokio::time::{Instant, timeout};

/// Alice writes a thousand letters, so many bursts of so many.
const BURSTS: u32 = 20;
const BURST: u32 = 50;
/// Between two bursts at most.
const PAUSE: Duration = Duration::from_secs(120);
/// So long at most after it was begun, a burst or a look into the mailbox is struck: in its midst.
const MIDST: Duration = Duration::from_millis(500);
/// How long the network is in two.
const CUT: Duration = Duration::from_secs(15 * 60);
/// Of a thousand packets so many are lost, and as many are overtaken.
const LOSS_PERMILLE: u32 = 20;
/// Of a thousand looks into the mailbox so many end in the device's death.
const DEATH_PERMILLE: u32 = 250;
/// Letters that Bob reads at a sitting.
const SITTING: usize = 100;
/// All nodes are ready so long after the last one was started.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// What has to come comes within this, once nothing stands in its way.
const WITHIN: Duration = Duration::from_secs(2 * 3600);
/// Between two looks for what is not there yet.
const LOOK_AGAIN: Duration = Duration::from_secs(20);
/// How long one operation of a client may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Nodes that everybody knows of.
const KNOWN: usize = 3;

/// Letters between people who are not there at the same time.
pub struct Correspondence;

impl Scenario for Correspondence {
    fn name(&self) -> &'static str {
        "correspondence"
    }

    fn about(&self) -> &'static str {
        "Alice writes while Bob is away, packets are lost, the network is cut in two, all nodes crash and \
         the devices die: each of Bob's two gets each letter once, in order"
    }

    fn nodes(&self) -> usize {
        9
    }

    fn run<'a>(&'a self, world: &'a mut World) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(play(world))
    }
}

async fn play(world: &mut World) -> Result<(), Failure> {
    let mut weather = Weather::over(world);
    weather.start_all(world)?;
    world.all_ready(READY_WITHIN).await?;
    let known = known(&weather.servers).to_vec();
    let mut alice = Device::new(world, &known, (1, 1))?;
    let mut bob = Device::new(world, &known, (2, 2))?;
    let mut bobs_other = Device::new(world, &known, (2, 3))?;
    world.network().set_loss(LOSS_PERMILLE);
    world.network().set_detours(LOSS_PERMILLE);

    let writer = alice.switch_on(world)?;
    meet(world, &writer, &bob, &bobs_other).await?;
    let sent: Vec<String> = (0..BURSTS * BURST).map(text_of).collect();
    let to = bob.identity.public_key();
    let (writer, queued) = alice.writes_all(world, &mut weather, writer, (&to, &sent)).await?;
    weather.clear_up(world).await;

    weather.cut(world, bob.host);
    bob.reads_all(world, &mut weather, &sent).await?;
    weather.cut(world, bobs_other.host);
    bobs_other.reads_all(world, &mut weather, &sent).await?;
    weather.clear_up(world).await;
    let learned = until(world, "Alice learns of it", || Box::pin(all_fetched(&writer))).await?;
    world.note(format!("{learned} letters read once on each of two devices"));
    world.note(format!("at most {queued} waited to be handed over"));
    world.note(format!("Bob's devices died {} times", bob.deaths + bobs_other.deaths));
    Ok(())
}

/// Alice asks, Bob accepts on one device, and the other one learns of it. Then Bob goes away.
async fn meet(
    world: &mut World,
    alice: &Client,
    bob: &Device,
    bobs_other: &Device,
) -> Result<(), Failure> {
    let reader = &bob.switch_on(world)?;
    until(world, "Bob publishes his keys", || Box::pin(reader.publish_bundle())).await?;
    until(world, "Alice publishes hers", || Box::pin(alice.publish_bundle())).await?;
    let to = bob.identity.public_key();
    let ask = || alice.request_contact(&to, "it is me");
    until(world, "Alice asks", || Box::pin(ask())).await?;
    let asked = until(world, "Bob is asked", || Box::pin(first_request(reader))).await?;
    let who = hex::encode(asked.sender);
    until(world, "Bob accepts", || Box::pin(reader.accept(&who, Some("alice")))).await?;
    // A device is waited for once it has said that it is there.
    let other = &bobs_other.switch_on(world)?;
    until(world, "Bob's other device recovers", || Box::pin(recovered(other))).await?;
    until(world, "Bob's other device looks", || Box::pin(other.fetch_letters())).await?;
    until(world, "Bob's device looks", || Box::pin(reader.fetch_letters())).await?;
    world.stop(&[bobs_other.host, bob.host]).await;
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

/// How many letters were sent, once all of them were read.
async fn all_fetched(writer: &Client) -> Result<usize, ClientError> {
    writer.refresh_outbox().await?;
    let outbox = writer.outbox()?;
    let all = outbox.iter().all(|letter| letter.state == OutboxState::Fetched);
    all.then_some(outbox.len()).ok_or(ClientError::TimedOut(PATIENCE))
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

/// What befalls the nodes.
struct Weather {
    servers: Vec<HostId>,
    dice: Dice,
    /// When the network grows together again.
    heals_at: Option<Instant>,
}

impl Weather {
    fn over(world: &World) -> Self {
        let (servers, dice) = ((0..world.host_count()).collect(), world.dice("weather"));
        Weather { servers, dice, heals_at: None }
    }

    fn start_all(&self, world: &mut World) -> Result<(), Failure> {
        self.servers.iter().try_for_each(|id| world.start(*id, known(&self.servers)))
    }

    /// Cuts the network in two for a while, with this host on the larger side or the smaller.
    fn cut(&mut self, world: &World, host: HostId) {
        let (smaller, larger) = self.servers.split_at(self.servers.len() / 2);
        let (mut one, mut other) = (smaller.to_vec(), larger.to_vec());
        match self.dice.below(2) {
            0 => one.push(host),
            _ => other.push(host),
        }
        world.split(&one, &other);
        self.heals_at = Some(Instant::now() + CUT);
    }

    /// Kills all nodes at one moment; they start again at once.
    async fn crash(&self, world: &mut World) -> Result<(), Failure> {
        world.crash(&self.servers).await;
        self.start_all(world)
    }

    /// Lets time pass, and a cut that has lasted long enough with it.
    async fn live(&mut self, world: &World, span: Duration) {
        world.live(span).await;
        if self.heals_at.is_some_and(|at| at <= Instant::now()) {
            self.heals_at = None;
            world.heal();
        }
    }

    /// Waits until nothing stands in anybody's way.
    async fn clear_up(&mut self, world: &World) {
        self.live(world, CUT).await;
    }
}

/// A person's device: what is left of it when it is switched off.
struct Device {
    host: HostId,
    /// Whom it asks first.
    known: Vec<HostId>,
    identity: Identity,
    entropy: Entropy,
    profile: Profile,
    dice: Dice,
    /// What the application on it was given, in this order.
    read: Vec<String>,
    /// How often it died while it read.
    deaths: u32,
}

impl Device {
    /// One of a person's devices, switched off.
    fn new(
        world: &mut World,
        known: &[HostId],
        (person, number): (u64, u64),
    ) -> Result<Self, Failure> {
        let (seed, host) = (world.seed(), world.add_host());
        let identity = Identity::from_root(&seed.derive("person", person));
        let entropy = Entropy::from_seed(seed.derive("entropy", number));
        let profile = Profile::in_memory(&identity.public_key(), world.network_name(), &entropy)
            .map_err(|error| Failure::Expected(error.to_string()))?;
        let (known, dice) = (known.to_vec(), seed.dice("device", number));
        Ok(Device { host, known, identity, entropy, profile, dice, read: Vec::new(), deaths: 0 })
    }

    fn switch_on(&self, world: &mut World) -> Result<Client, Failure> {
        world.start_client(self.host, &self.known)?;
        let context = world.user(self.host)?.context().clone();
        let builder = Client::builder(world.network_name().clone())
            .identity(self.identity.clone())
            .profile(self.profile.clone())
            .entropy(self.entropy.clone())
            .timeout(PATIENCE);
        Ok(builder.over(context))
    }

    /// Writes all letters, through a cut, a crash of all nodes and a death of its own. Returns the client
    /// that it has in the end, and how many letters waited at most to be handed over.
    async fn writes_all(
        &mut self,
        world: &mut World,
        weather: &mut Weather,
        mut client: Client,
        (to, letters): (&[u8; 32], &[String]),
    ) -> Result<(Client, usize), Failure> {
        let mut some_burst = || self.dice.place(BURSTS as usize);
        let (cut_at, crash_at, death_at) = (some_burst(), some_burst(), some_burst());
        let mut most = 0;
        for (number, burst) in letters.chunks(BURST as usize).enumerate() {
            client.send_all(to, burst).await.map_err(|error| failed("Alice sends", &error))?;
            weather.live(world, self.dice.between(Duration::ZERO, MIDST)).await;
            most = most.max(queued(&client)?);
            if number == cut_at {
                weather.cut(world, self.host);
            }
            if number == crash_at {
                weather.crash(world).await?;
            }
            if number == death_at {
                world.crash(&[self.host]).await;
                client = self.switch_on(world)?;
                // Whoever comes back looks for letters; what waits goes out with that.
                let _ = client.fetch_letters().await;
            }
            weather.live(world, self.dice.between(Duration::ZERO, PAUSE)).await;
        }
        Ok((client, most))
    }

    /// Comes back, and reads and acknowledges until all that was sent has come: each letter once, in
    /// its order.
    async fn reads_all(
        &mut self,
        world: &mut World,
        weather: &mut Weather,
        sent: &[String],
    ) -> Result<(), Failure> {
        let began = Instant::now();
        let mut client = self.switch_on(world)?;
        while self.read.len() < sent.len() {
            if began.elapsed() > WITHIN {
                let what = format!("only {} of {} letters came", self.read.len(), sent.len());
                return Err(Failure::Expected(what));
            }
            let dies = self.dice.permille(DEATH_PERMILLE);
            let lasts = if dies { self.dice.between(Duration::ZERO, MIDST) } else { WITHIN };
            match timeout(lasts, self.sits_down(&client, sent)).await {
                Ok(read) => read?,
                Err(_) => {
                    self.deaths += 1;
                    world.crash(&[self.host]).await;
                    client = self.switch_on(world)?;
                }
            }
            weather.live(world, LOOK_AGAIN).await;
        }
        // Nothing comes again.
        let reader = &client;
        until(world, "Bob looks again", || Box::pin(reader.fetch_letters())).await?;
        match client.letters() {
            Ok(letters) if letters.is_empty() => {}
            other => return Err(Failure::Expected(format!("after all were read: {other:?}"))),
        }
        world.stop(&[self.host]).await;
        Ok(())
    }

    /// Reads some letters, and is done with them.
    async fn sits_down(&mut self, client: &Client, sent: &[String]) -> Result<(), Failure> {
        // Whatever could not be fetched is fetched the next time.
        let _ = client.fetch_letters().await;
        let mut letters = client.letters().map_err(|error| failed("Bob reads", &error))?;
        letters.truncate(SITTING);
        self.take(&letters, sent)?;
        let ids: Vec<_> = letters.iter().map(|letter| letter.id).collect();
        client.ack(&ids).await.map_err(|error| failed("Bob acknowledges", &error))?;
        Ok(())
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
fn known(servers: &[HostId]) -> &[HostId] {
    &servers[..servers.len().min(KNOWN)]
}

fn text_of(number: u32) -> String {
    format!("letter {number}")
}

/// How many letters wait to be handed over.
fn queued(client: &Client) -> Result<usize, Failure> {
    let outbox = client.outbox().map_err(|error| failed("Alice looks", &error))?;
    let waits = |state: &OutboxState| matches!(state, OutboxState::Queued { .. });
    Ok(outbox.iter().filter(|letter| waits(&letter.state)).count())
}

fn failed(what: &str, error: &ClientError) -> Failure {
    Failure::Expected(format!("{what}: {error}"))
}
