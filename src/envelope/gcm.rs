//! AES-256-GCM (SP 800-38D) under a key that is used for one value, by two independent
//! implementations that give the same bytes: RustCrypto's for short values, whose key set-up is
//! cheap, and AWS-LC's for long ones, which is some three times faster a byte.
//!
//! AWS-LC keeps its key schedule in memory of its own for as long as a call lasts, and wipes it.

use aes::Aes256Enc;
use aes_gcm::aead::consts::U12;
use aes_gcm::aead::{AeadInOut, inout::InOutBuf};
use aes_gcm::{AesGcm, KeyInit};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use crate::header::TAG_LEN;
use crate::secret::KEY_LEN;
use crate::xaes::{DoesNotOpen, TooLong};

/// Bytes from which AWS-LC is used. It is the faster one from some 150 on, key set-up included, and
/// 1.5 times here; below, that nothing is allocated for a value counts for more.
const LONG: usize = 512;

/// GCM only ever encrypts blocks, so the half of the key schedule that decrypts them is not computed.
pub(crate) type Gcm = AesGcm<Aes256Enc, U12>;

/// Encrypts `buf` in place and gives the tag over it and `aad`.
///
/// # Errors
/// [`TooLong`], and `buf` is still plaintext.
pub(crate) fn seal(
    key: &[u8; KEY_LEN],
    iv: &[u8; 12],
    aad: &[u8],
    buf: &mut [u8],
) -> Result<[u8; TAG_LEN], TooLong> {
    match long_key(key, buf.len()) {
        Some(key) => seal_long(&key, iv, aad, buf),
        None => seal_short(key, iv, aad, buf),
    }
}

/// Decrypts `buf` in place when the tag over it and `aad` is right.
///
/// # Errors
/// [`DoesNotOpen`], and `buf` holds no plaintext.
pub(crate) fn open(
    key: &[u8; KEY_LEN],
    iv: &[u8; 12],
    aad: &[u8],
    buf: &mut [u8],
    tag: &[u8; TAG_LEN],
) -> Result<(), DoesNotOpen> {
    match long_key(key, buf.len()) {
        Some(key) => open_long(&key, iv, aad, buf, tag),
        None => open_short(key, iv, aad, buf, tag),
    }
}

/// AWS-LC's key for a long value; `None` for a short one, or when no memory is left for it.
fn long_key(key: &[u8; KEY_LEN], len: usize) -> Option<LessSafeKey> {
    if len < LONG {
        return None;
    }
    UnboundKey::new(&AES_256_GCM, key).ok().map(LessSafeKey::new)
}

fn seal_long(
    key: &LessSafeKey,
    iv: &[u8; 12],
    aad: &[u8],
    buf: &mut [u8],
) -> Result<[u8; TAG_LEN], TooLong> {
    let nonce = Nonce::assume_unique_for_key(*iv);
    let tag = key.seal_in_place_separate_tag(nonce, Aad::from(aad), buf).map_err(|_| TooLong)?;
    tag.as_ref().try_into().map_err(|_| TooLong)
}

fn open_long(
    key: &LessSafeKey,
    iv: &[u8; 12],
    aad: &[u8],
    buf: &mut [u8],
    tag: &[u8; TAG_LEN],
) -> Result<(), DoesNotOpen> {
    let nonce = Nonce::assume_unique_for_key(*iv);
    match key.open_in_place_separate_tag(nonce, Aad::from(aad), tag, buf) {
        Ok(_) => Ok(()),
        Err(_) => Err(DoesNotOpen),
    }
}

fn seal_short(
    key: &[u8; KEY_LEN],
    iv: &[u8; 12],
    aad: &[u8],
    buf: &mut [u8],
) -> Result<[u8; TAG_LEN], TooLong> {
    let gcm = Gcm::new(key.into());
    gcm.encrypt_inout_detached(iv.into(), aad, InOutBuf::from(buf))
        .map(Into::into)
        .map_err(|_| TooLong)
}

fn open_short(
    key: &[u8; KEY_LEN],
    iv: &[u8; 12],
    aad: &[u8],
    buf: &mut [u8],
    tag: &[u8; TAG_LEN],
) -> Result<(), DoesNotOpen> {
    let gcm = Gcm::new(key.into());
    gcm.decrypt_inout_detached(iv.into(), aad, InOutBuf::from(buf), tag.into())
        .map_err(|_| DoesNotOpen)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each opens what the other seals, at every length around blocks and the change-over.
    #[test]
    fn both_implementations_are_the_same_cipher() {
        let (key, iv) = ([7; KEY_LEN], [9; 12]);
        let Some(long) = UnboundKey::new(&AES_256_GCM, &key).ok().map(LessSafeKey::new) else {
            unreachable!("no key")
        };
        for len in (0..=130).chain([LONG - 1, LONG, LONG + 1, 4096, 65_537]) {
            let plaintext: Vec<u8> = (0..len).map(|at| at as u8).collect();
            let aad = &plaintext[..len.min(50)];
            let (mut one, mut other) = (plaintext.clone(), plaintext.clone());
            let tag = seal_short(&key, &iv, aad, &mut one);
            assert_eq!(tag, seal_long(&long, &iv, aad, &mut other));
            assert_eq!(one, other);
            let tag = tag.unwrap_or_default();
            assert_eq!(open_long(&long, &iv, aad, &mut one, &tag), Ok(()));
            assert_eq!(open_short(&key, &iv, aad, &mut other, &tag), Ok(()));
            assert_eq!((&one, &other), (&plaintext, &plaintext));
        }
    }

    /// A wrong tag leaves no plaintext behind, in either.
    #[test]
    fn what_does_not_open_gives_no_plaintext() {
        for len in [16, LONG] {
            let mut buf = vec![0xAB; len];
            let tag = seal(&[1; KEY_LEN], &[2; 12], b"", &mut buf).unwrap_or_default();
            let wrong = tag.map(|byte| !byte);
            assert_eq!(open(&[1; KEY_LEN], &[2; 12], b"", &mut buf, &wrong), Err(DoesNotOpen));
            assert!(!buf.windows(8).any(|window| window == [0xAB; 8]));
        }
    }
}
