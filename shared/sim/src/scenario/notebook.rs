//! [`Notebook`]: one person's numbered pages, for stories that follow single slots.

use bytes::Bytes;
use dht_context::operations::Put;
use dht_kad::record::Retention;
use ed25519_dalek::SigningKey;

use super::Errand;
use crate::dice::Seed;
use crate::world::World;

/// Bytes of a page: what a message or a profile takes.
const PAGE_BYTES: usize = 600;

/// Pages that one identity owns: each is a slot.
pub(super) struct Notebook {
    identity: SigningKey,
    seed: Seed,
    name: &'static str,
}

impl Notebook {
    /// The notebook of this name in this world.
    pub(super) fn new(world: &World, name: &'static str) -> Self {
        let identity = SigningKey::from_bytes(&world.seed().derive(name, 0));
        Notebook { identity, seed: world.seed(), name }
    }

    /// Writes a version of a page, to live for so long.
    pub(super) fn write(&self, page: u64, version: u64, retention: Retention) -> Errand {
        let mut body = format!("{} {page} {version} ", self.name).into_bytes();
        body.resize(PAGE_BYTES, b'.');
        let put = Put { retention, ..Put::owned(self.label(page), Bytes::from(body)) };
        Errand::Put(Box::new(self.identity.clone()), put)
    }

    /// Deletes a page.
    pub(super) fn delete(&self, page: u64) -> Errand {
        Errand::Delete(Box::new(self.identity.clone()), self.label(page))
    }

    fn label(&self, page: u64) -> [u8; 32] {
        self.seed.derive(self.name, 1 + page)
    }
}
