//! A data key wrapped under a KEK that lives in a file.
//!
//! 90 bytes: `F7 57` ‖ KEK id (16) ‖ nonce (24) ‖ XAES-256-GCM(wrap key, data key) ‖ tag (16); the associated data are
//! the first 18 bytes ‖ the canonical encryption context.

mod encryption_context;
pub mod kms_wrap;

use std::ops::Range;

use zeroize::Zeroizing;

use crate::associated::with_associated_data;
use crate::derive;
use crate::header::{self, HEADER_LEN, KeyId, NONCE_LEN, OVERHEAD, TAG_LEN};
use crate::secret::{DataKey, KEY_LEN, WrongLength, as_key};
use crate::xaes::{DoesNotOpen, XaesKey};

pub use encryption_context::EncryptionContext;

/// Length of a file wrap, in bytes.
pub const FILE_WRAP_LEN: usize = OVERHEAD + KEY_LEN;

const MARKER: [u8; 2] = [0xF7, 0x57];
/// Where the encrypted data key stands in a wrap.
const SEALED: Range<usize> = HEADER_LEN + NONCE_LEN..FILE_WRAP_LEN - TAG_LEN;

/// A KEK that was read from a file. Of the file's 32 bytes only what is derived from them stays. Wiped on drop.
pub struct FileKek {
    kek_id: KeyId,
    // On the heap, so that a move leaves no copy behind; the cipher is set up for each call, for calls are rare.
    wrap_key: Box<Zeroizing<[u8; KEY_LEN]>>,
}

/// Why a data key was not unwrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnwrapError {
    /// The marker or the length is another.
    #[error("not a data key wrapped under a key file")]
    NotAFileWrap,
    /// It is wrapped under another KEK than the one at hand.
    #[error("needs KEK {needs}, this file holds {have}")]
    OtherKek {
        /// The KEK that the wrap names.
        needs: KeyId,
        /// The KEK that was asked to unwrap it.
        have: KeyId,
    },
    /// The encryption context is another, or the wrap was changed.
    #[error("the wrapped key does not open: another encryption context, or it was changed")]
    DoesNotOpen,
}

impl From<DoesNotOpen> for UnwrapError {
    fn from(DoesNotOpen: DoesNotOpen) -> Self {
        UnwrapError::DoesNotOpen
    }
}

impl FileKek {
    /// The KEK of a file that holds `kek`, which remains the caller's to wipe.
    pub fn from_bytes(kek: &[u8; KEY_LEN]) -> FileKek {
        let mut wrap_key = Box::new(Zeroizing::new([0; KEY_LEN]));
        derive::wrap_key(kek, &mut wrap_key);
        FileKek { kek_id: derive::kek_id(kek), wrap_key }
    }

    /// The KEK of a file that holds `bytes`, which remain the caller's to wipe.
    ///
    /// # Errors
    /// [`WrongLength`] unless there are 32.
    pub fn try_from_slice(bytes: &[u8]) -> Result<FileKek, WrongLength> {
        as_key(bytes).map(FileKek::from_bytes)
    }

    /// The id that stands in the wraps of this KEK.
    pub fn kek_id(&self) -> KeyId {
        self.kek_id
    }

    /// Wraps `data_key` for `context`. `nonce` is 24 fresh random bytes.
    pub fn wrap(
        &self,
        nonce: &[u8; NONCE_LEN],
        data_key: &DataKey,
        context: &EncryptionContext,
    ) -> [u8; FILE_WRAP_LEN] {
        let header = header::build(MARKER, self.kek_id);
        let mut wrapped = [0; FILE_WRAP_LEN];
        wrapped[..HEADER_LEN].copy_from_slice(&header);
        wrapped[HEADER_LEN..SEALED.start].copy_from_slice(nonce);
        wrapped[SEALED].copy_from_slice(data_key.as_bytes());
        let tag = with_associated_data(&header, &context.canonical(), |aad| {
            XaesKey::new(&self.wrap_key).seal_in_place(nonce, aad, &mut wrapped[SEALED])
        });
        let Ok(tag) = tag else { unreachable!("GCM takes 32 bytes") };
        wrapped[SEALED.end..].copy_from_slice(&tag);
        wrapped
    }

    /// Unwraps the data key in `wrapped`, which was wrapped for `context`.
    ///
    /// # Errors
    /// [`UnwrapError`]. What the key's id must be the caller knows, and compares.
    pub fn unwrap(
        &self,
        wrapped: &[u8],
        context: &EncryptionContext,
    ) -> Result<Box<DataKey>, UnwrapError> {
        let cut = header::cut(wrapped).filter(|_| wrapped.len() == FILE_WRAP_LEN);
        let (header, nonce, ciphertext, tag) = cut.ok_or(UnwrapError::NotAFileWrap)?;
        if !header.starts_with(&MARKER) {
            return Err(UnwrapError::NotAFileWrap);
        }
        let needs = header::id(header);
        if needs != self.kek_id {
            return Err(UnwrapError::OtherKek { needs, have: self.kek_id });
        }
        DataKey::from_fn(|key| {
            key.copy_from_slice(ciphertext);
            with_associated_data(header, &context.canonical(), |aad| {
                XaesKey::new(&self.wrap_key).open_in_place(nonce, aad, key, tag)
            })
        })
        .map_err(UnwrapError::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A KEK, and a wrap of the key of nines under it.
    fn wrapped() -> (FileKek, [u8; FILE_WRAP_LEN]) {
        let kek = FileKek::from_bytes(&[1; KEY_LEN]);
        let Ok(data_key) = DataKey::try_from_slice(&[9; KEY_LEN]) else { unreachable!() };
        let wrapped = kek.wrap(&[2; NONCE_LEN], &data_key, &EncryptionContext::default());
        (kek, wrapped)
    }

    #[test]
    fn each_malformation_is_told() {
        let (kek, wrapped) = wrapped();
        let error = |bytes: &[u8]| kek.unwrap(bytes, &EncryptionContext::default()).err();
        let changed = |at: usize| {
            let mut changed = wrapped;
            changed[at] ^= 1;
            error(&changed)
        };
        assert_eq!(error(&wrapped), None);
        assert_eq!(error(&[]), Some(UnwrapError::NotAFileWrap));
        assert_eq!(error(&wrapped[..89]), Some(UnwrapError::NotAFileWrap));
        assert_eq!(error(&[&wrapped[..], &[0]].concat()), Some(UnwrapError::NotAFileWrap));
        assert_eq!(changed(0), Some(UnwrapError::NotAFileWrap));
        assert_eq!(changed(1), Some(UnwrapError::NotAFileWrap));
        assert!(matches!(changed(2), Some(UnwrapError::OtherKek { .. })));
        assert!(matches!(changed(17), Some(UnwrapError::OtherKek { .. })));
        assert_eq!(changed(18), Some(UnwrapError::DoesNotOpen));
        assert_eq!(changed(42), Some(UnwrapError::DoesNotOpen));
        assert_eq!(changed(89), Some(UnwrapError::DoesNotOpen));
    }

    #[test]
    fn another_kek_is_told_by_both_ids() {
        let (kek, wrapped) = wrapped();
        let other = FileKek::from_bytes(&[3; KEY_LEN]);
        let error = other.unwrap(&wrapped, &EncryptionContext::default()).err();
        let (needs, have) = (kek.kek_id(), other.kek_id());
        assert_eq!(error, Some(UnwrapError::OtherKek { needs, have }));
        let message = error.map(|error| error.to_string());
        assert_eq!(message, Some(format!("needs KEK {needs}, this file holds {have}")));
    }
}
