//! The layout of a sealed value and what can be told from it without a key.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 2 | `F7 E1`: F7 is no byte of any UTF-8 text, E1 the suite |
//! | 2 | 16 | key id, a UUIDv8 |
//! | 18 | 24 | nonce |
//! | 42 | n | ciphertext, as long as the plaintext |
//! | 42+n | 16 | tag |

pub use crate::key_id::KeyId;

/// What a sealed value starts with: a byte that no UTF-8 text has, and the suite.
pub const MARKER: [u8; 2] = [0xF7, 0xE1];
/// Length of marker and key id, in bytes. They are authenticated with the value.
pub const HEADER_LEN: usize = 18;
/// Length of the nonce, in bytes: 192 bits, so random nonces do not repeat at any size of table.
pub const NONCE_LEN: usize = 24;
/// Length of the tag, in bytes.
pub const TAG_LEN: usize = 16;
/// By how many bytes a sealed value is longer than its plaintext.
pub const OVERHEAD: usize = HEADER_LEN + NONCE_LEN + TAG_LEN;

/// A value of the right shape, cut into its fields. Whether it opens only a key can tell.
#[derive(Clone, Copy)]
pub struct Sealed<'a> {
    /// Marker and key id as they stand, which are authenticated.
    pub header: &'a [u8; HEADER_LEN],
    /// The nonce.
    pub nonce: &'a [u8; NONCE_LEN],
    /// The ciphertext, as long as the plaintext.
    pub ciphertext: &'a [u8],
    /// The tag.
    pub tag: &'a [u8; TAG_LEN],
}

/// Why bytes have not the shape of a sealed value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotSealed {
    /// They start otherwise, or are no two bytes.
    #[error("not a sealed value: it does not start with the marker")]
    Marker,
    /// The first byte of the marker with a suite that this version does not know.
    #[error("not a sealed value of a suite that this version knows")]
    Suite,
    /// The key id has not the version and variant of a UUIDv8.
    #[error("not a sealed value: what stands for the key id is none")]
    KeyId,
    /// Shorter than the 58 bytes that sealing adds.
    #[error("not a whole sealed value: too short")]
    TooShort,
}

impl<'a> Sealed<'a> {
    /// Cuts `bytes` into the fields of a sealed value.
    ///
    /// # Errors
    /// [`NotSealed`] unless marker, suite, the fixed bits of the key id and the length are right.
    #[inline(always)]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, NotSealed> {
        match bytes {
            [a, b, ..] if [*a, *b] == MARKER => {}
            [a, _, ..] if *a == MARKER[0] => return Err(NotSealed::Suite),
            _ => return Err(NotSealed::Marker),
        }
        let (header, nonce, ciphertext, tag) = cut(bytes).ok_or(NotSealed::TooShort)?;
        if !id(header).is_v8() {
            return Err(NotSealed::KeyId);
        }
        Ok(Sealed { header, nonce, ciphertext, tag })
    }

    /// The id in the header.
    #[inline(always)]
    pub fn key_id(&self) -> KeyId {
        id(self.header)
    }
}

/// The key id in the header that `bytes` start with, whatever their length, if they start with one at all.
///
/// More than [`is_sealed`] accepts: a value that was cut still names its key, and must not pass for plaintext.
#[inline(always)]
pub fn peek_key_id(bytes: &[u8]) -> Option<KeyId> {
    let header = bytes.first_chunk()?;
    let id = id(header);
    (header.starts_with(&MARKER) && id.is_v8()).then_some(id)
}

/// Whether `bytes` have the shape of a sealed value. Shape only: nothing is said about keys.
pub fn is_sealed(bytes: &[u8]) -> bool {
    is_sealed_by(bytes, bytes.len())
}

/// As [`is_sealed`], of a value of `len` bytes that begins with `first`, of which [`HEADER_LEN`] bytes are
/// enough: the rest of a long value need not be fetched.
pub fn is_sealed_by(first: &[u8], len: usize) -> bool {
    len >= OVERHEAD && peek_key_id(first).is_some()
}

/// The fields of a sealed value or a file wrap by their offsets alone: header, nonce, ciphertext, tag.
pub(crate) type Fields<'a> =
    (&'a [u8; HEADER_LEN], &'a [u8; NONCE_LEN], &'a [u8], &'a [u8; TAG_LEN]);

/// Cuts `bytes` into [`Fields`]; `None` when they are too short.
#[inline(always)]
pub(crate) fn cut(bytes: &[u8]) -> Option<Fields<'_>> {
    let (header, rest) = bytes.split_first_chunk()?;
    let (nonce, rest) = rest.split_first_chunk()?;
    let (ciphertext, tag) = rest.split_last_chunk()?;
    Some((header, nonce, ciphertext, tag))
}

/// What stands for the id in a header, whatever the marker.
#[inline(always)]
pub(crate) fn id(header: &[u8; HEADER_LEN]) -> KeyId {
    let mut id = [0; 16];
    id.copy_from_slice(&header[MARKER.len()..]);
    KeyId(id)
}

/// `marker` ‖ `id`, the first 18 bytes of sealed values and of file wraps.
pub(crate) fn build(marker: [u8; 2], id: KeyId) -> [u8; HEADER_LEN] {
    let mut header = [0; HEADER_LEN];
    header[..marker.len()].copy_from_slice(&marker);
    header[marker.len()..].copy_from_slice(&id.0);
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shaped(len: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..len).map(|at| at as u8).collect();
        for (at, byte) in [(0, 0xF7), (1, 0xE1), (8, 0x8F), (10, 0xBF)] {
            if let Some(slot) = bytes.get_mut(at) {
                *slot = byte;
            }
        }
        bytes
    }

    #[test]
    fn cuts_at_the_documented_offsets() {
        let bytes = shaped(61);
        let sealed = Sealed::parse(&bytes).ok();
        assert!(sealed.is_some_and(|sealed| sealed.header[..] == bytes[..18]
            && sealed.key_id().0[..] == bytes[2..18]
            && sealed.nonce[..] == bytes[18..42]
            && sealed.ciphertext == &bytes[42..45]
            && sealed.tag[..] == bytes[45..]));
    }

    #[test]
    fn each_malformation_is_told() {
        assert_eq!(Sealed::parse(&[]).err(), Some(NotSealed::Marker));
        assert_eq!(Sealed::parse(&[0xF7]).err(), Some(NotSealed::Marker));
        for len in 2..OVERHEAD {
            assert_eq!(Sealed::parse(&shaped(len)).err(), Some(NotSealed::TooShort));
        }
        assert!(is_sealed(&shaped(OVERHEAD)) && !is_sealed(&shaped(OVERHEAD - 1)));
        let damaged = |at: usize, byte: u8| {
            let mut bytes = shaped(OVERHEAD);
            bytes[at] = byte;
            assert!(!is_sealed(&bytes) && !is_sealed_by(&bytes[..HEADER_LEN], OVERHEAD));
            Sealed::parse(&bytes).err()
        };
        assert_eq!(damaged(0, 0xF6), Some(NotSealed::Marker));
        assert_eq!(damaged(1, 0x57), Some(NotSealed::Suite));
        assert_eq!(damaged(8, 0x7F), Some(NotSealed::KeyId));
        assert_eq!(damaged(8, 0x9F), Some(NotSealed::KeyId));
        assert_eq!(damaged(10, 0x7F), Some(NotSealed::KeyId));
        assert_eq!(damaged(10, 0xFF), Some(NotSealed::KeyId));
    }

    #[test]
    fn header_and_length_tell_the_shape() {
        let header = &shaped(OVERHEAD)[..HEADER_LEN];
        assert!(is_sealed_by(header, OVERHEAD) && is_sealed_by(header, usize::MAX));
        assert!(!is_sealed_by(header, OVERHEAD - 1));
        assert!(!is_sealed_by(&header[..HEADER_LEN - 1], OVERHEAD));
    }

    #[test]
    fn a_cut_value_still_names_its_key() {
        let whole = peek_key_id(&shaped(OVERHEAD));
        assert!(whole.is_some());
        assert_eq!(peek_key_id(&shaped(HEADER_LEN)), whole);
        assert_eq!(peek_key_id(&shaped(HEADER_LEN - 1)), None);
        let mut other = shaped(OVERHEAD);
        other[1] = 0x57;
        assert_eq!(peek_key_id(&other), None);
    }
}
