//! Key ids: what a key may be called in the open.

use std::fmt;

use uuid::Uuid;

/// The id of a data key or of a file's KEK: a UUIDv8 (RFC 9562) derived from the key, to which it commits. No secret.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub [u8; 16]);

impl KeyId {
    /// Version bits 1000, variant bits 10 (RFC 9562 section 5.8): bits which every derived id has.
    pub(crate) fn is_v8(self) -> bool {
        self.0[6] >> 4 == 0b1000 && self.0[8] >> 6 == 0b10
    }
}

impl From<Uuid> for KeyId {
    fn from(id: Uuid) -> Self {
        KeyId(id.into_bytes())
    }
}

impl From<KeyId> for Uuid {
    fn from(id: KeyId) -> Self {
        Uuid::from_bytes(id.0)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Uuid::from(*self).fmt(f)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_id_reads_as_a_uuid_and_back() {
        let id = KeyId(*b"\x07\x8c\xe1\x5a\xdf\xf9\x81\xa7\x8f\x87\x55\xa1\xa7\x27\xd7\xd0");
        assert_eq!(id.to_string(), "078ce15a-dff9-81a7-8f87-55a1a727d7d0");
        assert_eq!(format!("{id:?}"), id.to_string());
        assert_eq!(KeyId::from(Uuid::from(id)), id);
    }
}
