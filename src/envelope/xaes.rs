//! XAES-256-GCM, the extended-nonce AEAD of C2SP (<https://c2sp.org/XAES-256-GCM>).
//!
//! From the key and the first 12 nonce bytes the counter mode KDF of SP 800-108r1 with CMAC (SP 800-38B) derives a key
//! for AES-256-GCM (SP 800-38D), which takes the other 12. So 192 nonce bits are random, and a key seals 2^80 values
//! before a nonce repeats with probability 2^-32, where AES-GCM alone allows 2^32.
//!
//! A derived key serves every nonce with the same first half. Deriving it and computing its schedule costs more than
//! sealing a short value, so a [`DerivedKey`] is kept where values share it; see `gcm`. What is sealed alone,
//! the wraps, is done by RustCrypto's AES-GCM. Tests compare the two.

use aes::Aes256Enc;
use aes::cipher::{BlockCipherEncrypt, KeyInit};
use aes_gcm::AesGcm;
use aes_gcm::aead::consts::U12;
use aes_gcm::aead::{AeadInOut, inout::InOutBuf};
use gcm::GcmKey;
use zeroize::{ZeroizeOnDrop, Zeroizing};

use crate::header::{NONCE_LEN, TAG_LEN};
use crate::secret::{KEY_LEN, wipe_stack};

/// Length of the half of a nonce that a key is derived for, in bytes.
pub const PREFIX_LEN: usize = 12;
/// Length of the other half, which AES-GCM takes.
pub const IV_LEN: usize = NONCE_LEN - PREFIX_LEN;

/// GCM only ever encrypts blocks, so the half of the key schedule that decrypts them is not computed. Its hash (GHASH) is not
/// wiped on drop, which would cost each short value in `gcm` a tenth of its time: it stays below the functions that use it,
/// whose stack is overwritten.
type Gcm = AesGcm<Aes256Enc, U12>;

/// A key ready for use: its AES key schedule and the CMAC subkey K1. Wiped on drop.
#[derive(ZeroizeOnDrop)]
pub struct XaesKey {
    cipher: Aes256Enc,
    k1: [u8; 16],
}

/// The AES-256-GCM key that an [`XaesKey`] derives for the nonces that begin with a prefix, ready for use; or none, which
/// it is while all its bytes are zero. Wiped on drop.
pub struct DerivedKey {
    prefix: [u8; PREFIX_LEN],
    gcm: GcmKey,
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

    /// Makes `derived` the key for nonces that begin with `prefix`, in place of what it was.
    pub fn derive(&self, prefix: &[u8; PREFIX_LEN], derived: &mut DerivedKey) {
        self.derive_by_the_stack(prefix, derived);
        wipe_stack();
    }

    #[inline(never)]
    fn derive_by_the_stack(&self, prefix: &[u8; PREFIX_LEN], derived: &mut DerivedKey) {
        derived.gcm.set(&self.derived_bytes(prefix));
        derived.prefix = *prefix;
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
        let tag = self.seal_by_the_stack(nonce, aad, buf);
        wipe_stack();
        tag
    }

    #[inline(never)]
    fn seal_by_the_stack(
        &self,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        buf: &mut [u8],
    ) -> Result<[u8; TAG_LEN], TooLong> {
        let (prefix, iv) = halves(nonce);
        let gcm = Gcm::new((&*self.derived_bytes(prefix)).into());
        let tag = gcm.encrypt_inout_detached(iv.into(), aad, InOutBuf::from(buf));
        tag.map(Into::into).map_err(|_| TooLong)
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
        let opened = self.open_by_the_stack(nonce, aad, buf, tag);
        wipe_stack();
        opened
    }

    #[inline(never)]
    fn open_by_the_stack(
        &self,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        buf: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), DoesNotOpen> {
        let (prefix, iv) = halves(nonce);
        let gcm = Gcm::new((&*self.derived_bytes(prefix)).into());
        gcm.decrypt_inout_detached(iv.into(), aad, InOutBuf::from(buf), tag.into())
            .map_err(|_| DoesNotOpen)
    }

    /// The AES-256-GCM key for nonces that begin with `prefix`.
    fn derived_bytes(&self, prefix: &[u8; PREFIX_LEN]) -> Zeroizing<[u8; KEY_LEN]> {
        // As numbers, and both blocks before either is encrypted: a processor waits for bytes that it reads in other pieces
        // than it has just written.
        let [a, b, c, d, rest @ ..] = *prefix;
        let prefix = u128::from(u32::from_le_bytes([a, b, c, d])) << 32
            | u128::from(u64::from_le_bytes(rest)) << 64;
        let k1 = u128::from_le_bytes(self.k1);
        let mut key = Zeroizing::new([0; KEY_LEN]);
        let blocks = key.as_chunks_mut::<16>().0;
        for (counter, block) in (1..).zip(blocks.iter_mut()) {
            let head = u128::from(u32::from_le_bytes([0, counter, b'X', 0]));
            *block = (k1 ^ (prefix | head)).to_le_bytes();
        }
        for block in blocks {
            self.cipher.encrypt_block(block.into());
        }
        key
    }
}

impl DerivedKey {
    /// No key yet.
    pub fn none() -> DerivedKey {
        DerivedKey { prefix: [0; PREFIX_LEN], gcm: GcmKey::unset() }
    }

    /// What it was derived for.
    pub fn prefix(&self) -> &[u8; PREFIX_LEN] {
        &self.prefix
    }

    /// Whether it was derived for `prefix`.
    pub fn is_for(&self, prefix: &[u8; PREFIX_LEN]) -> bool {
        self.gcm.is_set() && self.prefix == *prefix
    }

    /// Encrypts `plaintext` to `ciphertext`, which is as long, and writes the tag over it and `aad`. The nonce is the
    /// prefix ‖ `iv`, and must never come twice under a key.
    ///
    /// # Errors
    /// [`TooLong`], also when there is no key; no plaintext is then in `ciphertext`.
    #[inline(always)]
    pub fn seal(
        &mut self,
        iv: &[u8; IV_LEN],
        aad: &[u8],
        plaintext: &[u8],
        ciphertext: &mut [u8],
        tag: &mut [u8; TAG_LEN],
    ) -> Result<(), TooLong> {
        self.gcm.seal(iv, aad, plaintext, ciphertext, tag).map_err(|_| TooLong)
    }

    /// Decrypts `ciphertext` to `plaintext`, which is as long, when the tag over it and `aad`, compared in constant time,
    /// is right. The nonce is the prefix ‖ `iv`.
    ///
    /// # Errors
    /// [`DoesNotOpen`], also when there is no key; `plaintext` then holds none.
    #[inline(always)]
    pub fn open(
        &mut self,
        iv: &[u8; IV_LEN],
        aad: &[u8],
        ciphertext: &[u8],
        tag: &[u8; TAG_LEN],
        plaintext: &mut [u8],
    ) -> Result<(), DoesNotOpen> {
        self.gcm.open(iv, aad, ciphertext, tag, plaintext).map_err(|_| DoesNotOpen)
    }
}

/// What a key is derived for, and what AES-GCM takes.
pub(crate) fn halves(nonce: &[u8; NONCE_LEN]) -> (&[u8; PREFIX_LEN], &[u8; IV_LEN]) {
    let (prefix, iv) = nonce.split_at(PREFIX_LEN);
    match (prefix.try_into(), iv.try_into()) {
        (Ok(prefix), Ok(iv)) => (prefix, iv),
        _ => unreachable!("two halves of 12 bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_holds_key_bits_is_wiped_on_drop() {
        fn wiped<T: ZeroizeOnDrop>() {}
        wiped::<Aes256Enc>();
        wiped::<XaesKey>();
        assert!(std::mem::needs_drop::<DerivedKey>());
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

    /// Each implementation opens what the other seals, at every length around blocks.
    #[test]
    fn both_implementations_are_the_same_cipher() {
        let key = XaesKey::new(&[7; KEY_LEN]);
        let nonce: [u8; NONCE_LEN] = std::array::from_fn(|at| at as u8);
        let (prefix, iv) = halves(&nonce);
        let mut derived = DerivedKey::none();
        key.derive(prefix, &mut derived);
        for len in (0..=300).chain([511, 512, 513, 4096, 65_537]) {
            let plaintext: Vec<u8> = (0..len).map(|at| at as u8).collect();
            let aad = &plaintext[..len.min(50)];
            let (mut one, mut other) = (plaintext.clone(), vec![0; len]);
            let tag = key.seal_in_place(&nonce, aad, &mut one).unwrap_or_default();
            let mut same = [0; TAG_LEN];
            assert_eq!(derived.seal(iv, aad, &plaintext, &mut other, &mut same), Ok(()));
            assert_eq!((&one, tag), (&other, same));
            assert_eq!(derived.open(iv, aad, &one, &tag, &mut other), Ok(()));
            assert_eq!(key.open_in_place(&nonce, aad, &mut one, &tag), Ok(()));
            assert_eq!((&one, &other), (&plaintext, &plaintext));
        }
    }

    /// Neither one that was never derived, nor one that a fork has zeroed, nor one for another prefix.
    #[test]
    fn a_key_is_for_its_prefix_only() {
        let key = XaesKey::new(&[7; KEY_LEN]);
        let mut derived = DerivedKey::none();
        let sealed = derived.seal(&[0; IV_LEN], b"", &[1; 16], &mut [0; 16], &mut [0; 16]);
        assert_eq!(sealed, Err(TooLong));
        for prefix in [[0; PREFIX_LEN], [1; PREFIX_LEN]] {
            assert!(!derived.is_for(&prefix));
            key.derive(&prefix, &mut derived);
            assert!(derived.is_for(&prefix));
        }
        assert!(!derived.is_for(&[0; PREFIX_LEN]));
    }
}
