//! What storage nodes see of two people in the traffic: every frame, as it is after decryption, holds
//! neither an identity, nor a sealing key of theirs, nor a word.
//!
//! The servers of this test have a transport that notes each frame that comes or goes, both as they answer
//! and as they ask each other. What somebody else sends in the clear, and the pseudonyms of the two, are
//! looked for in the same way, and have to be there.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use dht_client::entropy::Entropy;
use dht_client::identity::blinding::blinded_public;
use dht_client::profile::Profile;
use dht_client::{Client, GetOptions, Identity, Introduction, NodeId, Put, Slot};
use dht_context::DhtContext;
use dht_context::clock::SystemClock;
use dht_context::node_key::NodeKey;
use dht_context::transport::{
    Answer, Asker, CloseReason, Connection, DialError, FrameStream, RequestError, Service,
    Transport,
};
use dht_kad::message::Mode;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};

use crate::people::live;
use crate::servers::{ANY_PORT, NETWORK, node, socket};

/// A value in the clear, by which the search shows that it can find something.
const IN_THE_CLEAR: &str = "a value that everybody may read";
const LETTER: &str = "a word between the two of them";
const HELLO: &str = "it is me, from the bus";
const OWN_NAME: &str = "Alice of the harbour";
const PETNAME: &str = "Bob in the lighthouse";

/// What the servers have seen: all frames, and by which names they were asked.
#[derive(Clone, Default)]
struct Seen {
    frames: Arc<Mutex<Vec<Bytes>>>,
    askers: Arc<Mutex<BTreeSet<NodeId>>>,
}

impl Seen {
    fn note(&self, frame: &Bytes) {
        self.frames.lock().unwrap().push(frame.clone());
    }

    fn note_stream(&self, frames: FrameStream) -> FrameStream {
        let seen = self.clone();
        frames.inspect(move |frame| frame.iter().for_each(|frame| seen.note(frame))).boxed()
    }

    /// Whether any frame holds this, as it is or as hexadecimal digits.
    fn holds(&self, what: &[u8]) -> bool {
        let digits = hex::encode(what);
        let forms = [what.to_vec(), digits.to_uppercase().into_bytes(), digits.into_bytes()];
        let frames = self.frames.lock().unwrap();
        forms.iter().any(|form| {
            frames.iter().any(|frame| frame.windows(form.len()).any(|window| window == form))
        })
    }
}

struct SeenTransport {
    inner: Arc<dyn Transport>,
    seen: Seen,
}

struct SeenConnection {
    inner: Arc<dyn Connection>,
    seen: Seen,
}

struct SeenService {
    inner: Arc<dyn Service>,
    seen: Seen,
}

fn over(inner: Arc<dyn Connection>, seen: &Seen) -> Arc<dyn Connection> {
    Arc::new(SeenConnection { inner, seen: seen.clone() })
}

impl Transport for SeenTransport {
    fn local_id(&self) -> NodeId {
        self.inner.local_id()
    }

    fn local_addrs(&self) -> Vec<SocketAddr> {
        self.inner.local_addrs()
    }

    fn dial(
        &self,
        addr: SocketAddr,
        expected: Option<NodeId>,
    ) -> BoxFuture<'static, Result<Arc<dyn Connection>, DialError>> {
        let (dialled, seen) = (self.inner.dial(addr, expected), self.seen.clone());
        async move { Ok(over(dialled.await?, &seen)) }.boxed()
    }

    fn accept(&self) -> BoxFuture<'_, Option<Arc<dyn Connection>>> {
        async { Some(over(self.inner.accept().await?, &self.seen)) }.boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.inner.close()
    }
}

impl Connection for SeenConnection {
    fn peer(&self) -> NodeId {
        self.inner.peer()
    }

    fn remote_addr(&self) -> SocketAddr {
        self.inner.remote_addr()
    }

    fn dialled(&self) -> bool {
        self.inner.dialled()
    }

    fn request(&self, frame: Bytes) -> BoxFuture<'static, Result<Bytes, RequestError>> {
        self.seen.note(&frame);
        let (answered, seen) = (self.inner.request(frame), self.seen.clone());
        async move { answered.await.inspect(|answer| seen.note(answer)) }.boxed()
    }

    fn subscribe(&self, frame: Bytes) -> BoxFuture<'static, Result<FrameStream, RequestError>> {
        self.seen.note(&frame);
        let (answered, seen) = (self.inner.subscribe(frame), self.seen.clone());
        async move { Ok(seen.note_stream(answered.await?)) }.boxed()
    }

    fn subscriptions(&self) -> usize {
        self.inner.subscriptions()
    }

    fn serve(&self, service: Arc<dyn Service>) -> BoxFuture<'static, CloseReason> {
        self.inner.serve(Arc::new(SeenService { inner: service, seen: self.seen.clone() }))
    }

    fn close(&self, reason: CloseReason) {
        self.inner.close(reason);
    }

    fn is_open(&self) -> bool {
        self.inner.is_open()
    }

    fn in_flight(&self) -> usize {
        self.inner.in_flight()
    }

    fn count_no_more(&self) {
        self.inner.count_no_more();
    }
}

impl Service for SeenService {
    fn answer(&self, asker: Asker, frame: Bytes) -> Answer {
        self.seen.note(&frame);
        self.seen.askers.lock().unwrap().insert(asker.id);
        let seen = self.seen.clone();
        match self.inner.answer(asker, frame) {
            Answer::Ready(answer) => {
                seen.note(&answer);
                Answer::Ready(answer)
            }
            Answer::Later(answer) => {
                let noted = async move {
                    let answer = answer.await;
                    seen.note(&answer);
                    answer
                };
                Answer::Later(noted.boxed())
            }
            Answer::Stream(frames) => {
                Answer::Stream(frames.inspect(move |frame| seen.note(frame)).boxed())
            }
        }
    }
}

/// Three servers that know each other and note what they see.
async fn servers_that_note(seen: &Seen) -> Vec<DhtContext> {
    let mut servers: Vec<DhtContext> = Vec::new();
    for _ in 0..3 {
        let key = NodeKey::generate().unwrap();
        let inner: Arc<dyn Transport> = socket(ANY_PORT, &key);
        let transport = Arc::new(SeenTransport { inner, seen: seen.clone() });
        let first = servers.first().map(|first| first.local_addrs()[0]);
        servers.push(node(Mode::Server, key, transport, Arc::new(SystemClock), first));
    }
    for server in &servers {
        server.ready().await;
    }
    servers
}

fn person(servers: &[DhtContext]) -> (Identity, Client) {
    let identity = Identity::generate().unwrap();
    let network = NETWORK.parse().unwrap();
    let profile = Profile::in_memory(&identity.public_key(), &network, &Entropy::system());
    let builder = Client::builder(network).identity(identity.clone()).profile(profile.unwrap());
    let builder = servers
        .iter()
        .fold(builder, |builder, server| builder.bootstrap(server.local_addrs()[0].into()));
    (identity, builder.start().unwrap())
}

/// Alice and Bob become contacts, and she writes to him.
async fn correspond(alice: (&Identity, &Client), bob: (&Identity, &Client)) {
    alice.1.publish_bundle_asking(6).await.unwrap();
    bob.1.publish_bundle_asking(6).await.unwrap();
    let hello = Introduction { text: HELLO, own_name: OWN_NAME, name: Some(PETNAME) };
    alice.1.introduce(&bob.0.public_key(), &hello).await.unwrap();
    let asked = bob.1.contact_requests().await.unwrap();
    assert_eq!(
        (asked.requests[0].text.as_str(), asked.requests[0].name.as_str()),
        (HELLO, OWN_NAME)
    );
    bob.1.accept(&hex::encode(alice.0.public_key()), None).await.unwrap();
    assert_eq!(alice.1.contact_requests().await.unwrap().accepted.len(), 1);
    let mut follows = bob.1.follow_letters();
    alice.1.send(&bob.0.public_key(), LETTER.as_bytes()).await.unwrap();
    alice.1.deliver_letters().await.unwrap();
    let letter = follows.next().await.unwrap();
    assert_eq!(letter.payload, LETTER.as_bytes());
    let done = bob.1.ack(&[letter.id]).await.unwrap();
    assert_eq!((done.acknowledged, done.pruned), (1, 1));
    alice.1.refresh_outbox().await.unwrap();
    assert_eq!(alice.1.outbox().unwrap()[0].state.name(), "fetched");
    assert_eq!(alice.1.recover().await.unwrap().found, 1);
}

#[test]
fn frames_hold_nothing_by_which_a_pair_could_be_known() {
    live(async {
        let seen = Seen::default();
        let servers = servers_that_note(&seen).await;
        let ((alice, of_alice), (bob, of_bob)) = (person(&servers), person(&servers));
        let (carol, of_carol) = person(&servers);
        correspond((&alice, &of_alice), (&bob, &of_bob)).await;
        let label = of_carol.label("label");
        of_carol.put(Put::owned(label, IN_THE_CLEAR.into())).await.unwrap();
        let slot = Slot::Owned { publisher: carol.public_key(), label, slot: 0 };
        of_alice.get(&slot, GetOptions::default()).await.unwrap();

        assert!(seen.holds(IN_THE_CLEAR.as_bytes()), "the search finds what is there");
        assert!(seen.holds(&carol.public_key()), "and a publisher that is no secret");
        let network = of_alice.network();
        for identity in [&alice, &bob] {
            let public = identity.public_key();
            // Asked for and published under this name, which says nothing to who does not know the other.
            let pseudonym = blinded_public(network, &public, "bundle").unwrap();
            assert!(seen.holds(&pseudonym), "the bundle was among what was seen");
            assert!(!seen.holds(&public), "an identity can be seen");
            let sealing = identity.sealing_key().public().to_bytes();
            for part in sealing.chunks(32).chain([&sealing[..]]) {
                assert!(!seen.holds(part), "a sealing key can be seen");
            }
        }
        for word in [LETTER, HELLO, OWN_NAME, PETNAME] {
            assert!(!seen.holds(word.as_bytes()), "«{word}» can be read");
        }
        // The connections themselves: under node keys that are made anew, and are nobody's identity.
        let askers = seen.askers.lock().unwrap().clone();
        for (identity, client) in [(&alice, &of_alice), (&bob, &of_bob), (&carol, &of_carol)] {
            assert!(askers.contains(&client.node_id()), "all of them have asked");
            let named_after = NodeId::from_public_key(&identity.public_key());
            assert!(!askers.contains(&named_after), "a node key is an identity's");
        }
        for client in [&of_alice, &of_bob, &of_carol] {
            client.stop().await;
        }
    });
}
