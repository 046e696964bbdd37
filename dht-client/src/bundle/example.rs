use std::error::Error;

use dht_client::Client;
use dht_client::entropy::Entropy;

/// Seals a text to Bob, who need not be there. Both clients have an identity.
pub async fn seal_to_bob(alice: &Client, bob: &Client) -> Result<(), Box<dyn Error>> {
    // Done by the client itself if it has a profile, too, and renewed in time. Here Bob asks for four
    // times the usual work of strangers who want to become contacts.
    bob.publish_bundle_asking(22).await?;

    // Whoever knows Bob's public key finds his bundle, and nobody else does.
    let bobs = bob.identity()?;
    let bundle = alice.bundle_of(&bobs.public_key()).await?;
    println!("{} bits of work, until {}", bundle.request_work, bundle.expires_at);

    // Bound to what it is and where it lies: it does not open as anything else.
    let (info, place) = (b"example: a note", b"on the table");
    let sealed = bundle.sealing.seal(info, place, b"for your eyes only", &Entropy::system())?;
    let opened = bobs.sealing_key().open(info, place, &sealed)?;
    assert_eq!(opened.as_slice(), b"for your eyes only");
    Ok(())
}
