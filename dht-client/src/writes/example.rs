use std::error::Error;

use dht_client::writes::WriteState;
use dht_client::{Client, Put};

/// Writes whether or not the network is there. The client has an identity and a profile.
pub async fn write_offline(client: &Client) -> Result<(), Box<dyn Error>> {
    // On disk when this returns, and nobody was asked. The second waits for the first.
    let label = client.label("diary");
    client.enqueue(Put::owned(label, "Monday".into()))?;
    let tuesday = client.enqueue(Put::owned(label, "Tuesday".into()))?;

    // Whoever wants to know waits, as long as it takes. If the process ends before, the next one
    // with this profile goes on.
    let WriteState::Done { seq, stored, targets } = client.settled(tuesday).await? else {
        return Err("somebody else wrote there, or it was refused".into());
    };
    println!("version {seq} is on {stored} of {targets} nodes");

    // Based on a version that is not the newest any more, it overwrites nothing.
    let stale = Put { expected_seq: Some(seq - 1), ..Put::owned(label, "Wednesday".into()) };
    let stale = client.enqueue(stale)?;
    assert_eq!(client.settled(stale).await?, WriteState::Conflict { stored: seq });

    for write in client.writes()? {
        println!("{}: {}, {} bytes", write.id, write.state.name(), write.bytes);
    }
    Ok(())
}
