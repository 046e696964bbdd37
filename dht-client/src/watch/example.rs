use std::error::Error;

use dht_client::watch::owned;
use dht_client::{Client, Delete, Put};

/// Is told of every change of a value. The client has an identity and a profile.
pub async fn follow_a_value(client: &Client) -> Result<(), Box<dyn Error>> {
    let (publisher, label) = (client.identity()?.public_key(), client.label("status"));
    client.put(Put::owned(label, "here".into())).await?;

    // By this name the profile remembers what was shown, and the next process goes on from there.
    // `Client::watch` remembers nothing, and needs no profile.
    let key = owned(client.network(), &publisher, &label);
    let mut watch = client.watch_as("my status", &[key]).await?;

    // What is there comes first, then each change within moments.
    let there = watch.next().await?;
    assert_eq!(there.record.body().as_deref(), Some(b"here".as_slice()));
    client.put(Put::owned(label, "away".into())).await?;
    let change = watch.next().await?;
    assert_eq!(change.record.body().as_deref(), Some(b"away".as_slice()));
    client.delete(Delete::owned(label)).await?;
    assert!(watch.next().await?.is_delete());

    // What was shown until now is not shown again, even if the process is killed.
    watch.save()?;
    Ok(())
}
