//! AES-256-GCM of short values, from RustCrypto's AES and POLYVAL: half of the instructions that AWS-LC takes for them.
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
use polyval::Polyval;
use polyval::hazmat::FieldElement;
use polyval::universal_hash::UniversalHash;
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
    hash: Polyval,
}

/// The counters from 1 on, encrypted: what masks the tag, and what covers the value. Wiped on drop.
struct KeyStream([[u8; BLOCK]; 1 + VALUE_BLOCKS]);

/// What the tag is over, in blocks one behind the other, each with its bytes reversed: so POLYVAL reads them, which is
/// GHASH in the other order of bits (RFC 8452 appendix A).
struct Laid {
    blocks: [[u8; BLOCK]; BLOCKS],
    used: usize,
}

/// Whether `len` bytes with `aad` bytes beside them fit.
#[inline]
pub(crate) fn fits(aad: usize, len: usize) -> bool {
    len <= LONGEST && aad.div_ceil(BLOCK) + len.div_ceil(BLOCK) < BLOCKS
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
        let mut hash_key = Block::default();
        cipher.encrypt_block(&mut hash_key);
        let hash_key = FieldElement::from(hash_key).reverse().mulx();
        self.parts.write(Parts { cipher, hash: Polyval::new(&hash_key.into()) });
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
        let mut key_stream = KeyStream::none();
        parts.fill(&mut key_stream, iv, plaintext.len());
        let mut laid = Laid::none();
        laid.extend(aad);
        let (whole, rest) = plaintext.as_chunks();
        let (to, to_rest) = ciphertext.as_chunks_mut();
        let mut streams = key_stream.of_value(plaintext.len()).iter();
        for ((block, to), stream) in whole.iter().zip(to).zip(&mut streams) {
            *to = xor(block, stream);
            laid.push(to);
        }
        if let Some(stream) = streams.next() {
            let block = cut_off(&xor(&filled_up(rest), stream), rest.len());
            write_out(&block, to_rest);
            laid.push(&block);
        }
        *tag = parts.tag(&mut laid, aad.len(), plaintext.len(), key_stream.mask());
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
        let mut key_stream = KeyStream::none();
        parts.fill(&mut key_stream, iv, ciphertext.len());
        let mut laid = Laid::none();
        laid.extend(aad);
        laid.extend(ciphertext);
        let expected = parts.tag(&mut laid, aad.len(), ciphertext.len(), key_stream.mask());
        if !u128::from_ne_bytes(expected).ct_eq(&u128::from_ne_bytes(*tag)).to_bool() {
            plaintext.fill(0);
            return Err(Refused);
        }
        // Straight to where it goes, so that no plaintext stays here.
        let (whole, rest) = ciphertext.as_chunks();
        let (to, to_rest) = plaintext.as_chunks_mut();
        let mut streams = key_stream.of_value(ciphertext.len()).iter();
        for ((block, to), stream) in whole.iter().zip(to).zip(&mut streams) {
            *to = xor(block, stream);
        }
        if let Some(stream) = streams.next() {
            write_out(&xor(&filled_up(rest), stream), to_rest);
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
    /// Before it is filled.
    #[inline]
    fn none() -> KeyStream {
        KeyStream([[0; BLOCK]; 1 + VALUE_BLOCKS])
    }

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
    /// For `len` bytes under `iv`.
    #[inline]
    fn fill(&self, stream: &mut KeyStream, iv: &[u8; IV_LEN], len: usize) {
        let mut first = [0; BLOCK];
        first[..IV_LEN].copy_from_slice(iv);
        let first = u128::from_be_bytes(first);
        let asked = &mut stream.0[..=len.div_ceil(BLOCK)];
        for (block, counter) in asked.iter_mut().zip(1..) {
            *block = (first | counter).to_be_bytes();
        }
        self.cipher.encrypt_blocks(Block::cast_slice_from_core_mut(asked));
    }

    /// Over what is laid: `aad` bytes of additional data and `len` of ciphertext.
    #[inline]
    fn tag(&self, laid: &mut Laid, aad: usize, len: usize, mask: &[u8; BLOCK]) -> [u8; TAG_LEN] {
        laid.push(&(((aad as u128) << 67) | ((len as u128) << 3)).to_be_bytes());
        let mut hash = self.hash.clone();
        hash.update(laid.blocks());
        xor(&reversed(&hash.finalize().into()), mask)
    }
}

impl Laid {
    #[inline]
    fn none() -> Laid {
        Laid { blocks: [[0; BLOCK]; BLOCKS], used: 0 }
    }

    /// `bytes`, filled up with zeros to whole blocks.
    #[inline]
    fn extend(&mut self, bytes: &[u8]) {
        let (whole, rest) = bytes.as_chunks();
        for block in whole {
            self.push(block);
        }
        if !rest.is_empty() {
            self.push(&filled_up(rest));
        }
    }

    #[inline]
    fn push(&mut self, block: &[u8; BLOCK]) {
        self.blocks[self.used] = reversed(block);
        self.used += 1;
    }

    #[inline]
    fn blocks(&self) -> &[polyval::Block] {
        polyval::Block::cast_slice_from_core(&self.blocks[..self.used])
    }
}

/// Less than a block, filled up with zeros. In pieces: to call for a copy takes longer.
#[inline]
fn filled_up(mut rest: &[u8]) -> [u8; BLOCK] {
    let (mut number, mut at) = (0, 0);
    if let Some((piece, left)) = rest.split_first_chunk() {
        number = u128::from(u64::from_le_bytes(*piece));
        (rest, at) = (left, 64);
    }
    if let Some((piece, left)) = rest.split_first_chunk() {
        number |= u128::from(u32::from_le_bytes(*piece)) << at;
        (rest, at) = (left, at + 32);
    }
    if let Some((piece, left)) = rest.split_first_chunk() {
        number |= u128::from(u16::from_le_bytes(*piece)) << at;
        (rest, at) = (left, at + 16);
    }
    if let Some(byte) = rest.first() {
        number |= u128::from(*byte) << at;
    }
    number.to_le_bytes()
}

/// The other way round: the beginning of `block`, to less than a block.
#[inline]
fn write_out(block: &[u8; BLOCK], rest: &mut [u8]) {
    let mut number = u128::from_le_bytes(*block);
    let (eight, rest) = rest.as_chunks_mut();
    if let Some(piece) = eight.first_mut() {
        *piece = (number as u64).to_le_bytes();
        number >>= 64;
    }
    let (four, rest) = rest.as_chunks_mut();
    if let Some(piece) = four.first_mut() {
        *piece = (number as u32).to_le_bytes();
        number >>= 32;
    }
    let (two, rest) = rest.as_chunks_mut();
    if let Some(piece) = two.first_mut() {
        *piece = (number as u16).to_le_bytes();
        number >>= 16;
    }
    if let Some(byte) = rest.first_mut() {
        *byte = number as u8;
    }
}

/// `block` with zeros from `len` on, which is less than a block and more than none.
#[inline]
fn cut_off(block: &[u8; BLOCK], len: usize) -> [u8; BLOCK] {
    (u128::from_le_bytes(*block) & u128::MAX >> (8 * (BLOCK - len))).to_le_bytes()
}

#[inline]
fn reversed(block: &[u8; BLOCK]) -> [u8; BLOCK] {
    u128::from_ne_bytes(*block).swap_bytes().to_ne_bytes()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_key_stream_leaves_no_byte() {
        let mut place = MaybeUninit::new(KeyStream([[0xEE; BLOCK]; 1 + VALUE_BLOCKS]));
        // SAFETY: dropped once; its place stays, and has no padding.
        let left: [u8; size_of::<KeyStream>()] = unsafe {
            place.assume_init_drop();
            *place.as_ptr().cast()
        };
        assert_eq!(left, [0; size_of::<KeyStream>()]);
    }
}
