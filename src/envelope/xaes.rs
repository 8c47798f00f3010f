//! XAES-256-GCM, the extended-nonce AEAD of C2SP (<https://c2sp.org/XAES-256-GCM>).
//!
//! From the key and the first 12 nonce bytes the counter mode KDF of SP 800-108r1 with CMAC (SP 800-38B) derives a key
//! for AES-256-GCM (SP 800-38D), which takes the other 12. So 192 nonce bits are random, and a key seals 2^80 values
//! before a nonce repeats with probability 2^-32, where AES-GCM alone allows 2^32.

use aes::Aes256Enc;
use aes::cipher::{BlockCipherEncrypt, KeyInit};
use zeroize::{ZeroizeOnDrop, Zeroizing};

use crate::gcm;
use crate::header::{NONCE_LEN, TAG_LEN};
use crate::secret::KEY_LEN;

/// A key ready for use: its AES key schedule and the CMAC subkey K1. Wiped on drop.
#[derive(ZeroizeOnDrop)]
pub struct XaesKey {
    cipher: Aes256Enc,
    k1: [u8; 16],
}

/// It does not open: another key, another context, or changed bytes. Which of them is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it does not open: another key or context, or it was changed")]
pub struct DoesNotOpen;

/// More than AES-GCM seals under one nonce: 2^36 - 32 bytes (SP 800-38D section 5.2.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too long to be sealed")]
pub struct TooLong;

impl XaesKey {
    /// Computes the key schedule and K1 of `key`, which remains the caller's to wipe.
    pub fn new(key: &[u8; KEY_LEN]) -> Self {
        let cipher = Aes256Enc::new(key.into());
        let mut k1 = [0; 16];
        cipher.encrypt_block((&mut k1).into());
        // K1 is the encrypted zero block doubled in GF(2^128) (SP 800-38B section 6.1), without a branch on its bits.
        let overflow = k1[0] >> 7;
        for at in 0..16 {
            let next = k1.get(at + 1).map_or(0, |next| next >> 7);
            k1[at] = (k1[at] << 1) | next;
        }
        k1[15] ^= overflow.wrapping_neg() & 0x87;
        XaesKey { cipher, k1 }
    }

    /// Encrypts `buf` in place and gives the tag over it and `aad`. A nonce must never come twice under a key.
    ///
    /// # Errors
    /// [`TooLong`], and `buf` is still plaintext.
    pub fn seal_in_place(
        &self,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        buf: &mut [u8],
    ) -> Result<[u8; TAG_LEN], TooLong> {
        let (key, iv) = self.derive(nonce);
        gcm::seal(&key, &iv, aad, buf)
    }

    /// Decrypts `buf` in place when the tag over it and `aad`, compared in constant time, is right.
    ///
    /// # Errors
    /// [`DoesNotOpen`], and `buf` holds no plaintext.
    pub fn open_in_place(
        &self,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        buf: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), DoesNotOpen> {
        let (key, iv) = self.derive(nonce);
        gcm::open(&key, &iv, aad, buf, tag)
    }

    /// The AES-256-GCM key for `nonce` and the nonce that it is used with.
    fn derive(&self, nonce: &[u8; NONCE_LEN]) -> (Zeroizing<[u8; KEY_LEN]>, [u8; 12]) {
        let mut key = Zeroizing::new([0; KEY_LEN]);
        for (counter, block) in (1..).zip(key.as_chunks_mut::<16>().0) {
            block[..4].copy_from_slice(&[0, counter, b'X', 0]);
            block[4..].copy_from_slice(&nonce[..12]);
            for (byte, k1) in block.iter_mut().zip(&self.k1) {
                *byte ^= k1;
            }
            self.cipher.encrypt_block(block.into());
        }
        let mut iv = [0; 12];
        iv.copy_from_slice(&nonce[12..]);
        (key, iv)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_holds_key_bits_is_wiped_on_drop() {
        fn wiped<T: ZeroizeOnDrop>() {}
        wiped::<Aes256Enc>();
        wiped::<gcm::Gcm>();
        wiped::<XaesKey>();
    }

    #[test]
    fn a_refused_buffer_is_untouched() {
        let key = XaesKey::new(&[1; 32]);
        let mut buf = *b"sixteen and more";
        let tag = key.seal_in_place(&[2; 24], b"a", &mut buf).ok();
        let sealed = buf;
        assert_ne!(sealed, *b"sixteen and more");
        let tag = tag.unwrap_or_default();
        let opened = key.open_in_place(&[2; 24], b"b", &mut buf, &tag);
        assert_eq!((opened, buf), (Err(DoesNotOpen), sealed));
        let opened = key.open_in_place(&[2; 24], b"a", &mut buf, &tag);
        assert_eq!((opened, buf), (Ok(()), *b"sixteen and more"));
    }
}
