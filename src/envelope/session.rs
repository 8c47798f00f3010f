//! Nonces of values that are sealed one after the other, so that they share a derived key.
//!
//! A session draws 24 random bytes: a prefix P and a start S, 12 bytes each. Its value number i is sealed under the nonce
//! P ‖ (S + i mod 2^96), so the key that XAES-256-GCM derives from P is derived once, not for each value.
//!
//! **No nonce comes twice under a key.**
//! - Within a session: the counter moves before the cipher runs and never back, whatever happens after (error, rollback),
//!   and the session is over long before 2^96 values.
//! - Between sessions: two overlap only if their P are equal, by chance of 2^-96, and their S are nearer to each other
//!   than the [`MAX_VALUES`] = 2^16 values that each has at most, 2^17 / 2^96. With T sessions under a key some two
//!   overlap with probability below T² / 2 · 2^-96 · 2^17 / 2^96 = T² · 2^16 / 2^192: for T = 2^48 sessions 2^-80. S must
//!   be random for that; were it always zero, equal prefixes would do, T² / 2^97.
//! - Between processes: a session is in one process's memory and nothing of it is stored, so that neither a crash nor a
//!   restored backup nor a promoted standby goes on with one. A forked child reads zeros in its place ([`Session::none`]:
//!   over). A machine cloned with its memory does repeat what is left of the sessions open at that moment; the caller
//!   ends each with its transaction.
//!
//! **Limits of AES-GCM** (SP 800-38D): a derived key encrypts at most 2^16 values and [`MAX_BYTES`] = 2^30 bytes, 2^26
//! blocks, where its bounds are in the order of 2^-77.
//!
//! What it costs: values of one session share 12 bytes and are numbered, which shows who was sealed together and in
//! what order. A session of one value is a nonce drawn anew.

use zeroize::Zeroizing;

use crate::header::{KeyId, NONCE_LEN};
use crate::value::SealKey;
use crate::xaes::{DerivedKey, IV_LEN, halves};

/// The most values of a session.
pub const MAX_VALUES: u32 = 1 << 16;
/// The most bytes that a session encrypts: more than the longest value.
pub const MAX_BYTES: u64 = 1 << 30;

/// What is left of a run of nonces under one key, with the key derived for it. All zeros are a session that is over.
/// Wiped on drop.
pub struct Session {
    pub(crate) key_id: KeyId,
    pub(crate) derived: DerivedKey,
    /// The half of the next nonce that counts, in its lower 96 bits; the other one is the derived key's.
    next: Zeroizing<u128>,
    values_left: u32,
    bytes_left: u64,
}

impl Session {
    /// One that is over.
    pub fn none() -> Session {
        Session {
            key_id: KeyId([0; 16]),
            derived: DerivedKey::none(),
            next: Zeroizing::new(0),
            values_left: 0,
            bytes_left: 0,
        }
    }

    /// Begins anew, under `key`, for at most `values` values (never more than [`MAX_VALUES`]). `random` is 24 bytes that
    /// nobody has used, of a cryptographic source.
    pub fn begin(&mut self, key: &SealKey, random: &[u8; NONCE_LEN], values: u32) {
        let (prefix, start) = halves(random);
        key.xaes().derive(prefix, &mut self.derived);
        self.key_id = key.key_id();
        let mut first = [0; 16];
        first[4..].copy_from_slice(start);
        *self.next = u128::from_be_bytes(first);
        self.values_left = values.min(MAX_VALUES);
        self.bytes_left = MAX_BYTES;
    }

    /// The counting half of the nonce for a value of `len` bytes; `None`, now and from here on, when the session has none
    /// left for it.
    #[inline]
    pub(crate) fn next_iv(&mut self, len: u64) -> Option<[u8; IV_LEN]> {
        if self.values_left == 0 || len > self.bytes_left {
            self.values_left = 0;
            return None;
        }
        self.values_left -= 1;
        self.bytes_left -= len;
        // In the two pieces in which 12 bytes are read again: a processor waits for what it wrote in others.
        let mut iv = [0; IV_LEN];
        let (high, low) = iv.split_at_mut(8);
        high.copy_from_slice(&((*self.next >> 32) as u64).to_be_bytes());
        low.copy_from_slice(&(*self.next as u32).to_be_bytes());
        *self.next += 1;
        Some(iv)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::DataKey;

    fn key(byte: u8) -> SealKey {
        match DataKey::try_from_slice(&[byte; 32]) {
            Ok(data_key) => SealKey::from_data_key(&data_key),
            Err(_) => unreachable!("32 bytes"),
        }
    }

    fn begun(random: [u8; NONCE_LEN], values: u32) -> Session {
        let mut session = Session::none();
        session.begin(&key(1), &random, values);
        session
    }

    #[test]
    fn the_first_nonce_is_what_was_drawn_and_each_is_one_more() {
        let random = std::array::from_fn(|at| at as u8);
        let mut session = begun(random, 3);
        let (prefix, mut iv) = (*halves(&random).0, *halves(&random).1);
        assert_eq!(session.derived.prefix(), &prefix);
        assert_eq!(session.next_iv(0), Some(iv));
        iv[11] += 1;
        assert_eq!(session.next_iv(0), Some(iv));
    }

    #[test]
    fn the_counter_wraps_at_96_bits() {
        let mut session = begun([0xFF; NONCE_LEN], 2);
        assert_eq!(session.next_iv(0), Some([0xFF; IV_LEN]));
        assert_eq!(session.next_iv(0), Some([0; IV_LEN]));
    }

    #[test]
    fn a_session_has_65_536_values_all_different() {
        for asked in [MAX_VALUES, u32::MAX] {
            let mut session = begun([0xFF; NONCE_LEN], asked);
            let mut ivs = std::collections::HashSet::new();
            while let Some(iv) = session.next_iv(16) {
                assert!(ivs.insert(iv));
            }
            assert_eq!(ivs.len(), 65_536);
            assert_eq!(session.next_iv(0), None);
        }
    }

    #[test]
    fn a_session_has_a_gibibyte() {
        let mut session = begun([1; NONCE_LEN], MAX_VALUES);
        assert!(session.next_iv((1 << 30) - 10).is_some());
        assert!(session.next_iv(10).is_some());
        assert!(session.next_iv(0).is_some());
        assert!(session.next_iv(1).is_none());
        // What did not fit has ended it, for shorter values too.
        assert!(session.next_iv(0).is_none());
        assert!(begun([1; NONCE_LEN], 1).next_iv(1 << 30).is_some());
        assert!(begun([1; NONCE_LEN], 1).next_iv((1 << 30) + 1).is_none());
    }

    #[test]
    fn a_session_of_one_value_has_one_nonce() {
        let mut session = begun([1; NONCE_LEN], 1);
        assert!(session.next_iv(0).is_some());
        assert_eq!(session.next_iv(0), None);
    }

    #[test]
    fn none_is_over() {
        assert_eq!(Session::none().next_iv(0), None);
    }
}
