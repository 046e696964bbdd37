//! How the rows of letters are keyed: by contact, then by a number.

/// A contact's identity ‖ a number, big-endian: the rows of one contact lie together, in the order of
/// their numbers.
pub(super) type RowKey = [u8; 40];

/// The key of a contact's row with this number.
pub(super) fn row_key(contact: &[u8; 32], number: u64) -> RowKey {
    let mut key = [0; 40];
    let (who, which) = key.split_at_mut(32);
    who.copy_from_slice(contact);
    which.copy_from_slice(&number.to_be_bytes());
    key
}

/// The number in a key.
pub(super) fn number_of(key: &RowKey) -> u64 {
    u64::from_be_bytes(key.last_chunk().copied().unwrap_or_default())
}
