//! What the client does can be done in tasks of its own, on any thread.

use bytes::Bytes;
use dht_client::letters::LetterStream;
use dht_client::watch::Watch;
use dht_client::{Client, Delete, GetOptions, Put, Slot};

fn sent<F: Future + Send>(_: F) {}

/// Compiles only if all of these can be sent to another thread while they wait.
fn spawned(
    client: &Client,
    mut stream: LetterStream,
    mut watch: Watch,
    slot: Slot,
    delete: Delete,
) {
    let who = [0; 32];
    sent(client.ready());
    sent(client.put(Put::owned(who, Bytes::new())));
    sent(client.delete(delete));
    sent(client.get(&slot, GetOptions::default()));
    sent(client.get_cached(&slot));
    sent(client.list(&who, &who));
    sent(client.list_topic(&who));
    sent(client.watch(&[]));
    sent(watch.next());
    sent(client.publish_bundle());
    sent(client.bundle_of(&who));
    sent(client.request_contact(&who, ""));
    sent(client.contact_requests());
    sent(client.accept("", None));
    sent(client.block(""));
    sent(client.recover());
    sent(client.send(&who, b""));
    sent(client.deliver_letters());
    sent(client.fetch_letters());
    sent(client.ack(&[]));
    sent(client.refresh_outbox());
    sent(stream.next());
    sent(client.claim_name("", |_| {}));
    sent(client.renew_name("", |_| {}));
    sent(client.release_name(""));
    sent(client.lookup_name(""));
    sent(client.reverse_names(&who));
    sent(client.stop());
}

const _: fn(&Client, LetterStream, Watch, Slot, Delete) = spawned;
