//! Frames to messages and back: the only place that knows the encoding of messages.
//!
//! Payloads are bincode 2 (varint integers, little-endian) under a byte limit that holds before
//! anything is allocated; trailing bytes are refused, so a message has exactly one accepted length.
//! Lists and texts have bounds of their own, which hold while they are read. What would be refused
//! by the other side is not encoded in the first place.

use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::bounded::text_fits;
use crate::message::audit::{CHALLENGES_MAX, Evidence};
use crate::message::reconcile::{
    GROUPS_MAX, OFFER_MAX, PARTS_MAX, PartAnswer, RANGE_MAX, SHORTS_MAX,
};
use crate::message::watch::{WATCH_KEYS_MAX, Watched};
use crate::message::{
    ADDRS_MAX, FRAME_HEADER, FRAME_MAX, NODES_MAX, NodeInfo, PAGE_BYTES, PAGE_RECORDS, Reconcile,
    Reconciled, RecordBytes, Request, Response, TYPE_AUDIT, TYPE_FIND, TYPE_FIND_NODE, TYPE_PING,
    TYPE_RECONCILE, TYPE_REFUSED, TYPE_STORE, TYPE_VITALS, TYPE_WATCH, VERSION_TEXT_MAX,
};
use crate::refusal::{REFUSAL_TEXT_MAX, Refusal};

/// A frame cannot be taken.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CodecError {
    /// The frame announces, or would need, more bytes than allowed.
    #[error("a frame of {0} bytes is longer than the 262144 allowed; send less at once")]
    TooLong(u64),
    /// The bytes are not the message that their type says, or a bound within is broken.
    #[error("the payload is not a message of type {0}; send it as docs/PROTOCOL.md says")]
    Malformed(u16),
    /// The type is not known.
    #[error("message type {0} is not known here; use one that the peer's version knows")]
    UnknownType(u16),
    /// The frame ends early.
    #[error("the frame ends before its announced length; send it whole")]
    Truncated,
}

impl From<CodecError> for Refusal {
    fn from(error: CodecError) -> Self {
        match error {
            CodecError::TooLong(length) => Refusal::FrameTooLong(length),
            CodecError::UnknownType(kind) => Refusal::UnknownRequest(kind),
            CodecError::Malformed(_) | CodecError::Truncated => Refusal::MalformedFrame,
        }
    }
}

/// A frame's header: what follows, and how much of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameHeader {
    /// The message's type.
    pub frame_type: u16,
    /// Bytes of the payload.
    pub payload_len: usize,
}

impl FrameHeader {
    /// Reads a header, and refuses a payload that is too long before it is read.
    ///
    /// # Errors
    /// [`CodecError::TooLong`].
    pub fn read(bytes: [u8; FRAME_HEADER]) -> Result<Self, CodecError> {
        let [type_high, type_low, l0, l1, l2, l3] = bytes;
        let announced = u32::from_be_bytes([l0, l1, l2, l3]);
        let payload_len = usize::try_from(announced).unwrap_or(usize::MAX);
        if payload_len > FRAME_MAX {
            return Err(CodecError::TooLong(announced.into()));
        }
        Ok(FrameHeader { frame_type: u16::from_be_bytes([type_high, type_low]), payload_len })
    }
}

/// Splits one whole frame into its type and payload; nothing may follow it.
///
/// # Errors
/// [`CodecError`] if the frame is too long, cut short or followed by something.
pub fn split_frame(frame: &Bytes) -> Result<(u16, Bytes), CodecError> {
    let header = frame.first_chunk::<FRAME_HEADER>().ok_or(CodecError::Truncated)?;
    let header = FrameHeader::read(*header)?;
    let payload = frame.slice(FRAME_HEADER..);
    match payload.len().cmp(&header.payload_len) {
        std::cmp::Ordering::Less => Err(CodecError::Truncated),
        std::cmp::Ordering::Equal => Ok((header.frame_type, payload)),
        std::cmp::Ordering::Greater => Err(CodecError::Malformed(header.frame_type)),
    }
}

/// Encodes a request as one frame.
///
/// # Errors
/// [`CodecError::TooLong`] if it does not fit one, [`CodecError::Malformed`] if it breaks a bound.
pub fn encode_request(request: &Request) -> Result<Bytes, CodecError> {
    let kind = request.frame_type();
    check_request(request)?;
    match request {
        Request::Ping(body) => encode_frame(kind, body),
        Request::FindNode(body) => encode_frame(kind, body),
        Request::Find(body) => encode_frame(kind, body),
        Request::Store(body) => encode_frame(kind, body),
        Request::Reconcile(body) => encode_frame(kind, body),
        Request::Audit(body) => encode_frame(kind, body),
        Request::Watch(body) => encode_frame(kind, body),
        Request::Vitals(body) => encode_frame(kind, body),
    }
}

/// Decodes one whole frame as a request, and checks its bounds.
///
/// # Errors
/// [`CodecError`]; an unknown type is told apart from a malformed message.
pub fn decode_request(frame: &Bytes) -> Result<Request, CodecError> {
    let (kind, payload) = split_frame(frame)?;
    let request = match kind {
        TYPE_PING => Request::Ping(decode_payload(kind, &payload)?),
        TYPE_FIND_NODE => Request::FindNode(decode_payload(kind, &payload)?),
        TYPE_FIND => Request::Find(decode_payload(kind, &payload)?),
        TYPE_STORE => Request::Store(decode_payload(kind, &payload)?),
        TYPE_RECONCILE => Request::Reconcile(decode_payload(kind, &payload)?),
        TYPE_AUDIT => Request::Audit(decode_payload(kind, &payload)?),
        TYPE_WATCH => Request::Watch(decode_payload(kind, &payload)?),
        TYPE_VITALS => Request::Vitals(decode_payload(kind, &payload)?),
        unknown => return Err(CodecError::UnknownType(unknown)),
    };
    check_request(&request)?;
    Ok(request)
}

/// Encodes an answer as one frame.
///
/// # Errors
/// [`CodecError::TooLong`] if it does not fit one, [`CodecError::Malformed`] if it breaks a bound.
pub fn encode_response(response: &Response) -> Result<Bytes, CodecError> {
    let kind = response.frame_type();
    check_response(response)?;
    match response {
        Response::Pong(body) => encode_frame(kind, body),
        Response::Nodes(body) => encode_frame(kind, body),
        Response::Found(body) => encode_frame(kind, body),
        Response::StoreResults(body) => encode_frame(kind, body),
        Response::Reconciled(body) => encode_frame(kind, body),
        Response::AuditResults(body) => encode_frame(kind, body),
        Response::Watched(body) => encode_frame(kind, body),
        Response::VitalSigns(body) => encode_frame(kind, body),
        Response::Refused(body) => encode_frame(kind, body),
    }
}

/// Decodes one whole frame as an answer, and checks its bounds.
///
/// # Errors
/// [`CodecError`].
pub fn decode_response(frame: &Bytes) -> Result<Response, CodecError> {
    let (kind, payload) = split_frame(frame)?;
    let response = match kind {
        TYPE_REFUSED => Response::Refused(decode_payload(kind, &payload)?),
        TYPE_PING => Response::Pong(decode_payload(kind, &payload)?),
        TYPE_FIND_NODE => Response::Nodes(decode_payload(kind, &payload)?),
        TYPE_FIND => Response::Found(decode_payload(kind, &payload)?),
        TYPE_STORE => Response::StoreResults(decode_payload(kind, &payload)?),
        TYPE_RECONCILE => Response::Reconciled(decode_payload(kind, &payload)?),
        TYPE_AUDIT => Response::AuditResults(decode_payload(kind, &payload)?),
        TYPE_WATCH => Response::Watched(decode_payload(kind, &payload)?),
        TYPE_VITALS => Response::VitalSigns(decode_payload(kind, &payload)?),
        unknown => return Err(CodecError::UnknownType(unknown)),
    };
    check_response(&response)?;
    Ok(response)
}

/// The bounds of a request, which both sides keep.
fn check_request(request: &Request) -> Result<(), CodecError> {
    let bounded = match request {
        Request::Ping(_) | Request::FindNode(_) | Request::Find(_) | Request::Vitals(_) => true,
        Request::Store(store) => {
            let bytes: usize = store.items.iter().map(|item| item.record.0.len()).sum();
            store.items.len() <= PAGE_RECORDS && bytes <= PAGE_BYTES
        }
        Request::Reconcile(reconcile) => reconcile_bounded(reconcile),
        Request::Audit(audit) => audit.challenges.len() <= CHALLENGES_MAX,
        Request::Watch(watch) => watch.keys.len() <= WATCH_KEYS_MAX,
    };
    if bounded { Ok(()) } else { Err(CodecError::Malformed(request.frame_type())) }
}

/// The bounds of an answer, which both sides keep.
fn check_response(response: &Response) -> Result<(), CodecError> {
    let bounded = match response {
        Response::Pong(pong) => text_fits(&pong.version, VERSION_TEXT_MAX),
        Response::Nodes(nodes) => nodes_bounded(&nodes.nodes),
        Response::Found(found) => page_bounded(&found.records) && nodes_bounded(&found.closer),
        Response::StoreResults(results) => {
            let mut refusals = results.results.iter().filter_map(|result| result.as_ref().err());
            results.results.len() <= PAGE_RECORDS && refusals.all(refusal_bounded)
        }
        Response::Reconciled(reconciled) => reconciled_bounded(reconciled),
        Response::AuditResults(audit) => evidence_bounded(&audit.evidence),
        Response::Watched(Watched::Watching { .. }) => true,
        Response::Watched(Watched::Changed { records, .. }) => page_bounded(records),
        Response::VitalSigns(signs) => {
            signs.is_bounded() && signs.refuses.iter().all(refusal_bounded)
        }
        Response::Refused(refusal) => refusal_bounded(refusal),
    };
    if bounded { Ok(()) } else { Err(CodecError::Malformed(response.frame_type())) }
}

fn refusal_bounded(refusal: &Refusal) -> bool {
    match refusal {
        Refusal::MalformedRecord(text) => text_fits(text, REFUSAL_TEXT_MAX),
        _ => true,
    }
}

fn evidence_bounded(evidence: &[Evidence]) -> bool {
    let head_bytes = |shown: &Evidence| match shown {
        Evidence::Holds { head, .. } => head.0.len(),
        Evidence::Nothing | Evidence::Later => 0,
    };
    let bytes: usize = evidence.iter().map(head_bytes).sum();
    evidence.len() <= CHALLENGES_MAX && bytes <= PAGE_BYTES
}

fn page_bounded(records: &[RecordBytes]) -> bool {
    let bytes: usize = records.iter().map(|record| record.0.len()).sum();
    records.len() <= PAGE_RECORDS && bytes <= PAGE_BYTES
}

fn reconcile_bounded(reconcile: &Reconcile) -> bool {
    match reconcile {
        Reconcile::Whole(whole) => whole.range.len() <= RANGE_MAX,
        Reconcile::Parts(parts) => parts.len() <= PARTS_MAX,
        Reconcile::Records(wanted) => {
            let shorts: usize = wanted.iter().map(|wanted| wanted.shorts.len()).sum();
            wanted.len() <= PAGE_RECORDS && shorts <= PAGE_RECORDS
        }
        Reconcile::Offer(items) => items.len() <= OFFER_MAX,
        Reconcile::Listing(_) | Reconcile::Salted(_) | Reconcile::Leaving => true,
    }
}

fn reconciled_bounded(reconciled: &Reconciled) -> bool {
    match reconciled {
        Reconciled::Groups(groups) => groups.len() <= GROUPS_MAX,
        Reconciled::Parts(parts) => parts.len() <= PARTS_MAX && parts.iter().all(part_bounded),
        Reconciled::Items(shorts) => shorts.len() <= SHORTS_MAX,
        Reconciled::Records(records) => page_bounded(records),
        Reconciled::Holdings(holdings) => holdings.len() <= OFFER_MAX,
        Reconciled::Equal
        | Reconciled::OtherCut(_)
        | Reconciled::Salted(_)
        | Reconciled::Noted
        | Reconciled::TooLarge => true,
    }
}

fn part_bounded(answer: &PartAnswer) -> bool {
    match answer {
        PartAnswer::Children { children, .. } => {
            children.len() <= 16 && children.iter().all(|(half_byte, _)| *half_byte < 16)
        }
        PartAnswer::Items(shorts) => shorts.len() <= SHORTS_MAX,
        PartAnswer::Same | PartAnswer::Later => true,
    }
}

fn nodes_bounded(nodes: &[NodeInfo]) -> bool {
    nodes.len() <= NODES_MAX && nodes.iter().all(|node| node.addrs.len() <= ADDRS_MAX)
}

/// Encodes a value that an application keeps or seals for itself, in the form of message payloads.
///
/// # Errors
/// [`CodecError::TooLong`] if it takes more than [`FRAME_MAX`] bytes.
pub fn encode_value<T: Serialize>(value: &T) -> Result<Vec<u8>, CodecError> {
    let bytes = bincode::serde::encode_to_vec(value, bincode::config::standard())
        .map_err(|_| CodecError::Malformed(0))?;
    match bytes.len() > FRAME_MAX {
        true => Err(CodecError::TooLong(bytes.len() as u64)),
        false => Ok(bytes),
    }
}

/// Decodes what [`encode_value`] encoded; nothing may follow it.
///
/// # Errors
/// [`CodecError::Malformed`] if the bytes are not such a value.
pub fn decode_value<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    decode_payload(0, bytes)
}

fn encode_frame<T: Serialize>(kind: u16, body: &T) -> Result<Bytes, CodecError> {
    let mut frame = BytesMut::with_capacity(512);
    frame.put_u16(kind);
    frame.put_u32(0);
    let mut writer = frame.writer();
    bincode::serde::encode_into_std_write(body, &mut writer, bincode::config::standard())
        .map_err(|_| CodecError::Malformed(kind))?;
    let mut frame = writer.into_inner();
    let payload_len = frame.len().saturating_sub(FRAME_HEADER);
    let announced = u32::try_from(payload_len)
        .ok()
        .filter(|_| payload_len <= FRAME_MAX)
        .ok_or(CodecError::TooLong(payload_len as u64))?;
    if let Some(field) = frame.get_mut(2..FRAME_HEADER) {
        field.copy_from_slice(&announced.to_be_bytes());
    }
    Ok(frame.freeze())
}

fn decode_payload<T: DeserializeOwned>(kind: u16, payload: &[u8]) -> Result<T, CodecError> {
    let limits = bincode::config::standard().with_limit::<FRAME_MAX>();
    let (message, read) = bincode::serde::decode_from_slice(payload, limits)
        .map_err(|_| CodecError::Malformed(kind))?;
    if read == payload.len() { Ok(message) } else { Err(CodecError::Malformed(kind)) }
}
