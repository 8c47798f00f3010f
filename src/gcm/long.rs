//! AES-256-GCM by AWS-LC, with its key schedule in the caller's memory: the fastest for values of some length.

use std::mem::MaybeUninit;
use std::ptr;

use aws_lc_sys::{
    EVP_AEAD_CTX, EVP_AEAD_CTX_init, EVP_AEAD_CTX_open_gather, EVP_AEAD_CTX_seal_scatter,
    EVP_aead_aes_256_gcm,
};

use crate::{IV_LEN, KEY_LEN, Refused, TAG_LEN};

/// A key schedule of AWS-LC's, or zeros: none.
// It is computed relative to this alignment, so that a move does not break it.
#[repr(C, align(64))]
pub(crate) struct Long(EVP_AEAD_CTX);

impl Long {
    pub(crate) fn none() -> Long {
        // SAFETY: plain integers and a pointer, for which zeros are null.
        Long(unsafe { MaybeUninit::zeroed().assume_init() })
    }

    pub(crate) fn is_ready(&self) -> bool {
        !self.0.aead.is_null()
    }

    /// Computes the schedule of `key` where there is none.
    pub(crate) fn prepare(&mut self, key: &[u8; KEY_LEN]) {
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

    /// As [`crate::GcmKey::seal`], of buffers of one length.
    #[inline]
    pub(crate) fn seal(
        &self,
        iv: &[u8; IV_LEN],
        aad: &[u8],
        plaintext: &[u8],
        ciphertext: &mut [u8],
        tag: &mut [u8; TAG_LEN],
    ) -> Result<(), Refused> {
        if !self.is_ready() {
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

    /// As [`crate::GcmKey::open`], of buffers of one length.
    #[inline]
    pub(crate) fn open(
        &self,
        iv: &[u8; IV_LEN],
        aad: &[u8],
        ciphertext: &[u8],
        tag: &[u8; TAG_LEN],
        plaintext: &mut [u8],
    ) -> Result<(), Refused> {
        if !self.is_ready() {
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
}
