//! What comes out of an index key. An index key is a data key of its own, from which nothing is derived that seals
//! values; a key that seals values has none of these.

use zeroize::ZeroizeOnDrop;

use crate::derive;
use crate::header::KeyId;
use crate::secret::{DataKey, KEY_LEN};

/// The keys that are derived from one index key, and its id. Wiped on drop; no `Debug` and no `Clone`, as
/// [`DataKey`] has none.
#[derive(ZeroizeOnDrop)]
pub struct IndexKeys {
    #[zeroize(skip)]
    key_id: KeyId,
    terms: [u8; KEY_LEN],
    boundaries: [u8; KEY_LEN],
}

impl IndexKeys {
    /// Derives them from an index key.
    pub fn from_index_key(index_key: &DataKey) -> IndexKeys {
        let mut keys = IndexKeys {
            key_id: derive::key_id(index_key),
            terms: [0; KEY_LEN],
            boundaries: [0; KEY_LEN],
        };
        derive::index_key(index_key, &mut keys.terms);
        derive::boundaries_key(index_key, &mut keys.boundaries);
        keys
    }

    /// The id of the index key, whose first bytes stand in terms and sets of tokens.
    pub fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// The key under which terms and tokens are made. Whoever copies it wipes the copy.
    pub fn terms(&self) -> &[u8; KEY_LEN] {
        &self.terms
    }

    /// The key that seals boundary sets. Whoever copies it wipes the copy.
    pub fn boundaries(&self) -> &[u8; KEY_LEN] {
        &self.boundaries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_what_the_format_derives() {
        let Ok(index_key) = DataKey::try_from_slice(&[5; 32]) else { unreachable!() };
        let keys = IndexKeys::from_index_key(&index_key);
        let (mut terms, mut boundaries, mut seals) = ([0; 32], [0; 32], [0; 32]);
        derive::index_key(&index_key, &mut terms);
        derive::boundaries_key(&index_key, &mut boundaries);
        derive::seal_key(&index_key, &mut seals);
        assert_eq!((keys.terms(), keys.boundaries()), (&terms, &boundaries));
        assert_eq!(keys.key_id().0, derive::key_id(&index_key).0);
        assert!(seals != terms && seals != boundaries);
    }
}
