//! AES-256-GCM (SP 800-38D) by AWS-LC, with the key schedule in the caller's memory.
//!
//! A [`GcmKey`] holds its schedule itself: wherever the caller puts it (a page that is locked, left out of core dumps,
//! zeroed on fork) is where the key is. Nothing is allocated for a value, and no value is copied: the cipher reads one
//! buffer and writes another. All zeros are a valid `GcmKey` that has no key and refuses to work.
//!
//! AWS-LC copies the key of the tag (GHASH), from which the cipher's key does not follow, to its stack frame for each
//! value and leaves it there: within 1 KiB below the caller, who overwrites it when values have been dealt with.
//!
//! The only `unsafe` beneath the byte format, for the calls into AWS-LC.

#![deny(missing_docs)]

use std::mem::MaybeUninit;
use std::ptr;

use aws_lc_sys::{
    EVP_AEAD_CTX, EVP_AEAD_CTX_init, EVP_AEAD_CTX_open_gather, EVP_AEAD_CTX_seal_scatter,
    EVP_aead_aes_256_gcm,
};
use zeroize::Zeroize;

/// Length of a key, in bytes.
pub const KEY_LEN: usize = 32;
/// Length of the nonce, in bytes.
pub const IV_LEN: usize = 12;
/// Length of the tag, in bytes.
pub const TAG_LEN: usize = 16;

/// An AES-256-GCM key ready for use, or none. Wiped on drop.
// AWS-LC computes its schedule relative to this alignment, so that a move does not break it.
#[repr(C, align(64))]
pub struct GcmKey(EVP_AEAD_CTX);

/// No key is set, the value is too long for the cipher, or, on opening, the tag is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused;

impl GcmKey {
    /// No key.
    pub fn unset() -> GcmKey {
        // SAFETY: plain integers and a pointer, for which zeros are null.
        GcmKey(unsafe { MaybeUninit::zeroed().assume_init() })
    }

    /// Makes `key` ready, in place of what was there; it remains the caller's to wipe.
    pub fn set(&mut self, key: &[u8; KEY_LEN]) {
        self.wipe();
        // SAFETY: the context is zeroed and owns nothing elsewhere; AES-256-GCM keeps all of its state within it, reads
        // 32 bytes of key, and leaves the context without an algorithm when it fails.
        unsafe {
            EVP_AEAD_CTX_init(
                &mut self.0,
                EVP_aead_aes_256_gcm(),
                key.as_ptr(),
                KEY_LEN,
                TAG_LEN,
                ptr::null_mut(),
            );
        }
    }

    /// Whether there is a key.
    pub fn is_set(&self) -> bool {
        !self.0.aead.is_null()
    }

    /// Encrypts `plaintext` to `ciphertext`, which is as long, and writes the tag over it and `aad`. An `iv` must never
    /// come twice under a key.
    ///
    /// # Errors
    /// [`Refused`]; what stands in `ciphertext` and `tag` is then no part of the plaintext.
    #[inline]
    pub fn seal(
        &self,
        iv: &[u8; IV_LEN],
        aad: &[u8],
        plaintext: &[u8],
        ciphertext: &mut [u8],
        tag: &mut [u8; TAG_LEN],
    ) -> Result<(), Refused> {
        if !self.is_set() || ciphertext.len() != plaintext.len() {
            return Err(Refused);
        }
        let mut tag_len = 0;
        // SAFETY: the context was initialised; each pointer goes with the length of its slice, and input and output
        // are different ones.
        let done = unsafe {
            EVP_AEAD_CTX_seal_scatter(
                &self.0,
                ciphertext.as_mut_ptr(),
                tag.as_mut_ptr(),
                &mut tag_len,
                TAG_LEN,
                iv.as_ptr(),
                IV_LEN,
                plaintext.as_ptr(),
                plaintext.len(),
                ptr::null(),
                0,
                aad.as_ptr(),
                aad.len(),
            )
        };
        if done == 1 && tag_len == TAG_LEN { Ok(()) } else { Err(Refused) }
    }

    /// Decrypts `ciphertext` to `plaintext`, which is as long, when the tag over it and `aad` is right. Tags are compared
    /// in constant time.
    ///
    /// # Errors
    /// [`Refused`]; `plaintext` then holds none.
    #[inline]
    pub fn open(
        &self,
        iv: &[u8; IV_LEN],
        aad: &[u8],
        ciphertext: &[u8],
        tag: &[u8; TAG_LEN],
        plaintext: &mut [u8],
    ) -> Result<(), Refused> {
        if !self.is_set() || ciphertext.len() != plaintext.len() {
            return Err(Refused);
        }
        // SAFETY: as in `seal`. When the tag is another AWS-LC zeroes what it has written.
        let done = unsafe {
            EVP_AEAD_CTX_open_gather(
                &self.0,
                plaintext.as_mut_ptr(),
                iv.as_ptr(),
                IV_LEN,
                ciphertext.as_ptr(),
                ciphertext.len(),
                tag.as_ptr(),
                TAG_LEN,
                aad.as_ptr(),
                aad.len(),
            )
        };
        if done == 1 { Ok(()) } else { Err(Refused) }
    }

    /// Lets go of the key.
    pub fn wipe(&mut self) {
        let bytes: *mut [u8; size_of::<GcmKey>()] = ptr::from_mut(self).cast();
        // As a slice: an array is zeroed byte by byte, which takes as long as making a key ready.
        // SAFETY: all of `self`, which owns nothing elsewhere; zeros are a valid value of it.
        unsafe { (*bytes).as_mut_slice().zeroize() }
    }
}

impl Drop for GcmKey {
    fn drop(&mut self) {
        self.wipe();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(byte: u8) -> GcmKey {
        let mut key = GcmKey::unset();
        key.set(&[byte; KEY_LEN]);
        key
    }

    /// `len` bytes sealed under the key of sevens: ciphertext and tag.
    fn sealed(key: &GcmKey, len: usize) -> Option<(Vec<u8>, [u8; TAG_LEN])> {
        let plaintext: Vec<u8> = (0..len).map(|at| at as u8).collect();
        let (mut ciphertext, mut tag) = (vec![0xEE; len], [0xEE; TAG_LEN]);
        key.seal(&[1; IV_LEN], b"aad", &plaintext, &mut ciphertext, &mut tag).ok()?;
        Some((ciphertext, tag))
    }

    fn opened(key: &GcmKey, aad: &[u8], ciphertext: &[u8], tag: &[u8; TAG_LEN]) -> (bool, Vec<u8>) {
        let mut plaintext = vec![0xEE; ciphertext.len()];
        let done = key.open(&[1; IV_LEN], aad, ciphertext, tag, &mut plaintext).is_ok();
        (done, plaintext)
    }

    #[test]
    fn opens_what_it_sealed_and_nothing_else() {
        for len in [0, 1, 15, 16, 17, 255, 256, 4096, 65_537] {
            let Some((mut ciphertext, tag)) = sealed(&set(7), len) else { unreachable!() };
            let plaintext: Vec<u8> = (0..len).map(|at| at as u8).collect();
            assert_eq!(opened(&set(7), b"aad", &ciphertext, &tag), (true, plaintext));
            assert_eq!(opened(&set(7), b"aae", &ciphertext, &tag), (false, vec![0; len]));
            assert_eq!(opened(&set(8), b"aad", &ciphertext, &tag), (false, vec![0; len]));
            assert_eq!(
                opened(&set(7), b"aad", &ciphertext, &tag.map(|b| b ^ 1)),
                (false, vec![0; len])
            );
            if let Some(last) = ciphertext.last_mut() {
                *last ^= 0x80;
                assert_eq!(opened(&set(7), b"aad", &ciphertext, &tag), (false, vec![0; len]));
            }
        }
    }

    /// As after a fork, when the page of a key reads as zeros.
    #[test]
    fn zeros_are_no_key() {
        for key in [GcmKey::unset(), {
            let mut key = set(7);
            key.wipe();
            key
        }] {
            assert!(!key.is_set());
            assert_eq!(sealed(&key, 16), None);
            assert!(!opened(&key, b"aad", &[0; 16], &[0; TAG_LEN]).0);
        }
    }

    #[test]
    fn a_moved_key_is_the_same_key() {
        let here = set(7);
        let expected = sealed(&here, 100);
        let mut there = vec![Box::new((0u8, here))];
        assert_eq!(there.pop().and_then(|moved| sealed(&moved.1, 100)), expected);
    }

    #[test]
    fn buffers_of_other_lengths_are_refused() {
        let mut short = [0; 3];
        let sealed = set(7).seal(&[1; IV_LEN], b"", &[0; 4], &mut short, &mut [0; TAG_LEN]);
        assert_eq!(sealed, Err(Refused));
        assert_eq!(
            set(7).open(&[1; IV_LEN], b"", &[0; 4], &[0; TAG_LEN], &mut short),
            Err(Refused)
        );
    }

    #[test]
    fn a_dropped_key_leaves_no_byte() {
        let mut place = Box::new(MaybeUninit::new(set(7)));
        // SAFETY: dropped once; its place stays allocated, and was zeroed byte by byte, padding
        // included.
        let left: [u8; size_of::<GcmKey>()] = unsafe {
            place.assume_init_drop();
            *place.as_ptr().cast()
        };
        assert_eq!(left, [0; size_of::<GcmKey>()]);
    }
}
