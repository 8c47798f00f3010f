//! A data key that a token or a key server encrypted by AES-256-GCM, where the KEK never leaves it (PKCS#11, KMIP).
//!
//! `F7 58` ‖ length of the IV (1) ‖ IV ‖ encrypted data key (32) ‖ tag (16). The associated data are
//! `envelope/1 kms wrap,` ‖ the encryption context as JSON. The IV has a length of its own, for some tokens choose it.

use crate::header::TAG_LEN;
use crate::secret::KEY_LEN;

const MARKER: [u8; 2] = [0xF7, 0x58];
const LABEL: &str = "envelope/1 kms wrap,";

/// Length of what GCM makes of a data key: ciphertext ‖ tag.
pub const SEALED_LEN: usize = KEY_LEN + TAG_LEN;

/// The length of an IV that we choose, in bytes: what GCM is made for (NIST SP 800-38D, section 8.2).
pub const IV_LEN: usize = 12;

/// The parts of a wrap, where they stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KmsWrap<'a> {
    /// The IV as it was used, from 12 to 255 bytes.
    pub iv: &'a [u8],
    /// The encrypted data key ‖ tag, as PKCS#11 takes it.
    pub sealed: &'a [u8; SEALED_LEN],
}

/// The marker or a length is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a data key wrapped by AES-GCM in a token or a key server")]
pub struct NotAKmsWrap;

impl<'a> KmsWrap<'a> {
    /// A wrap of these parts.
    ///
    /// # Errors
    /// [`NotAKmsWrap`] for an IV that is shorter than 12 bytes or longer than 255, and for another length of `sealed`.
    pub fn new(iv: &'a [u8], sealed: &'a [u8]) -> Result<Self, NotAKmsWrap> {
        if !(IV_LEN..=usize::from(u8::MAX)).contains(&iv.len()) {
            return Err(NotAKmsWrap);
        }
        Ok(Self { iv, sealed: sealed.try_into().map_err(|_| NotAKmsWrap)? })
    }

    /// Takes stored bytes apart. Whether they open only the KEK can tell.
    ///
    /// # Errors
    /// [`NotAKmsWrap`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, NotAKmsWrap> {
        let rest = bytes.strip_prefix(&MARKER).ok_or(NotAKmsWrap)?;
        let (&length, rest) = rest.split_first().ok_or(NotAKmsWrap)?;
        let (iv, sealed) = rest.split_at_checked(usize::from(length)).ok_or(NotAKmsWrap)?;
        Self::new(iv, sealed)
    }

    /// The encrypted data key without its tag.
    pub fn ciphertext(&self) -> &'a [u8] {
        &self.sealed[..KEY_LEN]
    }

    /// The tag.
    pub fn tag(&self) -> &'a [u8] {
        &self.sealed[KEY_LEN..]
    }

    /// The bytes to store.
    pub fn to_bytes(&self) -> Vec<u8> {
        // `new` takes no longer one.
        let length = u8::try_from(self.iv.len()).unwrap_or(u8::MAX);
        [&MARKER[..], &[length], self.iv, self.sealed].concat()
    }
}

/// What GCM authenticates beside the data key: `context` is the encryption context in its canonical JSON.
pub fn associated_data(context: &str) -> Vec<u8> {
    [LABEL, context].concat().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_malformation_is_told() {
        let wrap = |iv: usize, sealed: usize| {
            [&[0xF7, 0x58, iv as u8][..], &vec![5; iv + sealed]].concat()
        };
        assert!(KmsWrap::parse(&wrap(12, 48)).is_ok());
        assert!(KmsWrap::parse(&wrap(16, 48)).is_ok());
        assert!(KmsWrap::parse(&wrap(255, 48)).is_ok());
        for bytes in [
            vec![],
            vec![0xF7],
            vec![0xF7, 0x58],
            vec![0xF7, 0x58, 255],
            wrap(0, 48),
            wrap(11, 48),
            wrap(12, 47),
            wrap(12, 49),
            [&[0xF7, 0x57], &wrap(12, 48)[2..]].concat(),
            [&[0xF6, 0x58], &wrap(12, 48)[2..]].concat(),
        ] {
            assert_eq!(KmsWrap::parse(&bytes), Err(NotAKmsWrap), "{bytes:x?}");
        }
        assert_eq!(KmsWrap::new(&[0; 256], &[0; 48]), Err(NotAKmsWrap));
    }
}
