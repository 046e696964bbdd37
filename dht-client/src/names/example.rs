use std::error::Error;

use dht_client::{Client, ClientError, ErrorNumber, NameError};

/// Alice claims a name, and Bob finds her by it. Each client has an identity and a profile.
pub async fn be_found(alice: &Client, bob: &Client) -> Result<(), Box<dyn Error>> {
    // It takes work: a quarter of a second for a long name, some seconds for one of three letters.
    let name = "alice-in-the-north";
    let claimed = alice
        .claim_name(name, |work| println!("tried {}, about {}", work.tried, work.expected))
        .await?;
    println!("{} of {} judges vouch for it", claimed.found.vouched, claimed.found.judges);

    // The first proven answer is remembered: if another comes later, that is an error.
    let alices_key = alice.identity()?.public_key();
    let found = bob.lookup_name(name).await?;
    assert_eq!(found.identity, alices_key);
    let names = bob.reverse_names(&alices_key).await?;
    assert!(names.iter().any(|entry| entry.name.as_str() == name && entry.verified));

    // Who comes second does not get it, nor what reads like it.
    match bob.claim_name("A1ice-in-the-north", |_| ()).await {
        Err(ClientError::Name(NameError::Confusable { like, .. })) => println!("too like {like}"),
        other => return Err(format!("it should be refused: {other:?}").into()),
    }

    // A claim lives for a year. The client renews what is due by itself; this does it now.
    alice.renew_name(name, |_| ()).await?;
    alice.release_name(name).await?;
    let nobody = bob.lookup_name(name).await.err();
    assert_eq!(nobody.map(|error| error.number()), Some(ErrorNumber::NotFound));
    Ok(())
}
