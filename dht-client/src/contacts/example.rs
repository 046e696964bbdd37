use std::error::Error;

use dht_client::{Client, ContactState, Contacts, Introduction};

/// Alice asks, Bob accepts. Each of them has a machine, an identity and a profile of his own.
pub async fn meet(alice: &Client, bob: &Client) -> Result<(), Box<dyn Error>> {
    let alices_key = alice.identity()?.public_key();
    // Bob can be asked once his key bundle is published. His client does so by itself, some time
    // after it has joined; who cannot wait for that does it here.
    bob.publish_bundle().await?;
    let bobs_key = bob.identity()?.public_key();

    // She learned his public key from him. Her request bears a second's work, and waits 7 days.
    let words = Introduction { text: "from the bus", own_name: "Alice", name: Some("bob") };
    let asked = alice.introduce(&bobs_key, &words).await?;
    assert_eq!(asked.state(), ContactState::Requested);

    for request in bob.contact_requests().await?.requests {
        println!("{} says: {}", request.name, request.text);
        bob.accept(&hex::encode(request.id), Some("alice")).await?;
    }
    // His answer makes him her contact as soon as she looks.
    alice.contact_requests().await?;

    // The code is the same for both, if nobody stands between them: they compare it by telephone.
    let hers = Contacts::of(alice.profile()?).get("bob")?.pair_code(&alices_key, alice.network());
    let his = Contacts::of(bob.profile()?).get("alice")?.pair_code(&bobs_key, bob.network());
    assert!(hers.is_some() && hers == his);

    // Who is blocked is not told, and nothing of it is read any more.
    assert_eq!(bob.block("alice").await?.state(), ContactState::Blocked);
    assert_eq!(bob.unblock("alice").await?.state(), ContactState::Accepted);
    Ok(())
}
