use std::error::Error;

use dht_client::Client;
use dht_client::letters::OutboxState;

/// Alice writes to Bob, who is away. They are contacts, and each client has a profile.
pub async fn correspond(alice: &Client, bob: &Client) -> Result<(), Box<dyn Error>> {
    // On her disk when this returns, and handed to the network in the background. Up to 16 MiB.
    let to_bob = bob.identity()?.public_key();
    alice.send(&to_bob, b"a letter").await?;
    alice.send(&to_bob, &vec![b'x'; 1_000_000]).await?;

    // A program that is about to end waits until the network has what it takes now.
    let delivery = alice.deliver_letters().await?;
    println!("{} handed over, {} still wait", delivery.stored, delivery.failed);

    // Bob, within 7 days. What came is shown again until he is done with it.
    bob.fetch_letters().await?;
    let letters = bob.letters()?;
    for letter in &letters {
        println!("{}: {} bytes of {}", letter.id, letter.payload.len(), letter.sent_at);
    }
    let ids: Vec<_> = letters.iter().map(|letter| letter.id).collect();
    assert_eq!(bob.ack(&ids).await?.acknowledged, 2);

    // Alice sees that both were read.
    alice.refresh_outbox().await?;
    assert!(alice.outbox()?.iter().all(|letter| letter.state == OutboxState::Fetched));

    // From now on, as they come.
    let mut stream = bob.follow_letters();
    alice.send(&to_bob, b"another letter").await?;
    assert_eq!(stream.next().await?.payload, b"another letter");
    Ok(())
}
