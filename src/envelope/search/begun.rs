//! HMAC-SHA-256 (RFC 2104, FIPS 180-4) of inputs that begin alike: what the key and the beginning come to is kept, and of each
//! input only the rest is hashed. A generic implementation copies and wipes twice as much for each.

use sha2::block_api::compress256;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::secret::KEY_LEN;

/// Bytes of a block.
const BLOCK: usize = 64;

/// Bytes of a hash.
pub(super) const HASH: usize = 32;

/// Where a block ends whose last eight bytes are the length.
const BEFORE_LENGTH: usize = BLOCK - 8;

/// FIPS 180-4 section 5.3.3.
const INITIAL: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// The state after the beginning. Wiped on drop.
#[derive(ZeroizeOnDrop)]
pub(super) struct Begun {
    inner: [u32; 8],
    outer: [u32; 8],
    /// What of the beginning makes no whole block.
    tail: [u8; BLOCK],
    tail_len: usize,
    /// Bytes that went into `inner`, and the tail.
    len: u64,
}

impl Begun {
    /// A key shorter than a block is padded with zeros (RFC 2104 section 2).
    pub(super) fn new(key: &[u8; KEY_LEN], beginning: &[u8]) -> Begun {
        let mut begun = Begun {
            inner: INITIAL,
            outer: INITIAL,
            tail: [0; BLOCK],
            tail_len: 0,
            len: (BLOCK + beginning.len()) as u64,
        };
        for (state, pad) in [(&mut begun.inner, 0x36), (&mut begun.outer, 0x5c)] {
            let mut block = [pad; BLOCK];
            block.iter_mut().zip(key).for_each(|(byte, of_key)| *byte ^= of_key);
            compress256(state, &[block]);
            block.as_mut_slice().zeroize();
        }
        let (blocks, tail) = beginning.as_chunks();
        compress256(&mut begun.inner, blocks);
        begun.tail[..tail.len()].copy_from_slice(tail);
        begun.tail_len = tail.len();
        begun
    }

    /// Calls `use_hash` with the hash of the input that ends in `rest`; it is wiped then.
    #[inline]
    pub(super) fn with_hash<T>(&self, rest: &[u8], use_hash: impl FnOnce(&[u8; HASH]) -> T) -> T {
        let (mut state, mut block) = (self.inner, self.tail);
        let bits = (self.len + rest.len() as u64) * 8;
        let mut at = self.tail_len;
        let mut rest = rest;
        if let Some((first, others)) = rest.split_at_checked(BLOCK - at) {
            block[at..].copy_from_slice(first);
            compress256(&mut state, &[block]);
            let (blocks, last) = others.as_chunks();
            if !blocks.is_empty() {
                compress256(&mut state, blocks);
            }
            (rest, at) = (last, 0);
        }
        block[at..at + rest.len()].copy_from_slice(rest);
        end(&mut state, &mut block, at + rest.len(), bits);
        let mut hash = bytes(&state);
        block[..HASH].copy_from_slice(&hash);
        state = self.outer;
        end(&mut state, &mut block, HASH, ((BLOCK + HASH) * 8) as u64);
        hash = bytes(&state);
        let used = use_hash(&hash);
        // As slices: arrays are zeroed byte by byte.
        state.as_mut_slice().zeroize();
        block.as_mut_slice().zeroize();
        hash.as_mut_slice().zeroize();
        used
    }
}

/// The last block, of which `at` bytes are there (FIPS 180-4 section 5.1.1): at times it takes two.
#[inline]
fn end(state: &mut [u32; 8], block: &mut [u8; BLOCK], at: usize, bits: u64) {
    block[at] = 0x80;
    block[at + 1..].fill(0);
    if at >= BEFORE_LENGTH {
        compress256(state, &[*block]);
        block.fill(0);
    }
    block[BEFORE_LENGTH..].copy_from_slice(&bits.to_be_bytes());
    compress256(state, &[*block]);
}

#[inline]
fn bytes(state: &[u32; 8]) -> [u8; HASH] {
    let mut bytes = [0; HASH];
    for (four, word) in bytes.chunks_exact_mut(4).zip(state) {
        four.copy_from_slice(&word.to_be_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use hmac::{Hmac, KeyInit, Mac};
    use sha2::Sha256;

    use super::*;

    /// As an independent implementation has it, at every length around blocks, wherever the beginning ends.
    #[test]
    fn is_hmac_sha_256() {
        let key: [u8; KEY_LEN] = std::array::from_fn(|at| 3 * at as u8 + 1);
        let mut padded = [0; BLOCK];
        padded[..KEY_LEN].copy_from_slice(&key);
        let input: Vec<u8> = (0..400).map(|at| (7 * at + 5) as u8).collect();
        for beginning in (0..140).chain([191, 192, 193]) {
            let begun = Begun::new(&key, &input[..beginning]);
            for len in (beginning..beginning + 140).chain([399]) {
                let mut mac = Hmac::<Sha256>::new((&padded).into());
                mac.update(&input[..len]);
                let expected: [u8; HASH] = mac.finalize().into_bytes().into();
                begun.with_hash(&input[beginning..len], |hash| assert_eq!(*hash, expected));
            }
        }
    }

    /// RFC 4231, test case 1, with its key of 20 bytes filled by zeros.
    #[test]
    fn is_what_the_rfc_says() {
        let mut key = [0; KEY_LEN];
        key[..20].fill(0x0b);
        let hex = |hash: &[u8; HASH]| hash.iter().map(|byte| format!("{byte:02x}")).collect();
        let hash: String = Begun::new(&key, b"Hi").with_hash(b" There", hex);
        assert_eq!(hash, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    }
}
