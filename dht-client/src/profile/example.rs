use std::error::Error;
use std::path::Path;

use dht_client::entropy::Entropy;
use dht_client::identity::Words;
use dht_client::profile::Profile;
use dht_client::{Client, Identity, NetworkName, PeerAddress};

/// A new machine, and nothing left of the old one but the words on paper.
pub async fn begin_anew(
    words: &str,
    folder: &Path,
    network: NetworkName,
    node: PeerAddress,
) -> Result<Client, Box<dyn Error>> {
    let identity = Identity::from_words(&Words::parse(words)?, "");
    identity.create(&folder.join("identity"))?;
    let (own, place) = (identity.public_key(), folder.join("identity.profile"));
    let profile = Profile::open(&place, &own, &network, &Entropy::system())?;
    let client =
        Client::builder(network).bootstrap(node).identity(identity).profile(profile).start()?;

    // The contacts, with all that it takes to write to them and to read what they write.
    let recovered = client.recover().await?;
    println!("{} contacts are back", recovered.new);

    // What waits for this identity, and what is known as its own.
    client.fetch_letters().await?;
    for letter in client.letters()? {
        println!("a letter of {} bytes", letter.payload.len());
    }
    for entry in client.reverse_names(&own).await? {
        println!("the name {}", entry.name);
    }
    Ok(client)
}
