//! What a run puts: values that follow from a number, so that none has to be remembered.

use bytes::{BufMut, Bytes, BytesMut};
use dht_client::ErrorNumber;

use crate::cli::failure::Failure;

/// The values of one run, which no other run makes.
pub(super) struct Values {
    run: u64,
    size: usize,
}

impl Values {
    /// Values of this many bytes.
    pub(super) fn new(size: usize) -> Result<Self, Failure> {
        let run = getrandom::u64().map_err(|error| {
            let sentence =
                format!("no random numbers ({error}); give the process access to the system's");
            Failure::new(ErrorNumber::Internal, sentence)
        })?;
        Ok(Values { run, size })
    }

    /// The name under which a value is put.
    pub(super) fn label(&self, number: u64) -> String {
        format!("bench/{:016x}/{number}", self.run)
    }

    /// A name under which nothing is put.
    pub(super) fn missing_label(&self, number: u64) -> String {
        format!("bench/{:016x}/missing/{number}", self.run)
    }

    /// A value.
    pub(super) fn body(&self, number: u64) -> Bytes {
        let mut body = BytesMut::with_capacity(self.size + 8);
        let mut state = self.run ^ number.rotate_left(32);
        while body.len() < self.size {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            body.put_u64(mix(state));
        }
        body.truncate(self.size);
        body.freeze()
    }
}

/// SplitMix64's output function (Steele, Lea and Flood, 2014): no two values look alike, and none
/// can be compressed.
fn mix(state: u64) -> u64 {
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_their_size_and_differ_by_number_and_run() {
        for size in [0, 1, 8, 1023, 65_536] {
            assert_eq!(Values { run: 1, size }.body(7).len(), size);
        }
        let (one, other) = (Values { run: 1, size: 16 }, Values { run: 2, size: 16 });
        assert_eq!(one.body(3), one.body(3));
        assert_ne!(one.body(3), one.body(4));
        assert_ne!(one.body(3), other.body(3));
        assert_ne!(one.label(3), other.label(3));
        assert_ne!(one.label(3), one.missing_label(3));
    }
}
