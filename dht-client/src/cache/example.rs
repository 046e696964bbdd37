use std::error::Error;

use dht_client::{Client, Put, Slot};

/// Reads what `writer` wrote, from memory where that is fresh enough.
pub async fn read_often(writer: &Client, reader: &Client) -> Result<(), Box<dyn Error>> {
    let (publisher, label) = (writer.identity()?.public_key(), writer.label("profile"));
    let slot = Slot::Owned { publisher, label, slot: 0 };
    writer.put(Put::owned(label, "first".into())).await?;

    // The first asks the network, the others do not for five minutes.
    for _ in 0..10 {
        let record = reader.get_cached(&slot).await?;
        assert_eq!(record.body().as_deref(), Some(b"first".as_slice()));
    }
    let stats = reader.cache_stats();
    println!("{} from memory, {} asked for", stats.hits, stats.misses);

    // Who learns of a newer version by another way, such as a watch, tells the cache. An older one
    // is never served from then on, whatever nodes say.
    let second = writer.put(Put::owned(label, "second".into())).await?.record;
    reader.note(&second)?;
    assert_eq!(reader.get_cached(&slot).await?.body(), second.body());

    // Or asks anew the next time.
    reader.invalidate(&slot);
    assert_eq!(reader.get_cached(&slot).await?.body(), second.body());
    Ok(())
}
