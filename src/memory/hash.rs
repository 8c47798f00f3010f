//! Hashing for the maps that every row looks into. PostgreSQL's OIDs and our key ids are not a
//! client's to choose (only what is in the catalog is kept), so a multiplication does where
//! SipHash would cost more than the rest of the look-up.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A map from OIDs or key ids.
pub type IdMap<K, V> = HashMap<K, V, BuildHasherDefault<IdHasher>>;

/// Takes an OID, or the first half of a key id, which is random enough.
#[derive(Default)]
pub struct IdHasher(u64);

/// An odd number without pattern: 2^64 over the golden ratio.
const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;

impl Hasher for IdHasher {
    #[inline]
    fn write(&mut self, id: &[u8]) {
        if let Some(half) = id.first_chunk() {
            self.write_u64(u64::from_ne_bytes(*half));
        }
    }

    #[inline]
    fn write_u32(&mut self, oid: u32) {
        self.write_u64(oid.into());
    }

    /// How long an id is, which is always the same; or as whom the KMS is asked, of which there are few.
    #[inline]
    fn write_usize(&mut self, _length: usize) {}

    #[inline]
    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(FACTOR);
    }

    /// The map takes its bucket from the low bits, which the multiplication leaves weakest.
    #[inline]
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::{BuildHasher, BuildHasherDefault};

    #[test]
    fn key_ids_differ_by_their_first_half() {
        let hash = BuildHasherDefault::<IdHasher>::default();
        let of = |first| hash.hash_one(envelope::header::KeyId([first; 16]));
        let hashes: std::collections::HashSet<u64> = (0..=255).map(of).collect();
        assert_eq!(hashes.len(), 256);
    }

    /// Ten thousand consecutive OIDs fall on nearly as many buckets as random numbers would.
    #[test]
    fn neighbours_do_not_collide() {
        let hash = BuildHasherDefault::<IdHasher>::default();
        let buckets: std::collections::HashSet<u64> =
            (16_384u32..26_384).map(|oid| hash.hash_one(oid) % 16_384).collect();
        assert!(buckets.len() > 7_000, "{}", buckets.len());
    }
}
