use std::error::Error;

use dht_client::health::{Health, HealthOptions, examine};
use dht_client::{NetworkName, PeerAddress};

/// Tells whoever runs these nodes which of them need him; true if none does.
pub async fn watch_over(
    network: NetworkName,
    nodes: &[PeerAddress],
) -> Result<bool, Box<dyn Error>> {
    let findings = examine(&network, nodes, &HealthOptions::default()).await?;
    for finding in &findings {
        println!("{} is {}", finding.peer, finding.health());
        for fault in &finding.faults {
            println!("  {fault}");
        }
    }
    Ok(findings.iter().all(|finding| finding.health() == Health::Well))
}
