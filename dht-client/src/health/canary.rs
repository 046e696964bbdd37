//! [`Canary`]: a value that is put on one node, and what becomes of it.
//!
//! ```text
//! sign ─▶ store on the node alone ─▶ refused? ─▶ shown by the node itself? ─▶ got through another node?
//! ```

use std::time::Duration;

use bytes::Bytes;
use dht_context::requests::AskError;
use dht_kad::message::NodeInfo;
use dht_kad::record::{Kind, RecordDraft, Retention, Space};
use dht_kad::{NodeId, Refusal, UnixMs, ValidRecord, domain};
use futures_util::future::select_ok;
use tokio::time::timeout;

use super::Visit;
use crate::client::Client;
use crate::error::ClientError;
use crate::identity::Identity;

/// Labels that are tried for a key close to the node: with so many, it is among the twenty closest of ten
/// thousand servers, which are all that whoever looks for it is led to. That takes a millisecond.
const LABELS_TRIED: u64 = 1_024;
/// Nodes through which a canary is looked for at once: one of them may be ill itself, or two.
const READERS_MAX: usize = 3;
/// Nonces that are tried between two looks at the other nodes, if one asks for work: some milliseconds.
const NONCES_AT_ONCE: u64 = 4_096;
/// What lies in it, for whoever comes upon it.
const BODY: &[u8] = b"a canary of somebody who watches over this node";

/// What became of a node's canary.
#[derive(Debug)]
pub enum Canary {
    /// None was sent, as the node did not answer.
    NotSent,
    /// The node took it, shows it, and it was got through this other one.
    Read {
        /// Who led to it.
        through: NodeId,
    },
    /// The node took it and shows it; no other node of the list answers, through which it could be got.
    ReadAlone,
    /// The node did not take it.
    NotTaken(ClientError),
    /// The node gave a receipt, and does not show it.
    Lost,
    /// The node gave a receipt, and did not answer what it holds.
    NotShown(ClientError),
    /// The node shows it, but it was not got through this other one, nor through any that was asked.
    NotFound {
        /// The last one that failed.
        through: NodeId,
        /// How, in a few words.
        why: String,
    },
    /// Not all of this was known in time.
    Late(Duration),
}

/// Sends one visited node its canary, and reads it.
pub(super) async fn send(
    visits: &[Visit],
    at: usize,
    identity: &Identity,
    limit: Duration,
) -> Canary {
    let sent = async {
        let Some(visit) = visits.get(at) else { return Canary::NotSent };
        let Some(node) = visit.node() else { return Canary::NotSent };
        let record = match store(&visit.client, node, at, identity).await {
            Ok(record) => record,
            Err(error) => return Canary::NotTaken(error),
        };
        match visit.client.context.held_by(node, record.id()).await {
            // A later one comes from another run of the same identity.
            Ok(Some(shown)) if shown.precedence() >= record.precedence() && shown.has_body() => {}
            Ok(_) => return Canary::Lost,
            Err(error) => return Canary::NotShown(error.into()),
        }
        // Those after it in the list first, so that every node is read through.
        let (before, after) = visits.split_at(at);
        let others = after.iter().chain(before).filter(|other| other.id() != Some(node.id));
        let readers = others.filter_map(|other| Some((other.id()?, &other.client)));
        read(readers.take(READERS_MAX), node.id, &record).await
    };
    timeout(limit, sent).await.unwrap_or(Canary::Late(limit))
}

/// Has the node keep a canary, in the slot of its place in the list, since one node may have several. Signs it again
/// if the node asks for work.
async fn store(
    client: &Client,
    node: &NodeInfo,
    place: usize,
    identity: &Identity,
) -> Result<ValidRecord, ClientError> {
    let label = label_close_to(node, client, identity);
    let mut work_bits = 0;
    loop {
        let record = sign(label, place, client, identity, work_bits).await?;
        match client.context.store_on_node(node, &record).await {
            Ok(_) => return Ok(record),
            Err(AskError::Refused(Refusal::WorkTooLow { needed })) if work_bits == 0 => {
                work_bits = needed;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

async fn sign(
    label: [u8; 32],
    place: usize,
    client: &Client,
    identity: &Identity,
    work_bits: u32,
) -> Result<ValidRecord, AskError> {
    let now = client.now();
    let draft = RecordDraft {
        space: Space::Owned,
        kind: Kind::Value,
        retention: Retention::Hours8,
        label,
        slot: u64::try_from(place).unwrap_or(u64::MAX),
        // The later of two wins, and lasts longer: nothing is to be guarded against.
        seq: now.0,
        created_at: now,
        guard_until: UnixMs(0),
        work_bits,
        ext: Bytes::new(),
        body: Bytes::from_static(BODY),
    };
    // It fails only if more work is asked for than any node may ask.
    let too_much = |_| AskError::Refused(Refusal::WorkTooLow { needed: work_bits });
    let mut work = draft.begin(&identity.public_key(), client.network()).map_err(too_much)?;
    while !work.step(NONCES_AT_ONCE) {
        tokio::task::yield_now().await;
    }
    work.sign(identity.signing_key()).map_err(too_much)
}

/// Of some labels the one whose key is closest to the node: the same one each time for one identity.
fn label_close_to(node: &NodeInfo, client: &Client, identity: &Identity) -> [u8; 32] {
    let (network, publisher) = (client.network(), identity.public_key());
    let labels = (0..LABELS_TRIED).map(|number| client.label(&format!("canary {number}")));
    let distance =
        |label: &[u8; 32]| domain::owned_key(network, &publisher, label).distance(node.id.key());
    labels.min_by_key(distance).unwrap_or_default()
}

/// Looks for the canary through these nodes at once; the first that leads to it is enough.
async fn read(
    readers: impl Iterator<Item = (NodeId, &Client)>,
    holder: NodeId,
    record: &ValidRecord,
) -> Canary {
    let reads: Vec<_> = readers
        .map(|(through, client)| {
            Box::pin(async move {
                let found = find(client, holder, record).await;
                found.map(|()| through).map_err(|why| (through, why))
            })
        })
        .collect();
    if reads.is_empty() {
        return Canary::ReadAlone;
    }
    match select_ok(reads).await {
        Ok((through, _)) => Canary::Read { through },
        Err((through, why)) => Canary::NotFound { through, why },
    }
}

/// Goes the way of a get, by what the client's own node and those that it names tell; but all the way to the
/// holder. A get may end before, as the others that are close need not have the canary yet.
async fn find(client: &Client, holder: NodeId, record: &ValidRecord) -> Result<(), String> {
    let closest = client.lookup(&record.id().key).await.map_err(|error| error.to_string())?;
    let Some(found) = closest.into_iter().find(|node| node.id == holder) else {
        return Err("nobody names the node there".to_owned());
    };
    match client.context.held_by(&found, record.id()).await {
        Ok(Some(shown)) if shown.precedence() >= record.precedence() => Ok(()),
        Ok(_) => Err("it does not show it there".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
