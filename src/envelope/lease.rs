//! Leases: data keys that the processes of one server hand each other, sealed under a key that lives as long as the
//! server runs. None is ever stored, so that this is no part of the format at rest.
//!
//! From the server's **lease key** each database has its own, and with that a data key is sealed as a value is: by
//! XAES-256-GCM under a random nonce. What the lease says of the key is associated data, so that it can neither be moved
//! to another name nor be given more time.

use std::hash::{Hash, Hasher};

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::derive;
use crate::header::{KeyId, NONCE_LEN, TAG_LEN};
use crate::secret::{DataKey, KEY_LEN};
use crate::xaes::{DoesNotOpen, XaesKey};

/// Length of a sealed data key, in bytes: nonce, ciphertext, tag.
pub const SEALED_LEN: usize = NONCE_LEN + KEY_LEN + TAG_LEN;

/// Length of what names a lease, in bytes.
pub const NAME_LEN: usize = 32;

/// What a lease says of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// The object id of the database.
    pub database: u32,
    /// What stands for database, identity and key id: [`name`].
    pub name: [u8; NAME_LEN],
    /// Whose key it is.
    pub key_id: KeyId,
    /// When the KMS gave it, in milliseconds.
    pub since: u64,
    /// Until when it may be used, in milliseconds.
    pub until: u64,
    /// What stands for the KEK that wraps it: [`name`].
    pub kek: [u8; NAME_LEN],
    /// What the key is for.
    pub class: u8,
}

/// Writes a database's key under the server's `lease_key` to `out`, which is the caller's to wipe.
pub fn database_key(lease_key: &[u8; KEY_LEN], database: u32, out: &mut [u8; KEY_LEN]) {
    derive::lease_key(lease_key, database, out);
}

/// A name of 32 bytes for whatever can be told apart: SHA-256 (FIPS 180-4) of it.
pub fn name(of: &impl Hash) -> [u8; NAME_LEN] {
    let mut hasher = Sha(Sha256::new());
    of.hash(&mut hasher);
    hasher.0.finalize().into()
}

/// Seals `data_key` under a database's `key`. `nonce` is 24 fresh random bytes.
pub fn seal(
    key: &[u8; KEY_LEN],
    nonce: &[u8; NONCE_LEN],
    data_key: &DataKey,
    terms: &Terms,
) -> [u8; SEALED_LEN] {
    let mut sealed = [0; SEALED_LEN];
    let (head, rest) = sealed.split_at_mut(NONCE_LEN);
    let (ciphertext, tag) = rest.split_at_mut(KEY_LEN);
    head.copy_from_slice(nonce);
    ciphertext.copy_from_slice(data_key.as_bytes());
    let written = XaesKey::new(key).seal_in_place(nonce, &terms.as_bytes(), ciphertext);
    let Ok(written) = written else { unreachable!("GCM takes 32 bytes") };
    tag.copy_from_slice(&written);
    sealed
}

/// Opens what [`seal`] sealed under the same terms.
///
/// # Errors
/// [`DoesNotOpen`]: another key or other terms, or changed bytes.
pub fn open(
    key: &[u8; KEY_LEN],
    sealed: &[u8; SEALED_LEN],
    terms: &Terms,
) -> Result<Box<DataKey>, DoesNotOpen> {
    let (nonce, rest) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(DoesNotOpen)?;
    let (ciphertext, tag) = rest.split_last_chunk::<TAG_LEN>().ok_or(DoesNotOpen)?;
    let data_key = DataKey::from_fn(|out| {
        out.copy_from_slice(ciphertext);
        XaesKey::new(key).open_in_place(nonce, &terms.as_bytes(), out, tag)
    })?;
    if derive::key_id(&data_key) == terms.key_id { Ok(data_key) } else { Err(DoesNotOpen) }
}

impl Terms {
    /// All of it, each field at its place.
    fn as_bytes(&self) -> Zeroizing<Vec<u8>> {
        let fields: [&[u8]; 7] = [
            &self.database.to_be_bytes(),
            &self.name,
            &self.key_id.0,
            &self.since.to_be_bytes(),
            &self.until.to_be_bytes(),
            &self.kek,
            &[self.class],
        ];
        Zeroizing::new(fields.concat())
    }
}

/// What a type feeds to a hasher, to SHA-256.
struct Sha(Sha256);

impl Hasher for Sha {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Nobody asks.
    fn finish(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data_key() -> Box<DataKey> {
        let Ok(key) = DataKey::try_from_slice(&[7; KEY_LEN]) else { unreachable!() };
        key
    }

    fn terms() -> Terms {
        let key_id = derive::key_id(&data_key());
        let (name, kek) = (name(&"a"), name(&"k"));
        Terms { database: 5, name, key_id, since: 1, until: 2, kek, class: 1 }
    }

    #[test]
    fn opens_under_its_terms_alone() {
        let mut key = [0; KEY_LEN];
        database_key(&[1; KEY_LEN], 5, &mut key);
        let sealed = seal(&key, &[2; NONCE_LEN], &data_key(), &terms());
        let opened = open(&key, &sealed, &terms());
        assert!(opened.is_ok_and(|opened| opened.as_bytes() == data_key().as_bytes()));

        let changes: [fn(&mut Terms); 7] = [
            |terms| terms.database = 6,
            |terms| terms.name = name(&"b"),
            |terms| terms.key_id.0[0] ^= 1,
            |terms| terms.since = 0,
            |terms| terms.until = 3,
            |terms| terms.kek = name(&"l"),
            |terms| terms.class = 2,
        ];
        for change in changes {
            let mut other = terms();
            change(&mut other);
            assert!(open(&key, &sealed, &other).is_err());
        }
        for at in 0..SEALED_LEN {
            let mut changed = sealed;
            changed[at] ^= 1;
            assert!(open(&key, &changed, &terms()).is_err());
        }
    }

    #[test]
    fn a_key_of_another_id_is_none() {
        let key = [1; KEY_LEN];
        let mut wrong = terms();
        wrong.key_id.0[0] ^= 1;
        let sealed = seal(&key, &[2; NONCE_LEN], &data_key(), &wrong);
        assert!(open(&key, &sealed, &wrong).is_err());
    }

    #[test]
    fn each_database_has_its_own_key() {
        let of = |lease_key: u8, database| {
            let mut key = [0; KEY_LEN];
            database_key(&[lease_key; KEY_LEN], database, &mut key);
            key
        };
        assert_eq!(of(1, 5), of(1, 5));
        assert_ne!(of(1, 5), of(1, 6));
        assert_ne!(of(1, 5), of(2, 5));
        assert_ne!(of(1, 1), of(1, 11));
    }

    #[test]
    fn what_differs_has_another_name() {
        let names = [name(&("a", "bc")), name(&("ab", "c")), name(&(1, "")), name(&Some("a"))];
        let different: std::collections::BTreeSet<_> = names.into();
        assert_eq!(different.len(), 4);
        assert_eq!(name(&("a", "bc")), name(&("a", "bc")));
    }
}
