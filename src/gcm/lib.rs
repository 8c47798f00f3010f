//! AES-256-GCM (SP 800-38D) with the key schedule in the caller's memory.
//!
//! A [`GcmKey`] holds its key and schedules itself: wherever the caller puts it (a page that is locked, left out of core
//! dumps, zeroed on fork) is where the key is. Nothing is allocated for a value, and its plaintext is not kept. All zeros
//! are a valid `GcmKey` that has no key and refuses to work.
//!
//! Two implementations share the work: [`short`] what fits into a few blocks, [`long`] (AWS-LC) the rest. Each schedule is
//! computed when the first value asks for it. They give the same bytes.
//!
//! Both leave the key of the tag (GHASH), from which the cipher's key does not follow, on the stack: within 1 KiB below the
//! caller, who overwrites it when values have been dealt with. What computing a schedule leaves there is overwritten here.
//!
//! The only `unsafe` beneath the byte format: the calls into AWS-LC, and memory that zeros make valid.

#![deny(missing_docs)]

mod long;
mod short;

use std::ptr;

use zeroize::Zeroize;

use crate::long::Long;
use crate::short::{Short, fits};

/// Length of a key, in bytes.
pub const KEY_LEN: usize = 32;
/// Length of the nonce, in bytes.
pub const IV_LEN: usize = 12;
/// Length of the tag, in bytes.
pub const TAG_LEN: usize = 16;

/// What computing a schedule may leave on the stack, in bytes.
const STACK: usize = if cfg!(debug_assertions) { 16_384 } else { 4_096 };

/// An AES-256-GCM key ready for use, or none. Wiped on drop.
#[repr(C)]
pub struct GcmKey {
    long: Long,
    short: Short,
    key: [u8; KEY_LEN],
    is_set: bool,
}

/// No key is set, the value is too long for the cipher, or, on opening, the tag is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused;

impl GcmKey {
    /// No key.
    pub fn unset() -> GcmKey {
        GcmKey { long: Long::none(), short: Short::none(), key: [0; KEY_LEN], is_set: false }
    }

    /// Takes `key`, in place of what was there; it remains the caller's to wipe.
    pub fn set(&mut self, key: &[u8; KEY_LEN]) {
        self.wipe();
        self.key = *key;
        self.is_set = true;
    }

    /// Whether there is a key.
    pub fn is_set(&self) -> bool {
        self.is_set
    }

    /// Encrypts `plaintext` to `ciphertext`, which is as long, and writes the tag over it and `aad`. An `iv` must never
    /// come twice under a key.
    ///
    /// # Errors
    /// [`Refused`]; what stands in `ciphertext` and `tag` is then no part of the plaintext.
    #[inline]
    pub fn seal(
        &mut self,
        iv: &[u8; IV_LEN],
        aad: &[u8],
        plaintext: &[u8],
        ciphertext: &mut [u8],
        tag: &mut [u8; TAG_LEN],
    ) -> Result<(), Refused> {
        if ciphertext.len() != plaintext.len() {
            return Err(Refused);
        }
        if self.is_short(aad.len(), plaintext.len()) {
            return self.short.seal(iv, aad, plaintext, ciphertext, tag);
        }
        self.prepared_long()?.seal(iv, aad, plaintext, ciphertext, tag)
    }

    /// Decrypts `ciphertext` to `plaintext`, which is as long, when the tag over it and `aad` is right. Tags are compared
    /// in constant time.
    ///
    /// # Errors
    /// [`Refused`]; `plaintext` then holds none.
    #[inline]
    pub fn open(
        &mut self,
        iv: &[u8; IV_LEN],
        aad: &[u8],
        ciphertext: &[u8],
        tag: &[u8; TAG_LEN],
        plaintext: &mut [u8],
    ) -> Result<(), Refused> {
        if ciphertext.len() != plaintext.len() {
            return Err(Refused);
        }
        if self.is_short(aad.len(), ciphertext.len()) {
            return self.short.open(iv, aad, ciphertext, tag, plaintext);
        }
        self.prepared_long()?.open(iv, aad, ciphertext, tag, plaintext)
    }

    /// Whether a value is for [`Short`], which is then ready.
    #[inline]
    fn is_short(&mut self, aad: usize, len: usize) -> bool {
        if !fits(aad, len) || !self.is_set {
            return false;
        }
        if !self.short.is_settled() {
            self.short.prepare(&self.key);
            zeroize::zeroize_stack::<STACK>();
        }
        self.short.is_ready()
    }

    #[inline]
    fn prepared_long(&mut self) -> Result<&Long, Refused> {
        if !self.is_set {
            return Err(Refused);
        }
        if !self.long.is_ready() {
            self.long.prepare(&self.key);
            zeroize::zeroize_stack::<STACK>();
        }
        Ok(&self.long)
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
    use std::mem::MaybeUninit;

    use super::*;
    use crate::short::LONGEST;

    fn set(byte: u8) -> GcmKey {
        let mut key = GcmKey::unset();
        key.set(&[byte; KEY_LEN]);
        key
    }

    /// `len` bytes sealed under the key of sevens: ciphertext and tag.
    fn sealed(key: &mut GcmKey, len: usize) -> Option<(Vec<u8>, [u8; TAG_LEN])> {
        let plaintext: Vec<u8> = (0..len).map(|at| at as u8).collect();
        let (mut ciphertext, mut tag) = (vec![0xEE; len], [0xEE; TAG_LEN]);
        key.seal(&[1; IV_LEN], b"aad", &plaintext, &mut ciphertext, &mut tag).ok()?;
        Some((ciphertext, tag))
    }

    fn opened(
        key: &mut GcmKey,
        aad: &[u8],
        ciphertext: &[u8],
        tag: &[u8; TAG_LEN],
    ) -> (bool, Vec<u8>) {
        let mut plaintext = vec![0xEE; ciphertext.len()];
        let done = key.open(&[1; IV_LEN], aad, ciphertext, tag, &mut plaintext).is_ok();
        (done, plaintext)
    }

    #[test]
    fn opens_what_it_sealed_and_nothing_else() {
        for len in [0, 1, 15, 16, 17, 255, 256, 4096, 65_537] {
            let Some((mut ciphertext, tag)) = sealed(&mut set(7), len) else { unreachable!() };
            let plaintext: Vec<u8> = (0..len).map(|at| at as u8).collect();
            assert_eq!(opened(&mut set(7), b"aad", &ciphertext, &tag), (true, plaintext));
            assert_eq!(opened(&mut set(7), b"aae", &ciphertext, &tag), (false, vec![0; len]));
            assert_eq!(opened(&mut set(8), b"aad", &ciphertext, &tag), (false, vec![0; len]));
            assert_eq!(
                opened(&mut set(7), b"aad", &ciphertext, &tag.map(|b| b ^ 1)),
                (false, vec![0; len])
            );
            if let Some(last) = ciphertext.last_mut() {
                *last ^= 0x80;
                assert_eq!(opened(&mut set(7), b"aad", &ciphertext, &tag), (false, vec![0; len]));
            }
        }
    }

    #[test]
    fn each_value_is_served_by_the_one_it_fits() {
        for (len, is_short) in [(0, true), (LONGEST, true), (LONGEST + 1, false)] {
            let mut key = set(7);
            assert!(key.is_set());
            assert!(sealed(&mut key, len).is_some());
            assert_eq!((key.short.is_ready(), key.long.is_ready()), (is_short, !is_short));
        }
    }

    /// As after a fork, when the page of a key reads as zeros.
    #[test]
    fn zeros_are_no_key() {
        for mut key in [GcmKey::unset(), {
            let mut key = set(7);
            key.wipe();
            key
        }] {
            assert!(!key.is_set());
            assert_eq!(sealed(&mut key, 16), None);
            assert!(!opened(&mut key, b"aad", &[0; 16], &[0; TAG_LEN]).0);
        }
    }

    #[test]
    fn a_moved_key_is_the_same_key() {
        let mut here = set(7);
        let expected = sealed(&mut here, 100);
        let mut there = vec![Box::new((0u8, here))];
        assert_eq!(there.pop().and_then(|mut moved| sealed(&mut moved.1, 100)), expected);
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

    /// At every length around blocks and around where the one takes over from the other, with additional data as well.
    #[test]
    fn both_implementations_are_the_same_cipher() {
        let (mut long, mut short) = (Long::none(), Short::none());
        long.prepare(&[7; KEY_LEN]);
        short.prepare(&[7; KEY_LEN]);
        assert!(short.is_ready(), "the machine that tests this has instructions for AES");
        let bytes: Vec<u8> = (0..=255).collect();
        let mut compared = 0;
        for (aad, len) in (0..=180).flat_map(|aad| (0..=LONGEST).map(move |len| (aad, len))) {
            if !fits(aad, len) {
                continue;
            }
            let (aad, plaintext, iv) = (&bytes[256 - aad..], &bytes[..len], &[aad as u8; IV_LEN]);
            let (mut one, mut other) =
                ((vec![0xEE; len], [0; TAG_LEN]), (vec![0xEE; len], [1; TAG_LEN]));
            assert_eq!(short.seal(iv, aad, plaintext, &mut one.0, &mut one.1), Ok(()));
            assert_eq!(long.seal(iv, aad, plaintext, &mut other.0, &mut other.1), Ok(()));
            assert_eq!(one, other);
            let mut opened = vec![0xEE; len];
            assert_eq!(short.open(iv, aad, &one.0, &one.1, &mut opened), Ok(()));
            assert_eq!(opened, plaintext);
            compared += 1;
        }
        assert!(compared > 8_000);
    }

    #[test]
    fn a_short_value_with_another_bit_does_not_open() {
        let mut short = Short::none();
        short.prepare(&[7; KEY_LEN]);
        let (iv, aad) = ([1; IV_LEN], [2; 18]);
        let (mut ciphertext, mut tag) = ([0; 20], [0; TAG_LEN]);
        assert_eq!(short.seal(&iv, &aad, &[3; 20], &mut ciphertext, &mut tag), Ok(()));
        for bit in 0..8 * (IV_LEN + 18 + 20 + TAG_LEN) {
            let mut all = [&iv[..], &aad, &ciphertext, &tag].concat();
            all[bit / 8] ^= 1 << (bit % 8);
            let ([iv @ .., _], _) = all.as_chunks::<IV_LEN>() else { unreachable!() };
            let (rest, plaintext) = (&all[IV_LEN..], &mut [0xEE; 20]);
            let (aad, rest) = rest.split_at(18);
            let (ciphertext, tag) = rest.split_at(20);
            let Ok(tag) = tag.try_into() else { unreachable!() };
            assert_eq!(short.open(&iv[0], aad, ciphertext, tag, plaintext), Err(Refused));
            assert_eq!(plaintext, &[0; 20]);
        }
    }

    #[test]
    fn what_fits() {
        assert!(fits(0, 0) && fits(0, LONGEST) && fits(112, LONGEST) && fits(176, 0));
        assert!(
            !fits(0, LONGEST + 1) && !fits(113, LONGEST) && !fits(177, 0) && !fits(usize::MAX, 1)
        );
    }

    /// As on a processor without instructions for them: zeros are no key, and what is unfit is never asked.
    #[test]
    fn an_unfit_processor_is_served_by_the_other() {
        let mut key = set(7);
        key.short = Short::unfit();
        assert_eq!(sealed(&mut key, 16), sealed(&mut set(7), 16));
        assert!(key.long.is_ready());
        assert_eq!(
            Short::none().seal(&[0; IV_LEN], b"", &[1], &mut [0], &mut [0; TAG_LEN]),
            Err(Refused)
        );
    }
}
