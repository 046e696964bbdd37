//! [`BootstrapList`]: a network's bootstrap nodes, as the holder of its registry key vouches for them.
//!
//! The list is one record in the `Owned` space: its publisher is the registry key, its label that of
//! [`NAME`], its slot 0, its retention 365 days. So everything that it needs is there already: nobody
//! else can write it, the DHT stores, replicates and expires it, and of two lists the order of versions
//! says which counts. Nothing is signed for it that is not signed for any record.
//!
//! ```text
//! nodes ─▶ BootstrapList::new ─▶ draft ─▶ (signed by the registry key) ─▶ record: in the DHT, or a file
//! bytes ─▶ SignedList::verify: the record's signature, whose it is, where it lies ─▶ decode ─▶ nodes
//! ```
//!
//! The record's body, integers big-endian:
//!
//! ```text
//! size  field
//!    1  version      1
//!    2  how many nodes, at most 256
//!       each node, in ascending order of their ids, none twice:
//!   32    node id
//!    1    how many addresses, 1 to 4
//!         each address, best first, none twice:
//!    1      length of the host, 1 to 253
//!    h      host: a name, an IPv4 address, or an IPv6 address without brackets
//!    2      UDP port, not 0
//!    1    length of the tags, at most 64
//!    t    tags: UTF-8 without control characters, whatever the registry wants to say of the node
//! ```
//!
//! One list has one form: what decodes encodes to the same bytes.

use bytes::Bytes;
use thiserror::Error;

use crate::domain;
use crate::error_number::ErrorNumber;
use crate::id::{Key, NodeId};
use crate::network::NetworkName;
use crate::peer_address::PeerAddress;
use crate::record::layout::{BODY_MAX, Reader};
use crate::record::{
    Kind, MalformedRecord, ParsedRecord, RecordDraft, Retention, SignatureFault, Space, ValidRecord,
};
use crate::time::UnixMs;

/// The name under whose label the registry key keeps the list.
pub const NAME: &str = "registry";
/// The version of the body's form.
const VERSION: u8 = 1;
/// The most nodes of a list: with one address each they fit a body several times over, and a network
/// needs a handful to be found.
pub const NODES_MAX: usize = 256;
/// The most addresses of a node: IPv4 and IPv6, each twice.
pub const ADDRS_MAX: usize = 4;
/// The most bytes of a node's tags.
pub const TAGS_MAX: usize = 64;

/// One bootstrap node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BootstrapNode {
    /// Its name.
    pub id: NodeId,
    /// Where it answers, best first; each pinned to `id`.
    pub addrs: Vec<PeerAddress>,
    /// What the registry says of it, for people.
    pub tags: String,
}

/// Bootstrap nodes in one order and form.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BootstrapList {
    nodes: Vec<BootstrapNode>,
}

/// A list that cannot be, or bytes that are none.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BootstrapListError {
    /// The form's version is not known here.
    #[error("the list has version {0}, this program knows version 1; upgrade the older side")]
    UnknownVersion(u8),
    /// The bytes are no list.
    #[error("the bytes are no list of bootstrap nodes; sign it with dht-bootstrap network sign")]
    Malformed,
    /// Too many nodes.
    #[error("the list names {0} nodes, at most 256 fit; leave some out")]
    TooManyNodes(usize),
    /// Too many bytes.
    #[error("the list takes {0} bytes, at most 65536 fit; leave nodes or addresses out")]
    TooLarge(usize),
    /// A node twice.
    #[error("the node {0} is named twice; give its addresses together")]
    NodeTwice(NodeId),
    /// No address, too many, or one twice.
    #[error("the node {0} needs one to four different addresses; correct them")]
    BadAddresses(NodeId),
    /// Tags too long, or not for people.
    #[error("the tags of {0} are more than 64 bytes or have control characters; shorten them")]
    BadTags(NodeId),
}

impl BootstrapList {
    /// A list of these nodes, in whatever order they come.
    ///
    /// # Errors
    /// [`BootstrapListError`] names the first thing to correct.
    pub fn new(mut nodes: Vec<BootstrapNode>) -> Result<Self, BootstrapListError> {
        if nodes.len() > NODES_MAX {
            return Err(BootstrapListError::TooManyNodes(nodes.len()));
        }
        nodes.sort_by_key(|node| node.id);
        for node in &mut nodes {
            node.check()?;
        }
        if let Some(twice) = nodes.iter().zip(nodes.iter().skip(1)).find(|(a, b)| a.id == b.id) {
            return Err(BootstrapListError::NodeTwice(twice.0.id));
        }
        let list = BootstrapList { nodes };
        match list.encode().len() {
            0..=BODY_MAX => Ok(list),
            len => Err(BootstrapListError::TooLarge(len)),
        }
    }

    /// The nodes, in ascending order of their ids.
    #[must_use]
    pub fn nodes(&self) -> &[BootstrapNode] {
        &self.nodes
    }

    /// The body of the record that holds the list.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "`new` has checked every length")]
    pub fn encode(&self) -> Bytes {
        let mut body = vec![VERSION];
        body.extend_from_slice(&(self.nodes.len() as u16).to_be_bytes());
        for node in &self.nodes {
            body.extend_from_slice(node.id.as_bytes());
            body.push(node.addrs.len() as u8);
            for addr in &node.addrs {
                body.push(addr.host.len() as u8);
                body.extend_from_slice(addr.host.as_bytes());
                body.extend_from_slice(&addr.port.to_be_bytes());
            }
            body.push(node.tags.len() as u8);
            body.extend_from_slice(node.tags.as_bytes());
        }
        body.into()
    }

    /// Reads a record's body.
    ///
    /// # Errors
    /// [`BootstrapListError`] if the bytes are not the one form of a list.
    pub fn decode(body: &[u8]) -> Result<Self, BootstrapListError> {
        let mut reader = Reader(body);
        let [version] = reader.array().ok_or(BootstrapListError::Malformed)?;
        if version != VERSION {
            return Err(BootstrapListError::UnknownVersion(version));
        }
        let nodes = read_nodes(&mut reader).ok_or(BootstrapListError::Malformed)?;
        let list = BootstrapList::new(nodes)?;
        // Another order, or bytes behind the last node.
        match list.encode() == body {
            true => Ok(list),
            false => Err(BootstrapListError::Malformed),
        }
    }

    /// The record to sign. A list that is made later supersedes it, whatever clocks others have: its
    /// number is the moment at which it is made.
    #[must_use]
    pub fn draft(&self, network: &NetworkName, now: UnixMs) -> RecordDraft {
        RecordDraft {
            space: Space::Owned,
            kind: Kind::Value,
            retention: Retention::Days365,
            label: domain::label(network, NAME),
            slot: 0,
            seq: now.0,
            created_at: now,
            guard_until: UnixMs(0),
            work_bits: 0,
            ext: Bytes::new(),
            body: self.encode(),
        }
    }
}

impl BootstrapNode {
    /// Checks the node, and pins its addresses to it.
    fn check(&mut self) -> Result<(), BootstrapListError> {
        let id = self.id;
        for addr in &mut self.addrs {
            addr.id = Some(id);
            // What is written as an address reads back as that one.
            if addr.to_string().parse().as_ref() != Ok(addr) {
                return Err(BootstrapListError::BadAddresses(id));
            }
        }
        let twice = |(at, addr)| self.addrs.iter().take(at).any(|other| other == addr);
        let count = self.addrs.len();
        if count == 0 || count > ADDRS_MAX || self.addrs.iter().enumerate().any(twice) {
            return Err(BootstrapListError::BadAddresses(id));
        }
        if self.tags.len() > TAGS_MAX || self.tags.chars().any(char::is_control) {
            return Err(BootstrapListError::BadTags(id));
        }
        Ok(())
    }
}

fn read_nodes(reader: &mut Reader<'_>) -> Option<Vec<BootstrapNode>> {
    let count = usize::from(u16::from_be_bytes(reader.array()?));
    if count > NODES_MAX {
        return None;
    }
    let mut nodes = Vec::with_capacity(count);
    for _ in 0..count {
        let id = NodeId::from_bytes(reader.array()?);
        let [addrs_count] = reader.array()?;
        let mut addrs = Vec::with_capacity(usize::from(addrs_count).min(ADDRS_MAX));
        for _ in 0..addrs_count {
            let host = read_text(reader)?;
            let port = u16::from_be_bytes(reader.array()?);
            addrs.push(PeerAddress { id: Some(id), host, port });
        }
        nodes.push(BootstrapNode { id, addrs, tags: read_text(reader)? });
    }
    Some(nodes)
}

fn read_text(reader: &mut Reader<'_>) -> Option<String> {
    let [len] = reader.array()?;
    let bytes = reader.take(usize::from(len))?;
    std::str::from_utf8(bytes).ok().map(str::to_owned)
}

/// Where a network's list lies.
#[must_use]
pub fn key(network: &NetworkName, registry: &[u8; 32]) -> Key {
    domain::owned_key(network, registry, &domain::label(network, NAME))
}

/// A list with the signature under it, which was checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignedList {
    list: BootstrapList,
    record: ValidRecord,
}

/// Bytes are not this network's list.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ListFault {
    /// Not a record at all.
    #[error(transparent)]
    Malformed(#[from] MalformedRecord),
    /// A signature or body that does not hold in this network.
    #[error(transparent)]
    Signature(#[from] SignatureFault),
    /// Somebody else's.
    #[error(
        "the list is not signed by this network's registry key; get it from whoever runs the network"
    )]
    OtherKey,
    /// Signed by the registry key, and not for this.
    #[error("the record is no list of bootstrap nodes; sign one with dht-bootstrap network sign")]
    OtherRecord,
    /// The body.
    #[error(transparent)]
    Body(#[from] BootstrapListError),
}

impl ListFault {
    /// The error's number.
    #[must_use]
    pub fn number(&self) -> ErrorNumber {
        match self {
            ListFault::Signature(_) | ListFault::OtherKey => ErrorNumber::BadSignature,
            _ => ErrorNumber::MalformedRecord,
        }
    }
}

impl SignedList {
    /// Reads a record's bytes, and checks that they are the list of this network that this registry
    /// key has signed.
    ///
    /// # Errors
    /// [`ListFault`].
    pub fn verify(
        bytes: Bytes,
        network: &NetworkName,
        registry: &[u8; 32],
    ) -> Result<Self, ListFault> {
        let record = ParsedRecord::parse(bytes)?;
        if record.publisher() != registry {
            return Err(ListFault::OtherKey);
        }
        SignedList::of(record.verify(network)?, network, registry)
    }

    /// Takes a record that was verified already.
    ///
    /// # Errors
    /// [`ListFault`] if it is not the list of this network and key.
    pub fn of(
        record: ValidRecord,
        network: &NetworkName,
        registry: &[u8; 32],
    ) -> Result<Self, ListFault> {
        if record.publisher() != registry {
            return Err(ListFault::OtherKey);
        }
        let in_place = record.id().key == key(network, registry)
            && (record.space(), record.kind(), record.slot()) == (Space::Owned, Kind::Value, 0)
            && record.retention() == Retention::Days365;
        let body = record.body().filter(|_| in_place).ok_or(ListFault::OtherRecord)?;
        Ok(SignedList { list: BootstrapList::decode(&body)?, record })
    }

    /// The nodes, in ascending order of their ids.
    #[must_use]
    pub fn nodes(&self) -> &[BootstrapNode] {
        self.list.nodes()
    }

    /// The record.
    #[must_use]
    pub fn record(&self) -> &ValidRecord {
        &self.record
    }

    /// The list's number: of two, the greater one counts.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.record.seq()
    }

    /// From this moment on it vouches for nobody.
    #[must_use]
    pub fn ends_at(&self) -> UnixMs {
        self.record.expires_at()
    }

    /// Whether it counts before the other one, by the order of versions that all of the network has.
    #[must_use]
    pub fn supersedes(&self, other: &SignedList) -> bool {
        self.record.precedence() > other.record.precedence()
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;

    use super::*;
    use crate::record::RecordSigner;

    const NOW: UnixMs = UnixMs(1_800_000_000_000);

    fn network() -> NetworkName {
        "vectors".parse().unwrap()
    }

    fn node(number: u8, addrs: &[&str]) -> BootstrapNode {
        let addrs = addrs.iter().map(|addr| addr.parse().unwrap()).collect();
        BootstrapNode { id: NodeId::from_bytes([number; 32]), addrs, tags: format!("n{number}") }
    }

    fn list() -> BootstrapList {
        let nodes = vec![node(2, &["[::1]:2", "two.example:2"]), node(1, &["192.0.2.1:1"])];
        BootstrapList::new(nodes).unwrap()
    }

    fn signed(key: u8, list: &BootstrapList, now: UnixMs) -> ValidRecord {
        list.draft(&network(), now).sign(&SigningKey::from_bytes(&[key; 32]), &network()).unwrap()
    }

    fn registry(key: u8) -> [u8; 32] {
        SigningKey::from_bytes(&[key; 32]).publisher()
    }

    #[test]
    fn a_list_reads_back_and_its_addresses_are_pinned() {
        let list = list();
        assert_eq!(BootstrapList::decode(&list.encode()), Ok(list.clone()));
        assert_eq!(list.nodes()[0].addrs[0].id, Some(list.nodes()[0].id));
        assert_eq!(BootstrapList::decode(&BootstrapList::default().encode()).unwrap().nodes(), []);
    }

    #[test]
    fn a_list_has_one_form() {
        let body = list().encode();
        assert_eq!(
            BootstrapList::decode(&body[..body.len() - 1]),
            Err(BootstrapListError::Malformed)
        );
        let behind = [&body[..], &[0]].concat();
        assert_eq!(BootstrapList::decode(&behind), Err(BootstrapListError::Malformed));
        let newer = [&[2], &body[1..]].concat();
        assert_eq!(BootstrapList::decode(&newer), Err(BootstrapListError::UnknownVersion(2)));
        // The same two nodes the other way round.
        let first = 32 + 1 + (1 + 9 + 2) + 1 + 2;
        let swapped = [&body[..3], &body[3 + first..], &body[3..3 + first]].concat();
        assert_eq!(BootstrapList::decode(&swapped), Err(BootstrapListError::Malformed));
    }

    #[test]
    fn what_no_list_can_hold_is_refused() {
        use BootstrapListError::{BadAddresses, BadTags, NodeTwice, TooLarge, TooManyNodes};
        let id = NodeId::from_bytes([1; 32]);
        let refused = |nodes| BootstrapList::new(nodes).unwrap_err();
        assert_eq!(refused(vec![node(1, &["a:1"]), node(1, &["b:1"])]), NodeTwice(id));
        assert_eq!(refused(vec![node(1, &[])]), BadAddresses(id));
        assert_eq!(refused(vec![node(1, &["a:1", "a:1"])]), BadAddresses(id));
        assert_eq!(refused(vec![node(1, &["a:1", "a:2", "a:3", "a:4", "a:5"])]), BadAddresses(id));
        let tagged = |tags: &str| BootstrapNode { tags: tags.to_owned(), ..node(1, &["a:1"]) };
        assert_eq!(refused(vec![tagged(&"x".repeat(65))]), BadTags(id));
        assert_eq!(refused(vec![tagged("a\nb")]), BadTags(id));
        let odd = PeerAddress { id: None, host: "a b".to_owned(), port: 1 };
        assert_eq!(
            refused(vec![BootstrapNode { addrs: vec![odd], ..node(1, &[]) }]),
            BadAddresses(id)
        );
        let many = |count: u16, addrs: &[&str]| {
            let named = |number: u16| {
                let mut bytes = [0; 32];
                bytes[..2].copy_from_slice(&number.to_be_bytes());
                BootstrapNode { id: NodeId::from_bytes(bytes), ..node(1, addrs) }
            };
            (0..count).map(named).collect::<Vec<_>>()
        };
        assert_eq!(refused(many(257, &["a:1"])), TooManyNodes(257));
        let long = format!("{}:1", "a".repeat(250));
        assert!(matches!(refused(many(256, &[&long])), TooLarge(_)));
        assert!(BootstrapList::new(many(256, &["node.example.org:4400"])).is_ok());
    }

    #[test]
    fn only_the_registry_keys_own_record_is_a_list() {
        let (record, network) = (signed(1, &list(), NOW), network());
        let verify = |bytes: &[u8], key| {
            SignedList::verify(Bytes::copy_from_slice(bytes), &network, &registry(key))
        };
        let read = verify(record.bytes(), 1).unwrap();
        assert_eq!((read.nodes(), read.seq()), (list().nodes(), NOW.0));
        assert_eq!(verify(record.bytes(), 2), Err(ListFault::OtherKey));
        let mut forged = record.bytes().to_vec();
        // The publisher's own field: another key under the same signature.
        forged[36..68].copy_from_slice(&registry(2));
        assert!(matches!(verify(&forged, 2), Err(ListFault::Signature(_))));
        let mut changed = record.bytes().to_vec();
        *changed.last_mut().unwrap() ^= 1;
        assert!(matches!(verify(&changed, 1), Err(ListFault::Signature(_))));
        let elsewhere = "other".parse().unwrap();
        let other = SignedList::verify(record.bytes().clone(), &elsewhere, &registry(1));
        assert!(matches!(other, Err(ListFault::Signature(_))));
        let key = SigningKey::from_bytes(&[1; 32]);
        let mut draft = list().draft(&network, NOW);
        draft.slot = 1;
        let aside = draft.sign(&key, &network).unwrap();
        assert_eq!(verify(aside.bytes(), 1), Err(ListFault::OtherRecord));
        assert_eq!(verify(record.head_only().bytes(), 1), Err(ListFault::OtherRecord));
    }

    #[test]
    fn a_list_that_was_made_later_supersedes() {
        let (network, registry) = (network(), registry(1));
        let at = |now| SignedList::of(signed(1, &list(), now), &network, &registry).unwrap();
        let (first, second) = (at(NOW), at(NOW.after(1)));
        assert!(second.supersedes(&first) && !first.supersedes(&second));
        assert!(!first.supersedes(&first.clone()));
        assert_eq!(first.ends_at(), NOW.after(Retention::Days365.lifetime_ms()));
    }
}
