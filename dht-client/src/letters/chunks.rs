//! Payloads that do not fit one letter: cut into chunks, which a letter's manifest names.
//!
//! ```text
//! payload ─▶ chunks of 65,520 bytes, the last one filled up with zeros
//!            each sealed by XChaCha20-Poly1305 under the payload's own random key,
//!            nonce = its number (24 bytes), bound to its number and how many there are (u32 each)
//!        ─▶ `Content` records, one a chunk
//! manifest = version (1) ‖ key (32) ‖ length (8) ‖ BLAKE3 of the payload (32) ‖ body hash of each chunk (32)
//! ```
//!
//! A chunk is found by its hash, so nobody can put another in its place; one that was made for another
//! payload or place does not open, and the payload is only given if all of it is what was sent.

use bytes::Bytes;
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use dht_kad::domain;
use dht_kad::record::layout::BODY_MAX;
use dht_kad::{Key, NetworkName};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::entropy::{Entropy, EntropyError};

const VERSION: u8 = 1;
const TAG_LEN: usize = 16;
/// Bytes of a payload in one chunk.
const CHUNK: usize = BODY_MAX - TAG_LEN;
/// Bytes of a manifest before its hashes.
const FIXED: usize = 1 + 32 + 8 + 32;

/// The longest payload: what a small client has memory for, sealed and in the clear.
pub const MESSAGE_MAX: usize = 16 * 1024 * 1024;
/// The most chunks of one payload.
const CHUNKS_MAX: usize = MESSAGE_MAX.div_ceil(CHUNK);

const _: () = assert!(FIXED + 32 * CHUNKS_MAX <= super::letter::PAYLOAD_MAX, "a manifest fits");

/// Where the chunks of one payload are, and how they open.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Manifest {
    key: Zeroizing<[u8; 32]>,
    length: usize,
    hash: [u8; 32],
    chunks: Vec<[u8; 32]>,
}

/// The chunks of a letter are not what it says.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChunkFault {
    #[error("its manifest has no known form")]
    Manifest,
    #[error("chunk {0} was not made for this place")]
    Foreign(usize),
    #[error("its chunks do not make up what was sent")]
    Mixed,
}

/// Cuts a payload: its manifest, and the body of each chunk's record.
pub(crate) fn cut(
    payload: &[u8],
    entropy: &Entropy,
) -> Result<(Manifest, Vec<Bytes>), EntropyError> {
    let key: Zeroizing<[u8; 32]> = entropy.secret()?;
    let cipher = XChaCha20Poly1305::new((&*key).into());
    let count = payload.len().div_ceil(CHUNK);
    let seal = |(number, part): (usize, &[u8])| {
        let mut plain = Zeroizing::new(part.to_vec());
        plain.resize(CHUNK, 0);
        let (nonce, bound) = place(number, count);
        // It fails for plaintexts of many gigabytes only.
        let sealed = cipher.encrypt(&nonce, Payload { msg: &plain, aad: &bound });
        Bytes::from(sealed.unwrap_or_default())
    };
    let bodies: Vec<Bytes> = payload.chunks(CHUNK).enumerate().map(seal).collect();
    let manifest = Manifest {
        length: payload.len(),
        hash: *blake3::hash(payload).as_bytes(),
        chunks: bodies.iter().map(|body| *blake3::hash(body).as_bytes()).collect(),
        key,
    };
    Ok((manifest, bodies))
}

impl Manifest {
    /// Its bytes: the payload of its letter.
    pub(crate) fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(FIXED + 32 * self.chunks.len()));
        bytes.push(VERSION);
        bytes.extend_from_slice(&*self.key);
        bytes.extend_from_slice(&(self.length as u64).to_be_bytes());
        bytes.extend_from_slice(&self.hash);
        bytes.extend_from_slice(self.chunks.as_flattened());
        bytes
    }

    /// Reads them.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, ChunkFault> {
        let parse = || {
            let (&[version], rest) = bytes.split_first_chunk()?;
            let (&key, rest) = rest.split_first_chunk()?;
            let (&length, rest) = rest.split_first_chunk()?;
            let (&hash, rest) = rest.split_first_chunk()?;
            let (chunks, left) = rest.as_chunks::<32>();
            let length = usize::try_from(u64::from_be_bytes(length)).ok()?;
            let fits = version == VERSION
                && left.is_empty()
                && length <= MESSAGE_MAX
                && chunks.len() == length.div_ceil(CHUNK);
            let key = Zeroizing::new(key);
            fits.then(|| Manifest { key, length, hash, chunks: chunks.to_vec() })
        };
        parse().ok_or(ChunkFault::Manifest)
    }

    /// Where its chunks are, in order.
    pub(crate) fn places(&self, network: &NetworkName) -> Vec<Key> {
        self.chunks.iter().map(|hash| domain::content_key(network, hash)).collect()
    }

    /// Puts the payload together from the bodies of its chunks, in order.
    pub(crate) fn assemble(&self, bodies: &[Bytes]) -> Result<Zeroizing<Vec<u8>>, ChunkFault> {
        if bodies.len() != self.chunks.len() {
            return Err(ChunkFault::Mixed);
        }
        let cipher = XChaCha20Poly1305::new((&*self.key).into());
        let mut payload = Zeroizing::new(Vec::with_capacity(bodies.len() * CHUNK));
        for (number, body) in bodies.iter().enumerate() {
            let (nonce, bound) = place(number, bodies.len());
            let opened = cipher.decrypt(&nonce, Payload { msg: body, aad: &bound });
            let opened = opened.map(Zeroizing::new).map_err(|_| ChunkFault::Foreign(number))?;
            payload.extend_from_slice(&opened);
        }
        let length = self.length.min(payload.len());
        let padding = payload.split_off(length);
        let whole = payload.len() == self.length
            && padding.len() < CHUNK
            && padding.iter().all(|byte| *byte == 0)
            && *blake3::hash(&payload).as_bytes() == self.hash;
        whole.then_some(payload).ok_or(ChunkFault::Mixed)
    }
}

/// The nonce of a chunk, and what it is bound to.
fn place(number: usize, count: usize) -> (XNonce, [u8; 8]) {
    let number = u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes();
    let count = u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes();
    let (mut nonce, mut bound) = ([0; 24], [0; 8]);
    nonce[20..].copy_from_slice(&number);
    bound[..4].copy_from_slice(&number);
    bound[4..].copy_from_slice(&count);
    (nonce.into(), bound)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut_of(size: usize, fill: u8, seed: u8) -> (Manifest, Vec<Bytes>) {
        cut(&vec![fill; size], &Entropy::from_seed([seed; 32])).unwrap()
    }

    #[test]
    fn a_payload_comes_together_again() {
        for size in [1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, MESSAGE_MAX] {
            let (manifest, bodies) = cut_of(size, 7, 1);
            assert!(bodies.iter().all(|body| body.len() == BODY_MAX), "one size for all");
            let read = Manifest::decode(&manifest.encode()).unwrap();
            assert!(read == manifest);
            assert_eq!(read.assemble(&bodies).unwrap().len(), size);
        }
    }

    /// `mixed-chunks`: elsewhere chunks of two versions of one value were put together.
    #[test]
    fn mixed_chunks_are_an_error() {
        let (manifest, bodies) = cut_of(3 * CHUNK, 7, 1);
        let (_, newer) = cut_of(3 * CHUNK, 8, 2);
        let mut mixed = bodies.clone();
        mixed[1] = newer[1].clone();
        assert_eq!(manifest.assemble(&mixed).unwrap_err(), ChunkFault::Foreign(1));
        let mut swapped = bodies.clone();
        swapped.swap(0, 2);
        assert_eq!(manifest.assemble(&swapped).unwrap_err(), ChunkFault::Foreign(0));
        assert_eq!(manifest.assemble(&bodies[..2]).unwrap_err(), ChunkFault::Mixed);
        // The same key and places, another content: only the hash over all of it tells.
        let (_, same_key) = cut_of(3 * CHUNK, 9, 1);
        let mut mixed = bodies;
        mixed[2] = same_key[2].clone();
        assert_eq!(manifest.assemble(&mixed).unwrap_err(), ChunkFault::Mixed);
    }

    #[test]
    fn a_manifest_has_one_form() {
        let bytes = cut_of(CHUNK + 1, 7, 1).0.encode();
        for length in 0..bytes.len() {
            assert_eq!(Manifest::decode(&bytes[..length]).err(), Some(ChunkFault::Manifest));
        }
        let mut later = bytes.to_vec();
        later[0] = 2;
        assert!(Manifest::decode(&later).is_err());
        let mut longer = bytes.to_vec();
        longer[33] = 1;
        assert!(Manifest::decode(&longer).is_err(), "a length that the chunks do not make up");
    }
}
