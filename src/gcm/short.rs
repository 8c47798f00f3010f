//! AES-256-GCM of short values, from RustCrypto's AES and GHASH: half of the instructions that AWS-LC takes for them.
//!
//! Where nothing is long, most of what a cipher does is to get going. Here all blocks of a value are laid out at once:
//! the additional data, the ciphertext and the lengths, each filled up with zeros (SP 800-38D section 7.1). So the hash is
//! one call, and so is the key stream. Values that do not fit, and processors without instructions for both, are AWS-LC's.
//!
//! No plaintext and no key stream is left on the stack. Powers of the hash's key may be, as AWS-LC leaves them, within 1 KiB
//! below the caller.

use std::mem::MaybeUninit;

use aes::cipher::{BlockCipherEncrypt, KeyInit};
use aes::{Aes256Enc, Block};
use ctutils::CtEq;
use ghash::GHash;
use ghash::universal_hash::UniversalHash;
use zeroize::Zeroize;

use crate::{IV_LEN, KEY_LEN, Refused, TAG_LEN};

const BLOCK: usize = 16;
/// Blocks of a value at most.
const VALUE_BLOCKS: usize = 4;
/// Blocks of additional data, value and lengths at most.
const BLOCKS: usize = 12;

/// Length of the longest value that is short, in bytes.
pub(crate) const LONGEST: usize = VALUE_BLOCKS * BLOCK;

/// Key schedules of both, or zeros: none. Whoever has it wipes it.
pub(crate) struct Short {
    state: State,
    parts: MaybeUninit<Parts>,
}

/// One byte, zero for none.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum State {
    Empty = 0,
    Ready = 1,
    /// The processor lacks the instructions: RustCrypto would compute by tables of bits, at a tenth of the speed.
    Unfit = 2,
}

struct Parts {
    cipher: Aes256Enc,
    hash: GHash,
}

/// The counters from 1 on, encrypted: what masks the tag, and what covers the value. Wiped on drop.
struct KeyStream([[u8; BLOCK]; 1 + VALUE_BLOCKS]);

/// Blocks one behind the other.
type Laid = [[u8; BLOCK]; BLOCKS];

/// Whether `len` bytes with `aad` bytes beside them fit.
#[inline]
pub(crate) fn fits(aad: usize, len: usize) -> bool {
    len <= LONGEST
        && aad <= (BLOCKS - 1) * BLOCK
        && aad.div_ceil(BLOCK) + len.div_ceil(BLOCK) < BLOCKS
}

impl Short {
    pub(crate) fn none() -> Short {
        Short { state: State::Empty, parts: MaybeUninit::zeroed() }
    }

    /// As on a processor that is not fit for it.
    #[cfg(test)]
    pub(crate) fn unfit() -> Short {
        Short { state: State::Unfit, ..Short::none() }
    }

    /// Whether it was made ready, or found unfit.
    #[inline]
    pub(crate) fn is_settled(&self) -> bool {
        self.state != State::Empty
    }

    /// Whether it seals and opens.
    #[inline]
    pub(crate) fn is_ready(&self) -> bool {
        self.state == State::Ready
    }

    /// Makes `key` ready where there is none, if the processor is fit for it.
    #[cold]
    #[inline(never)]
    pub(crate) fn prepare(&mut self, key: &[u8; KEY_LEN]) {
        if !is_fit() {
            self.state = State::Unfit;
            return;
        }
        let cipher = Aes256Enc::new(key.into());
        let mut hash_key = ghash::Key::default();
        cipher.encrypt_block(&mut hash_key);
        self.parts.write(Parts { cipher, hash: GHash::new(&hash_key) });
        self.state = State::Ready;
    }

    /// As [`crate::GcmKey::seal`], of buffers of one length that [`fits`].
    #[inline]
    pub(crate) fn seal(
        &self,
        iv: &[u8; IV_LEN],
        aad: &[u8],
        plaintext: &[u8],
        ciphertext: &mut [u8],
        tag: &mut [u8; TAG_LEN],
    ) -> Result<(), Refused> {
        let parts = self.parts().ok_or(Refused)?;
        let (value, len) = (aad.len().div_ceil(BLOCK), plaintext.len());
        let mut laid: Laid = [[0; BLOCK]; BLOCKS];
        laid.as_flattened_mut()[value * BLOCK..][..len].copy_from_slice(plaintext);
        let key_stream = parts.key_stream(iv, len);
        for (block, stream) in laid[value..].iter_mut().zip(key_stream.of_value(len)) {
            *block = xor(block, stream);
        }
        ciphertext.copy_from_slice(&laid.as_flattened()[value * BLOCK..][..len]);
        if !len.is_multiple_of(BLOCK) {
            // What the stream wrote behind the value.
            let last = &mut laid[value + len / BLOCK];
            let kept = u128::MAX >> (8 * (BLOCK - len % BLOCK));
            *last = (u128::from_le_bytes(*last) & kept).to_le_bytes();
        }
        *tag = parts.tag(&mut laid, aad, len, key_stream.mask());
        Ok(())
    }

    /// As [`crate::GcmKey::open`], of buffers of one length that [`fits`].
    #[inline]
    pub(crate) fn open(
        &self,
        iv: &[u8; IV_LEN],
        aad: &[u8],
        ciphertext: &[u8],
        tag: &[u8; TAG_LEN],
        plaintext: &mut [u8],
    ) -> Result<(), Refused> {
        let parts = self.parts().ok_or(Refused)?;
        let (value, len) = (aad.len().div_ceil(BLOCK), ciphertext.len());
        let mut laid: Laid = [[0; BLOCK]; BLOCKS];
        laid.as_flattened_mut()[value * BLOCK..][..len].copy_from_slice(ciphertext);
        let key_stream = parts.key_stream(iv, len);
        let expected = parts.tag(&mut laid, aad, len, key_stream.mask());
        if !u128::from_ne_bytes(expected).ct_eq(&u128::from_ne_bytes(*tag)).to_bool() {
            plaintext.fill(0);
            return Err(Refused);
        }
        // Straight to where it goes, so that no plaintext stays here.
        let (whole, rest) = plaintext.as_chunks_mut();
        let mut streams = laid[value..].iter().zip(key_stream.of_value(len));
        for (to, (block, stream)) in whole.iter_mut().zip(&mut streams) {
            *to = xor(block, stream);
        }
        for (block, stream) in streams {
            for (to, (byte, stream)) in rest.iter_mut().zip(block.iter().zip(stream)) {
                *to = byte ^ stream;
            }
        }
        Ok(())
    }

    #[inline]
    fn parts(&self) -> Option<&Parts> {
        // SAFETY: written before the state was set, and wiped only together with it.
        self.is_ready().then(|| unsafe { self.parts.assume_init_ref() })
    }
}

impl KeyStream {
    #[inline]
    fn mask(&self) -> &[u8; BLOCK] {
        &self.0[0]
    }

    /// Of `len` bytes, its last block perhaps longer.
    #[inline]
    fn of_value(&self, len: usize) -> &[[u8; BLOCK]] {
        &self.0[1..=len.div_ceil(BLOCK)]
    }
}

impl Drop for KeyStream {
    /// As a slice: an array is zeroed byte by byte.
    #[inline]
    fn drop(&mut self) {
        self.0.as_flattened_mut().zeroize();
    }
}

impl Parts {
    /// For `len` bytes.
    #[inline]
    fn key_stream(&self, iv: &[u8; IV_LEN], len: usize) -> KeyStream {
        let mut first = [0; BLOCK];
        first[..IV_LEN].copy_from_slice(iv);
        let first = u128::from_be_bytes(first);
        let mut stream = KeyStream([[0; BLOCK]; 1 + VALUE_BLOCKS]);
        let asked = &mut stream.0[..=len.div_ceil(BLOCK)];
        for (block, counter) in asked.iter_mut().zip(1..) {
            *block = (first | counter).to_be_bytes();
        }
        self.cipher.encrypt_blocks(Block::cast_slice_from_core_mut(asked));
        stream
    }

    /// Over `aad` and the `len` bytes of ciphertext that stand behind its place in `laid`.
    #[inline]
    fn tag(&self, laid: &mut Laid, aad: &[u8], len: usize, mask: &[u8; BLOCK]) -> [u8; TAG_LEN] {
        laid.as_flattened_mut()[..aad.len()].copy_from_slice(aad);
        let lengths = aad.len().div_ceil(BLOCK) + len.div_ceil(BLOCK);
        laid[lengths] = (((aad.len() as u128) << 67) | ((len as u128) << 3)).to_be_bytes();
        let mut hash = self.hash.clone();
        hash.update(ghash::Block::cast_slice_from_core(&laid[..=lengths]));
        xor(&hash.finalize().into(), mask)
    }
}

#[inline]
fn xor(block: &[u8; BLOCK], other: &[u8; BLOCK]) -> [u8; BLOCK] {
    (u128::from_ne_bytes(*block) ^ u128::from_ne_bytes(*other)).to_ne_bytes()
}

/// Whether the processor has instructions for AES and for GHASH, as both crates use them.
fn is_fit() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("aes")
        && is_x86_feature_detected!("pclmulqdq")
        && is_x86_feature_detected!("avx");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}
