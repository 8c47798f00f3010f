//! Sealing and opening a value, where it lies.
//!
//! The caller owns the memory: a frame with room for the header before and the tag after the plaintext, or a copy of
//! the ciphertext. Nothing is allocated here for contexts up to 256 bytes.

use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::associated::with_associated_data;
use crate::derive;
use crate::header::{self, HEADER_LEN, KeyId, MARKER, NONCE_LEN, OVERHEAD, Sealed, TAG_LEN};
use crate::secret::{DataKey, KEY_LEN};
use crate::xaes::{DoesNotOpen, TooLong, XaesKey};

/// The longest ciphertext, in bytes, that [`SealKey::verify`] checks on the stack.
const SCRATCH: usize = 256;

/// What seals and opens the values of one data key: its id and its cipher. Wiped on drop.
#[derive(ZeroizeOnDrop)]
pub struct SealKey {
    #[zeroize(skip)]
    key_id: KeyId,
    xaes: XaesKey,
}

/// Why a value was not sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The frame has no room for the 58 bytes that sealing adds.
    #[error("the frame is shorter than the 58 bytes that sealing adds")]
    FrameTooShort,
    /// The plaintext is longer than the cipher takes.
    #[error(transparent)]
    TooLong(#[from] TooLong),
}

impl SealKey {
    /// Derives the seal key of `data_key` and makes it ready.
    pub fn from_data_key(data_key: &DataKey) -> SealKey {
        let mut key = Zeroizing::new([0; KEY_LEN]);
        derive::seal_key(data_key, &mut key);
        SealKey { key_id: derive::key_id(data_key), xaes: XaesKey::new(&key) }
    }

    /// The id that stands in the values that this key seals.
    pub fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// Seals the plaintext within `frame`: 42 bytes to be written ‖ plaintext ‖ 16 bytes to be written. `nonce` is 24
    /// fresh random bytes; `context` must be given again to open, and empty means none.
    ///
    /// # Errors
    /// [`SealError`]; the plaintext in `frame` is then as it was.
    pub fn seal_in_place(
        &self,
        nonce: &[u8; NONCE_LEN],
        context: &[u8],
        frame: &mut [u8],
    ) -> Result<(), SealError> {
        if frame.len() < OVERHEAD {
            return Err(SealError::FrameTooShort);
        }
        let (head, rest) = frame.split_at_mut(HEADER_LEN + NONCE_LEN);
        let (plaintext, tag) = rest.split_at_mut(rest.len() - TAG_LEN);
        let header = header::build(MARKER, self.key_id);
        let sealed_tag = with_associated_data(&header, context, |aad| {
            self.xaes.seal_in_place(nonce, aad, plaintext)
        })?;
        head[..HEADER_LEN].copy_from_slice(&header);
        head[HEADER_LEN..].copy_from_slice(nonce);
        tag.copy_from_slice(&sealed_tag);
        Ok(())
    }

    /// Opens `sealed` within `buf`, which holds a copy of its ciphertext and in the end the plaintext.
    ///
    /// # Errors
    /// [`DoesNotOpen`] if it names another key, the tag does not verify, or `buf` is not such a copy; `buf` is wiped.
    pub fn open_in_place(
        &self,
        sealed: &Sealed<'_>,
        context: &[u8],
        buf: &mut [u8],
    ) -> Result<(), DoesNotOpen> {
        let opened = if sealed.key_id == self.key_id {
            with_associated_data(sealed.header, context, |aad| {
                self.xaes.open_in_place(sealed.nonce, aad, buf, sealed.tag)
            })
        } else {
            Err(DoesNotOpen)
        };
        opened.inspect_err(|DoesNotOpen| buf.zeroize())
    }

    /// Whether `sealed` opens under `context`, for who does not need the plaintext.
    ///
    /// The cipher decrypts what it verifies, so a scratch copy is made, and wiped.
    ///
    /// # Errors
    /// [`DoesNotOpen`] as [`SealKey::open_in_place`].
    pub fn verify(&self, sealed: &Sealed<'_>, context: &[u8]) -> Result<(), DoesNotOpen> {
        let len = sealed.ciphertext.len();
        if len > SCRATCH {
            let mut scratch = Zeroizing::new(sealed.ciphertext.to_vec());
            return self.open_in_place(sealed, context, &mut scratch);
        }
        let mut scratch = Zeroizing::new([0; SCRATCH]);
        scratch[..len].copy_from_slice(sealed.ciphertext);
        self.open_in_place(sealed, context, &mut scratch[..len])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> Option<SealKey> {
        let data_key = DataKey::try_from_slice(&[byte; 32]).ok()?;
        Some(SealKey::from_data_key(&data_key))
    }

    #[test]
    fn a_frame_without_room_is_refused() {
        let Some(key) = key(1) else { unreachable!() };
        for len in [0, 1, OVERHEAD - 1] {
            let refused = key.seal_in_place(&[0; 24], b"", &mut vec![0; len]);
            assert_eq!(refused, Err(SealError::FrameTooShort));
        }
        assert_eq!(key.seal_in_place(&[0; 24], b"", &mut [0; OVERHEAD]), Ok(()));
    }

    #[test]
    fn what_does_not_open_leaves_a_wiped_buffer() {
        let (Some(key), Some(other)) = (key(1), key(2)) else { unreachable!() };
        let mut frame = [0xAA; OVERHEAD + 300];
        assert_eq!(key.seal_in_place(&[3; 24], b"ssn", &mut frame), Ok(()));
        let Ok(sealed) = Sealed::parse(&frame) else { unreachable!() };
        for (key, context) in [(&key, &b"card"[..]), (&other, b"ssn")] {
            let mut buf = sealed.ciphertext.to_vec();
            assert_eq!(key.open_in_place(&sealed, context, &mut buf), Err(DoesNotOpen));
            assert_eq!(buf, [0; 300]);
            assert_eq!(key.verify(&sealed, context), Err(DoesNotOpen));
        }
        let mut buf = sealed.ciphertext.to_vec();
        assert_eq!(key.open_in_place(&sealed, b"ssn", &mut buf), Ok(()));
        assert_eq!(buf, [0xAA; 300]);
        assert_eq!(key.verify(&sealed, b"ssn"), Ok(()));
    }

    /// The tag would verify if only the cipher were asked: the id is checked by itself.
    #[test]
    fn another_key_id_does_not_open_under_the_same_cipher() {
        let (Some(key), Some(mut twin)) = (key(1), key(1)) else { unreachable!() };
        twin.key_id.0[0] ^= 1;
        let mut frame = [0; OVERHEAD + 1];
        assert_eq!(key.seal_in_place(&[3; 24], b"", &mut frame), Ok(()));
        let Ok(sealed) = Sealed::parse(&frame) else { unreachable!() };
        assert_eq!(twin.verify(&sealed, b""), Err(DoesNotOpen));
        assert_eq!(key.verify(&sealed, b""), Ok(()));
    }
}
