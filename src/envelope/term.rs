//! Index terms: short keyed hashes by which sealed values can be searched for equality.
//!
//! `term = key id[0..2] ‖ HMAC-SHA-256(index key, netstring(label) ‖ netstring(rule) ‖ u8 n ‖ normalised value)[0..n]`.
//! The first two bytes say which index key of the keyring made it. All that could change a term's meaning stands under
//! the HMAC, so terms of other columns, rules or lengths never match.

use zeroize::Zeroizing;

use crate::context::push_netstring;
use crate::derive;
use crate::secret::{DataKey, KEY_LEN};

/// How many bytes of the key id a term starts with.
pub const TERM_PREFIX_LEN: usize = 2;

/// A term was asked for that is shorter than 1 or longer than 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the hash of an index term is 1 to 32 bytes long")]
pub struct WrongTermLength;

/// The term of a `normalised` value in the index `label`: 2 + `n` bytes. `rule` names how it was normalised and carries
/// its version (`exact/1`). `index_key` is a data key of its own, never one that seals.
///
/// # Errors
/// [`WrongTermLength`] unless `n` is 1 to 32.
pub fn index_term(
    index_key: &DataKey,
    label: &str,
    rule: &str,
    normalised: &[u8],
    n: u8,
) -> Result<Vec<u8>, WrongTermLength> {
    if !(1..=32).contains(&n) {
        return Err(WrongTermLength);
    }
    let mut names = String::new();
    push_netstring(&mut names, label);
    push_netstring(&mut names, rule);
    let mut key = Zeroizing::new([0; KEY_LEN]);
    derive::index_key(index_key, &mut key);
    let mut hash = Zeroizing::new([0; 32]);
    derive::hmac_sha_256(&key, &[names.as_bytes(), &[n], normalised], &mut hash);
    let id = derive::key_id(index_key);
    Ok([&id.0[..TERM_PREFIX_LEN], &hash[..usize::from(n)]].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_is_n_and_two() {
        let Ok(key) = DataKey::try_from_slice(&[5; 32]) else { unreachable!() };
        let len = |n| index_term(&key, "ssn", "exact/1", b"x", n).map(|term| term.len());
        assert_eq!(len(0), Err(WrongTermLength));
        assert_eq!(len(1), Ok(3));
        assert_eq!(len(32), Ok(34));
        assert_eq!(len(33), Err(WrongTermLength));
    }

    #[test]
    fn every_argument_changes_the_term() {
        let key = |byte| match DataKey::try_from_slice(&[byte; 32]) {
            Ok(key) => key,
            Err(_) => unreachable!(),
        };
        let (one, two) = (key(5), key(6));
        let terms: std::collections::BTreeSet<_> = [
            (&one, "ssn", "exact/1", "x", 8),
            (&two, "ssn", "exact/1", "x", 8),
            (&one, "card", "exact/1", "x", 8),
            (&one, "ssn", "exact/2", "x", 8),
            (&one, "ssn", "exact/1", "y", 8),
            (&one, "ssn", "exact/1", "x", 9),
        ]
        .into_iter()
        .map(|(key, label, rule, value, n)| index_term(key, label, rule, value.as_bytes(), n))
        .map(|term| term.map(|term| term[2..10].to_vec()).unwrap_or_default())
        .collect();
        assert_eq!(terms.len(), 6);
    }
}
