//! Every key derivation of the format, and the only place where a key comes out of another.
//!
//! All are HKDF-Expand with SHA-256 (RFC 5869 section 2.3; the pseudorandom key is the key itself, which is uniform,
//! so Extract is not needed) of one block: `T(1) = HMAC-SHA-256(key, label ‖ 01)`. It is composed from `hmac` here
//! rather than called in the `hkdf` crate, which leaves the derived key unwiped on the stack; a test compares the two.
//! Labels are ASCII without a terminator. No two derivations share a label, so no output says anything of another.

use hmac::digest::FixedOutput;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::header::KeyId;
use crate::secret::{DataKey, KEY_LEN};

const SEAL: &[u8] = b"envelope/1 seal";
const KEY_ID: &[u8] = b"envelope/1 key id";
const INDEX: &[u8] = b"envelope/1 index";
const BOUNDARIES: &[u8] = b"envelope/1 boundaries";
const WRAP: &[u8] = b"envelope/1 wrap";
const KEK_ID: &[u8] = b"envelope/1 kek id";
const LEASE: &[u8] = b"envelope/1 lease ";

/// The key id of a data key. It commits to the key: derive it again after every unwrap and compare.
pub fn key_id(data_key: &DataKey) -> KeyId {
    id(data_key.as_bytes(), KEY_ID)
}

/// Writes the key that seals values under `data_key` to `out`, which is the caller's to wipe.
pub fn seal_key(data_key: &DataKey, out: &mut [u8; KEY_LEN]) {
    expand(data_key.as_bytes(), SEAL, out);
}

/// Writes the key of the index terms under the index key `data_key` to `out`, which is the caller's to wipe.
pub fn index_key(data_key: &DataKey, out: &mut [u8; KEY_LEN]) {
    expand(data_key.as_bytes(), INDEX, out);
}

/// Writes the key that seals boundary sets under the index key `data_key` to `out`, which is the caller's to wipe.
pub fn boundaries_key(data_key: &DataKey, out: &mut [u8; KEY_LEN]) {
    expand(data_key.as_bytes(), BOUNDARIES, out);
}

/// Writes the key that wraps data keys under a file's `kek` to `out`, which is the caller's to wipe.
pub fn wrap_key(kek: &[u8; KEY_LEN], out: &mut [u8; KEY_LEN]) {
    expand(kek, WRAP, out);
}

/// The id of a file's KEK, which stands in each of its wraps.
pub fn kek_id(kek: &[u8; KEY_LEN]) -> KeyId {
    id(kek, KEK_ID)
}

/// Writes the key of a database's leases under the server's `lease_key` to `out`, which is the caller's to wipe.
pub(crate) fn lease_key(lease_key: &[u8; KEY_LEN], database: u32, out: &mut [u8; KEY_LEN]) {
    let label = [LEASE, database.to_string().as_bytes()].concat();
    expand(lease_key, &label, out);
}

/// HMAC-SHA-256 (RFC 2104) of `parts` one after the other.
pub(crate) fn hmac_sha_256(key: &[u8; KEY_LEN], parts: &[&[u8]], out: &mut [u8; 32]) {
    // A key shorter than a block is padded with zeros (RFC 2104 section 2); padded here, no length can be refused.
    let mut block = Zeroizing::new([0; 64]);
    block[..KEY_LEN].copy_from_slice(key);
    let mut mac = Hmac::<Sha256>::new((&*block).into());
    for part in parts {
        mac.update(part);
    }
    mac.finalize_into(out.into());
}

fn expand(key: &[u8; KEY_LEN], label: &[u8], out: &mut [u8; KEY_LEN]) {
    hmac_sha_256(key, &[label, &[1]], out);
}

/// UUIDv8 (RFC 9562 section 5.8) of the first 16 bytes that `label` expands to.
fn id(key: &[u8; KEY_LEN], label: &[u8]) -> KeyId {
    let mut expanded = Zeroizing::new([0; KEY_LEN]);
    expand(key, label, &mut expanded);
    let mut id = [0; 16];
    id.copy_from_slice(&expanded[..16]);
    KeyId(uuid::Builder::from_custom_bytes(id).into_uuid().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 5869 by the `hkdf` crate.
    fn hkdf_expand(key: &[u8; 32], label: &[u8], out: &mut [u8]) {
        let hkdf = hkdf::Hkdf::<Sha256>::from_prk(key).ok();
        assert!(hkdf.is_some_and(|hkdf| hkdf.expand(label, out).is_ok()));
    }

    #[test]
    fn expands_as_rfc_5869_says() {
        for first in 0..=255 {
            let key = std::array::from_fn(|at| first ^ (at as u8).wrapping_mul(7));
            for label in [SEAL, KEY_ID, INDEX, BOUNDARIES, WRAP, KEK_ID] {
                let (mut ours, mut theirs) = ([0; 32], [0; 32]);
                expand(&key, label, &mut ours);
                hkdf_expand(&key, label, &mut theirs);
                assert_eq!(ours, theirs);

                let mut sixteen = [0; 16];
                hkdf_expand(&key, label, &mut sixteen);
                let KeyId(id) = id(&key, label);
                assert_eq!((id[6] >> 4, id[8] >> 6), (0b1000, 0b10));
                let free = |at: usize| match at {
                    6 => 0x0F,
                    8 => 0x3F,
                    _ => 0xFF,
                };
                assert!((0..16).all(|at| (id[at] ^ sixteen[at]) & free(at) == 0));
            }
        }
    }

    #[test]
    fn no_two_derivations_agree() {
        let key = [7; 32];
        let outputs: std::collections::BTreeSet<_> =
            [SEAL, KEY_ID, INDEX, BOUNDARIES, WRAP, KEK_ID]
                .map(|label| {
                    let mut out = [0; 32];
                    expand(&key, label, &mut out);
                    out
                })
                .into();
        assert_eq!(outputs.len(), 6);
    }

    #[test]
    fn a_database_stands_in_the_label_of_its_leases() {
        let (mut ours, mut theirs) = ([0; 32], [0; 32]);
        lease_key(&[7; 32], 16_384, &mut ours);
        hkdf_expand(&[7; 32], b"envelope/1 lease 16384", &mut theirs);
        assert_eq!(ours, theirs);
    }
}
