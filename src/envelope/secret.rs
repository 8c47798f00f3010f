//! Data keys in memory: built in place on the heap, wiped on drop, neither shown, copied nor compared.

use zeroize::ZeroizeOnDrop;

/// Length of every key of the format, in bytes.
pub const KEY_LEN: usize = 32;

/// A data key (DEK): 32 uniform bytes, from which a table's keys are derived. Wiped on drop.
///
/// It comes to life only in a `Box`, so that moving it moves a pointer and leaves no copy on the stack. It has no
/// `Debug`, `Clone`, `PartialEq` or `Serialize`, so that none is made by accident:
///
/// ```compile_fail,E0277
/// fn debug<T: std::fmt::Debug>() {}
/// debug::<envelope::DataKey>();
/// ```
/// ```compile_fail,E0277
/// fn clone<T: Clone>() {}
/// clone::<envelope::DataKey>();
/// ```
/// ```compile_fail,E0277
/// fn equal<T: PartialEq>() {}
/// equal::<envelope::DataKey>();
/// ```
#[derive(ZeroizeOnDrop)]
pub struct DataKey([u8; KEY_LEN]);

/// A key was not 32 bytes long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key is 32 bytes long, not {have}")]
pub struct WrongLength {
    /// The length that was given, in bytes.
    pub have: usize,
}

impl DataKey {
    /// A data key whose bytes `fill` writes in place: a random source, a decryption.
    ///
    /// # Errors
    /// What `fill` answers; whatever it had written is wiped.
    pub fn from_fn<E>(
        fill: impl FnOnce(&mut [u8; KEY_LEN]) -> Result<(), E>,
    ) -> Result<Box<DataKey>, E> {
        let mut key = Box::new(DataKey([0; KEY_LEN]));
        fill(&mut key.0)?;
        Ok(key)
    }

    /// A data key copied from `bytes`, which remain the caller's to wipe.
    ///
    /// # Errors
    /// [`WrongLength`] unless there are 32.
    pub fn try_from_slice(bytes: &[u8]) -> Result<Box<DataKey>, WrongLength> {
        let bytes: &[u8; KEY_LEN] = as_key(bytes)?;
        DataKey::from_fn(|key| {
            key.copy_from_slice(bytes);
            Ok(())
        })
    }

    /// The key itself. Whoever copies it wipes the copy.
    pub fn as_bytes(&self) -> &[u8; KEY_LEN] {
        &self.0
    }
}

/// More than a cipher and its key set-up use of the stack; a build that is not optimised uses more.
pub const STACK_BYTES: usize = if cfg!(debug_assertions) { 16_384 } else { 4_096 };

/// Overwrites what functions that have returned left on the stack below the caller: the ciphers pass key schedules by
/// value, whose first bytes are the key.
pub fn wipe_stack() {
    zeroize::zeroize_stack::<STACK_BYTES>();
}

/// `bytes` as a key, without a copy.
pub(crate) fn as_key(bytes: &[u8]) -> Result<&[u8; KEY_LEN], WrongLength> {
    bytes.try_into().map_err(|_| WrongLength { have: bytes.len() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_32_bytes_and_no_other_length() {
        let bytes: Vec<u8> = (0..33).collect();
        for have in [0, 16, 31, 33] {
            let refused = DataKey::try_from_slice(&bytes[..have]).err();
            assert_eq!(refused, Some(WrongLength { have }));
        }
        let key = DataKey::try_from_slice(&bytes[..32]).ok();
        assert_eq!(key.as_ref().map(|key| &key.as_bytes()[..]), Some(&bytes[..32]));
    }

    #[test]
    fn a_failing_source_gives_no_key() {
        let refused = DataKey::from_fn(|key| {
            key[0] = 1;
            Err("no entropy")
        });
        assert_eq!(refused.err(), Some("no entropy"));
    }

    #[test]
    fn is_wiped_on_drop() {
        fn wiped<T: ZeroizeOnDrop>() {}
        wiped::<DataKey>();
        assert!(std::mem::needs_drop::<DataKey>());
    }
}
