//! `stats`.

use dht_context::stats::CountsSnapshot;
use serde_json::{Map, Value, json};

use super::failure::Failure;
use super::print;
use super::session::Session;

/// Shows what this process counted while it joined and looked around.
pub(crate) async fn run(session: &Session) -> Result<(), Failure> {
    let client = session.reader()?;
    client.lookup(client.node_id().key()).await?;
    let stats = client.stats();
    if session.json() {
        let named = |counts: &[(&'static str, CountsSnapshot)]| -> Map<String, Value> {
            counts.iter().map(|(kind, counts)| ((*kind).to_owned(), json!(counts))).collect()
        };
        return print::object(&json!({
            "asked": named(&stats.asked),
            "answered": named(&stats.answered),
            "dials_ok": stats.dials_ok,
            "dials_failed": stats.dials_failed,
            "accepted": stats.accepted,
            "lies": stats.lies,
            "table": stats.table,
            "peers": stats.peers,
            "connections": stats.connections,
        }));
    }
    print::line(&format!(
        "peers {}, in the table {}, connections {}, dials {} ok and {} failed, false answers {}",
        stats.peers, stats.table, stats.connections, stats.dials_ok, stats.dials_failed, stats.lies,
    ))?;
    for (kind, counts) in &stats.asked {
        let CountsSnapshot { ok, refused, failed, p50_us, p99_us } = counts;
        print::line(&format!(
            "asked {kind}: {ok} ok, {refused} refused, {failed} failed, p50 {p50_us} us, p99 {p99_us} us"
        ))?;
    }
    Ok(())
}
