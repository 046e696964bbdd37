use std::error::Error;

use dht_client::{
    Client, Delete, ErrorNumber, GetOptions, Identity, NetworkName, PeerAddress, Put, Slot,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    // What `scripts/run-local.sh` starts.
    values("local".parse()?, "127.0.0.1:4401".parse()?).await
}

pub async fn values(network: NetworkName, node: PeerAddress) -> Result<(), Box<dyn Error>> {
    let identity = Identity::generate()?;
    let publisher = identity.public_key();
    let client = Client::builder(network).bootstrap(node).identity(identity).start()?;

    // Signed, and on disk on more than half of the nodes closest to its key.
    let label = client.label("motto");
    let kept = client.put(Put::owned(label, "keep what you promise".into())).await?;
    println!("{} nodes keep it until {}", kept.outcome.stored.len(), kept.record.expires_at());

    // Whoever knows publisher and label can read it. What nodes answer is verified.
    let slot = Slot::Owned { publisher, label, slot: 0 };
    let found = client.get(&slot, GetOptions::default()).await?;
    assert_eq!(found.record.body().as_deref(), Some(b"keep what you promise".as_slice()));

    // A label has many slots, and each slot one newest version.
    client.put(Put { slot: 1, ..Put::owned(label, "and prove it".into()) }).await?;
    assert_eq!(client.list(&publisher, &label).await?.records.len(), 2);

    // A delete is a version, too. Every error has a type, and a number that never changes.
    client.delete(Delete::owned(label)).await?;
    let gone = client.get(&slot, GetOptions::default()).await.err();
    assert_eq!(gone.map(|error| error.number()), Some(ErrorNumber::NotFound));

    client.stop().await;
    Ok(())
}
