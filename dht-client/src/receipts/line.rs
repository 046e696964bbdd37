//! A receipt as one line of a file: a JSON object.
//!
//! ```text
//! {"receipt":1,"network":"main","node":"<hex>","addresses":["192.0.2.7:4400"],
//!  "expires_at_ms":…,"accepted_at_ms":…,"node_key":"<hex>","signature":"<hex>","record":"<base64>"}
//! ```
//!
//! all on one line; the number after `receipt` is the version of this form.

use std::net::SocketAddr;

use base64::prelude::{BASE64_STANDARD, Engine};
use bytes::Bytes;
use dht_kad::message::{ADDRS_MAX, NodeInfo, Receipt};
use dht_kad::record::layout::RECORD_MAX;
use dht_kad::{NetworkName, UnixMs};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::KeptReceipt;

/// How every line begins, whatever its version.
pub(super) const BEGINNING: &[u8] = b"{\"receipt\":";
/// The most bytes of a line: a maximal record in base64, and room for the rest.
pub(super) const LINE_MAX: usize = RECORD_MAX.div_ceil(3) * 4 + 4_096;
/// The version of the form.
const VERSION: u32 = 1;

/// A line is not a receipt.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LineFault {
    /// It is longer than any receipt.
    #[error("the line is longer than any receipt; restore the file from a copy")]
    TooLong,
    /// It is not one of this form.
    #[error("the line is not a receipt; restore it from a copy, or remove it")]
    Malformed,
    /// A later version of this program wrote it.
    #[error("the line has a form that this version does not know; upgrade dht-client")]
    UnknownVersion,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    receipt: u32,
    network: String,
    node: String,
    addresses: Vec<SocketAddr>,
    expires_at_ms: u64,
    accepted_at_ms: u64,
    node_key: String,
    signature: String,
    record: String,
}

/// As much of a line as tells its version.
#[derive(Deserialize)]
struct Versioned {
    receipt: u32,
}

/// The receipt as one line, with its end.
pub(super) fn encode(kept: &KeptReceipt) -> String {
    let Receipt { expires_at, accepted_at, node_key, signature } = &kept.receipt;
    let line = Line {
        receipt: VERSION,
        network: kept.network.to_string(),
        node: kept.node.id.to_string(),
        addresses: kept.node.addrs.iter().take(ADDRS_MAX).copied().collect(),
        expires_at_ms: expires_at.0,
        accepted_at_ms: accepted_at.0,
        node_key: hex::encode(node_key),
        signature: hex::encode(signature),
        record: BASE64_STANDARD.encode(&kept.record),
    };
    // Texts and numbers are always JSON.
    serde_json::to_string(&line).map(|line| line + "\n").unwrap_or_default()
}

/// The receipt on a line without its end. Nothing about it is proven.
pub(super) fn decode(line: &[u8]) -> Result<KeptReceipt, LineFault> {
    let version: Versioned = serde_json::from_slice(line).map_err(|_| LineFault::Malformed)?;
    if version.receipt != VERSION {
        return Err(LineFault::UnknownVersion);
    }
    let line: Line = serde_json::from_slice(line).map_err(|_| LineFault::Malformed)?;
    read(line).ok_or(LineFault::Malformed)
}

fn read(line: Line) -> Option<KeptReceipt> {
    let network: NetworkName = line.network.parse().ok()?;
    let id = line.node.parse().ok()?;
    if line.addresses.len() > ADDRS_MAX {
        return None;
    }
    let (mut node_key, mut signature) = ([0; 32], [0; 64]);
    hex::decode_to_slice(&line.node_key, &mut node_key).ok()?;
    hex::decode_to_slice(&line.signature, &mut signature).ok()?;
    Some(KeptReceipt {
        network,
        record: Bytes::from(BASE64_STANDARD.decode(&line.record).ok()?),
        node: NodeInfo { id, addrs: line.addresses },
        receipt: Receipt {
            expires_at: UnixMs(line.expires_at_ms),
            accepted_at: UnixMs(line.accepted_at_ms),
            node_key,
            signature,
        },
    })
}

#[cfg(test)]
mod tests {
    use dht_kad::record::layout::BODY_MAX;

    use super::super::samples::kept;
    use super::*;

    #[test]
    fn a_receipt_survives_its_line_whatever_its_size() {
        for body in [&b""[..], b"value", &[0xff; BODY_MAX]] {
            let receipt = kept(1, body);
            let line = encode(&receipt);
            assert!(line.as_bytes().starts_with(BEGINNING) && line.len() <= LINE_MAX);
            let one_line = line.strip_suffix('\n').unwrap();
            assert!(!one_line.contains('\n'));
            assert_eq!(decode(one_line.as_bytes()), Ok(receipt));
        }
    }

    #[test]
    fn what_is_not_a_receipt_of_this_version_is_told() {
        let good = encode(&kept(1, b"value"));
        let changed =
            |from: &str, to: &str| decode(good.trim_end().replacen(from, to, 1).as_bytes());
        assert_eq!(changed("\"receipt\":1", "\"receipt\":2"), Err(LineFault::UnknownVersion));
        for (from, to) in [
            ("\"network\":\"here\"", "\"network\":\"BIG\""),
            ("\"node\":\"", "\"node\":\"zz"),
            ("192.0.2.1:4400", "nowhere"),
            ("\"record\":\"", "\"record\":\"*"),
            ("\"receipt\":1", "\"receipt\":1,\"colour\":\"red\""),
            ("}", ""),
        ] {
            assert_eq!(changed(from, to), Err(LineFault::Malformed), "{from}");
        }
        assert_eq!(decode(b""), Err(LineFault::Malformed));
        assert_eq!(decode(&[0xff; 9]), Err(LineFault::Malformed));
    }
}
