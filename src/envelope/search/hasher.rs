//! The one hash of search: terms and tokens of payloads.
//!
//! `H = HMAC-SHA-256(index key, netstring(label) ‖ netstring(rule) ‖ u8 n ‖ payload)[0..n]`. Two netstrings are
//! prefix-free, n is one byte and the payload is the rest: no two inputs are the same bytes. So terms of other columns,
//! rules or lengths never match.

use hmac::digest::FixedOutput;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::context::put_part;
use crate::forms::Sink;
use crate::header::KeyId;
use crate::secret::KEY_LEN;

/// How many bytes of the key id a term starts with. They are a hint: two keyrings may share them.
pub const TERM_PREFIX_LEN: usize = 2;

/// How many bytes of the hash a token is.
pub const TOKEN_LEN: u8 = 8;

/// A term was asked for that is shorter than 1 or longer than 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the hash of an index term is 1 to 32 bytes long")]
pub struct WrongTermLength;

/// What hashes the payloads of one index under one index key. Made once, it is used for many payloads; it allocates
/// nothing. Its states are wiped on drop.
pub struct Hasher {
    /// Has taken in all that stands before the payload.
    before: Hmac<Sha256>,
    key_id: KeyId,
    n: u8,
}

impl Hasher {
    /// Of terms whose hash is `n` bytes long; of tokens, [`TOKEN_LEN`]. `index_key` is what [`crate::derive::index_key`] gives.
    ///
    /// # Errors
    /// [`WrongTermLength`] unless `n` is 1 to 32.
    pub fn new(
        index_key: &[u8; KEY_LEN],
        key_id: KeyId,
        label: &str,
        rule: &str,
        n: u8,
    ) -> Result<Hasher, WrongTermLength> {
        if !(1..=32).contains(&n) {
            return Err(WrongTermLength);
        }
        // A key shorter than a block is padded with zeros (RFC 2104 section 2); padded here, no length can be refused.
        let mut block = Zeroizing::new([0; 64]);
        block[..KEY_LEN].copy_from_slice(index_key);
        let mut before = Hmac::<Sha256>::new((&*block).into());
        put_part(&mut |bytes: &[u8]| before.update(bytes), label.as_bytes());
        put_part(&mut |bytes: &[u8]| before.update(bytes), rule.as_bytes());
        before.update(&[n]);
        Ok(Hasher { before, key_id, n })
    }

    /// Appends the term of `payload`: 2 + n bytes.
    pub fn term(&self, payload: &[u8], out: &mut impl Sink) {
        self.hash(payload, |hash| {
            out.push(&self.key_id.0[..TERM_PREFIX_LEN]);
            out.push(&hash[..usize::from(self.n)]);
        });
    }

    /// As [`Self::term`], to `out`, which is 2 + n bytes long.
    pub fn write_term(&self, payload: &[u8], out: &mut [u8]) {
        debug_assert_eq!(out.len(), TERM_PREFIX_LEN + usize::from(self.n));
        self.hash(payload, |hash| {
            if let Some((head, rest)) = out.split_first_chunk_mut::<TERM_PREFIX_LEN>()
                && let Some(hash) = hash.get(..rest.len())
            {
                head.copy_from_slice(&self.key_id.0[..TERM_PREFIX_LEN]);
                rest.copy_from_slice(hash);
            }
        });
    }

    /// The token of `payload`. The hasher is one of tokens: another n gives tokens that no set has.
    pub fn token(&self, payload: &[u8]) -> i64 {
        debug_assert_eq!(self.n, TOKEN_LEN);
        self.hash(payload, |hash| first_eight(hash))
    }

    /// The token that no value has, for a query that has none: its payload, `FF` alone, is no kind's.
    pub fn no_token(&self) -> i64 {
        self.token(&[0xff])
    }

    /// What every set made under the key holds beside its tokens, to say so.
    pub fn marker(&self) -> i64 {
        marker(self.key_id)
    }

    /// The id of the index key.
    pub fn key_id(&self) -> KeyId {
        self.key_id
    }

    #[inline]
    fn hash<T>(&self, payload: &[u8], use_hash: impl FnOnce(&[u8; 32]) -> T) -> T {
        let mut hash = Zeroizing::new([0; 32]);
        let mut mac = self.before.clone();
        mac.update(payload);
        mac.finalize_into((&mut *hash).into());
        use_hash(&hash)
    }
}

/// The marker of an index key, which says that it made a set.
pub fn marker(key_id: KeyId) -> i64 {
    first_eight(&key_id.0)
}

/// Puts a set in the order in which it is stored: ascending, each token once.
pub fn in_order(set: &mut Vec<i64>) {
    set.sort_unstable();
    set.dedup();
}

/// Big-endian, two's complement.
fn first_eight(bytes: &[u8]) -> i64 {
    bytes.first_chunk().map_or(0, |first| i64::from_be_bytes(*first))
}

#[cfg(test)]
mod tests {
    use super::*;
    use zeroize::ZeroizeOnDrop;

    const ID: KeyId = KeyId([9; 16]);

    fn term(key: u8, label: &str, rule: &str, payload: &str, n: u8) -> Vec<u8> {
        let mut out = Vec::new();
        if let Ok(hasher) = Hasher::new(&[key; KEY_LEN], ID, label, rule, n) {
            hasher.term(payload.as_bytes(), &mut out);
        }
        out
    }

    #[test]
    fn length_is_n_and_two() {
        let lengths = [0, 1, 8, 32, 33].map(|n| term(5, "ssn", "exact/1", "x", n).len());
        assert_eq!(lengths, [0, 3, 10, 34, 0]);
    }

    #[test]
    fn a_term_is_the_same_wherever_it_is_written() {
        let Ok(hasher) = Hasher::new(&[5; KEY_LEN], ID, "ssn", "exact/1", 8) else {
            unreachable!()
        };
        let mut written = [0; 10];
        hasher.write_term(b"x", &mut written);
        assert_eq!(written[..], term(5, "ssn", "exact/1", "x", 8));
        assert_eq!(written[..2], ID.0[..2]);
    }

    #[test]
    fn a_marker_is_the_first_half_of_the_id_in_big_endian() {
        let id = std::array::from_fn(|at| 0xF0 + at as u8);
        assert_eq!(marker(KeyId(id)), 0xF0F1_F2F3_F4F5_F6F7_u64.cast_signed());
    }

    #[test]
    fn every_argument_changes_the_term() {
        let terms: std::collections::BTreeSet<_> = [
            term(5, "ssn", "exact/1", "x", 8),
            term(6, "ssn", "exact/1", "x", 8),
            term(5, "card", "exact/1", "x", 8),
            term(5, "ssn", "exact/2", "x", 8),
            term(5, "ssn", "exact/1", "y", 8),
            term(5, "ssn", "exact/1", "x", 9),
            // The same bytes, cut elsewhere.
            term(5, "ssn7:exact/1,", "", "x", 8),
            term(5, "", "ssn,7:exact/1", "x", 8),
        ]
        .into_iter()
        .map(|term| term.get(2..10).map(<[u8]>::to_vec))
        .collect();
        assert_eq!(terms.len(), 8);
        assert!(!terms.contains(&None));
    }

    #[test]
    fn a_set_is_ascending_and_has_each_once() {
        let mut set = vec![3, -1, 3, i64::MIN, 0];
        in_order(&mut set);
        assert_eq!(set, [i64::MIN, -1, 0, 3]);
        assert_eq!(marker(KeyId([0xff; 16])), -1);
    }

    #[test]
    fn states_are_wiped_on_drop() {
        fn wiped<T: ZeroizeOnDrop>() {}
        wiped::<Sha256>();
    }
}
