//! Terms and tokens under an index key.

#![allow(dead_code)]

use envelope::search::{Hasher, TOKEN_LEN, in_order, marker};
use envelope::{DataKey, KeyId};

/// An index key, ready.
pub struct Key {
    pub index_key: [u8; 32],
    pub id: KeyId,
}

/// The index key that the data key of that hex gives.
pub fn key(dek: &str) -> Key {
    let dek = DataKey::try_from_slice(&hex::decode(dek).unwrap()).unwrap();
    let mut index_key = [0; 32];
    envelope::derive::index_key(&dek, &mut index_key);
    Key { index_key, id: envelope::derive::key_id(&dek) }
}

impl Key {
    /// In hex.
    pub fn term(&self, label: &str, rule: &str, n: u8, payload: &[u8]) -> String {
        let mut term = Vec::new();
        Hasher::new(&self.index_key, self.id, label, rule, n).unwrap().term(payload, &mut term);
        hex::encode(term)
    }

    /// Ascending, each once.
    pub fn tokens(&self, label: &str, rule: &str, payloads: &[Vec<u8>]) -> Vec<i64> {
        let hasher = Hasher::new(&self.index_key, self.id, label, rule, TOKEN_LEN).unwrap();
        let mut tokens = payloads.iter().map(|payload| hasher.token(payload)).collect();
        in_order(&mut tokens);
        tokens
    }

    /// With the marker.
    pub fn stored(&self, label: &str, rule: &str, payloads: &[Vec<u8>]) -> Vec<i64> {
        let mut stored = self.tokens(label, rule, payloads);
        stored.push(marker(self.id));
        in_order(&mut stored);
        stored
    }
}
