//! Sealing and opening a value, from the caller's memory to the caller's memory.
//!
//! Nothing is allocated here for contexts up to 256 bytes.

use zeroize::{ZeroizeOnDrop, Zeroizing};

use crate::associated::with_associated_data;
use crate::derive;
use crate::header::{HEADER_LEN, KeyId, MARKER, OVERHEAD, Sealed, TAG_LEN};
use crate::secret::{DataKey, KEY_LEN};
use crate::session::{MAX_BYTES, Session};
use crate::xaes::{DerivedKey, DoesNotOpen, PREFIX_LEN, TooLong, XaesKey, halves};

/// What seals and opens the values of one data key: its id and its cipher. Wiped on drop.
#[derive(ZeroizeOnDrop)]
pub struct SealKey {
    #[zeroize(skip)]
    key_id: KeyId,
    xaes: XaesKey,
}

/// The key that was derived for the value opened last: values sealed together are mostly opened together. All zeros are
/// none. Wiped on drop.
pub struct Opening {
    key_id: KeyId,
    derived: DerivedKey,
}

/// Why a value was not sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The frame is not 58 bytes longer than the plaintext.
    #[error("the frame is not 58 bytes longer than the plaintext")]
    FrameLength,
    /// The session has no nonce left for this value, or is another key's: begin one, and seal again.
    #[error("the session is over")]
    SessionOver,
    /// The plaintext is longer than a session takes, 2^30 bytes.
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

    /// The key that seals boundary sets in the layout of values, which bear the id of the index key. `key` is what
    /// [`derive::boundaries_key`] makes of that.
    pub fn of_boundaries(key_id: KeyId, key: &[u8; KEY_LEN]) -> SealKey {
        SealKey { key_id, xaes: XaesKey::new(key) }
    }

    /// The id that stands in the values that this key seals.
    pub fn key_id(&self) -> KeyId {
        self.key_id
    }

    pub(crate) fn xaes(&self) -> &XaesKey {
        &self.xaes
    }

    /// Seals `plaintext` to `frame`, which is 58 bytes longer, under the next nonce of `session`; `context` must be given
    /// again to open, and empty means none.
    ///
    /// # Errors
    /// [`SealError`]; what stands in `frame` is then no sealed value, and no part of the plaintext.
    #[inline(always)]
    pub fn seal(
        &self,
        session: &mut Session,
        context: &[u8],
        plaintext: &[u8],
        frame: &mut [u8],
    ) -> Result<(), SealError> {
        let len = plaintext.len() as u64;
        if len > MAX_BYTES {
            return Err(TooLong.into());
        }
        let (head, rest) =
            frame.split_at_mut_checked(OVERHEAD - TAG_LEN).ok_or(SealError::FrameLength)?;
        let (ciphertext, tag) = rest.split_last_chunk_mut().ok_or(SealError::FrameLength)?;
        if ciphertext.len() != plaintext.len() {
            return Err(SealError::FrameLength);
        }
        if session.key_id != self.key_id {
            return Err(SealError::SessionOver);
        }
        let iv = session.next_iv(len).ok_or(SealError::SessionOver)?;
        let (header, nonce) = head.split_at_mut(HEADER_LEN);
        header[..MARKER.len()].copy_from_slice(&MARKER);
        header[MARKER.len()..].copy_from_slice(&self.key_id.0);
        nonce[..PREFIX_LEN].copy_from_slice(session.derived.prefix());
        nonce[PREFIX_LEN..].copy_from_slice(&iv);
        with_associated_data(header, context, |aad| {
            session.derived.seal(&iv, aad, plaintext, ciphertext, tag)
        })?;
        Ok(())
    }

    /// Opens `sealed` to `plaintext`, which is as long as its ciphertext. `last` is kept by the caller from value to
    /// value.
    ///
    /// # Errors
    /// [`DoesNotOpen`] if it names another key, the tag does not verify, or `plaintext` is of another length; nothing of
    /// the value is then in it.
    #[inline(always)]
    pub fn open(
        &self,
        last: &mut Opening,
        sealed: &Sealed<'_>,
        context: &[u8],
        plaintext: &mut [u8],
    ) -> Result<(), DoesNotOpen> {
        if sealed.key_id() != self.key_id {
            return Err(DoesNotOpen);
        }
        let (prefix, iv) = halves(sealed.nonce);
        if last.key_id != self.key_id || !last.derived.is_for(prefix) {
            self.xaes.derive(prefix, &mut last.derived);
            last.key_id = self.key_id;
        }
        with_associated_data(sealed.header, context, |aad| {
            last.derived.open(iv, aad, sealed.ciphertext, sealed.tag, plaintext)
        })
    }
}

impl Opening {
    /// Nothing opened yet.
    pub fn none() -> Opening {
        Opening { key_id: KeyId([0; 16]), derived: DerivedKey::none() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> SealKey {
        match DataKey::try_from_slice(&[byte; 32]) {
            Ok(data_key) => SealKey::from_data_key(&data_key),
            Err(_) => unreachable!("32 bytes"),
        }
    }

    /// A session of `key` under the nonce of threes.
    fn session(key: &SealKey) -> Session {
        let mut session = Session::none();
        session.begin(key, &[3; 24], 2);
        session
    }

    #[test]
    fn a_frame_of_another_length_is_refused() {
        let key = key(1);
        for len in [0, 1, OVERHEAD - 1, OVERHEAD, OVERHEAD + 2] {
            let refused = key.seal(&mut session(&key), b"", &[0], &mut vec![0; len]);
            assert_eq!(refused, Err(SealError::FrameLength));
        }
        assert_eq!(key.seal(&mut session(&key), b"", &[0], &mut [0; OVERHEAD + 1]), Ok(()));
        assert_eq!(key.seal(&mut session(&key), b"", b"", &mut [0; OVERHEAD]), Ok(()));
    }

    /// Before anything is read of it.
    #[test]
    fn a_plaintext_of_a_gibibyte_is_the_longest() {
        let key = key(1);
        let plaintext = vec![0; (1 << 30) + 1];
        let refused = key.seal(&mut session(&key), b"", &plaintext, &mut []);
        assert!(matches!(refused, Err(SealError::TooLong(_))));
        let refused = key.seal(&mut session(&key), b"", &plaintext[1..], &mut []);
        assert_eq!(refused, Err(SealError::FrameLength));
    }

    #[test]
    fn what_does_not_open_gives_no_plaintext() {
        let (key, other) = (key(1), key(2));
        let mut frame = [0; OVERHEAD + 300];
        assert_eq!(key.seal(&mut session(&key), b"ssn", &[0xAA; 300], &mut frame), Ok(()));
        let Ok(sealed) = Sealed::parse(&frame) else { unreachable!() };
        let mut last = Opening::none();
        for (key, context) in [(&key, &b"card"[..]), (&other, b"ssn")] {
            let mut plaintext = [0; 300];
            assert_eq!(key.open(&mut last, &sealed, context, &mut plaintext), Err(DoesNotOpen));
            assert_eq!(plaintext, [0; 300]);
        }
        let mut plaintext = [0; 300];
        assert_eq!(key.open(&mut last, &sealed, b"ssn", &mut plaintext), Ok(()));
        assert_eq!(plaintext, [0xAA; 300]);
    }

    /// The tag would verify if only the cipher were asked: the id is checked by itself.
    #[test]
    fn another_key_id_does_not_open_under_the_same_cipher() {
        let (key, mut twin) = (key(1), key(1));
        twin.key_id.0[0] ^= 1;
        let mut frame = [0; OVERHEAD + 1];
        assert_eq!(key.seal(&mut session(&key), b"", &[7], &mut frame), Ok(()));
        let Ok(sealed) = Sealed::parse(&frame) else { unreachable!() };
        let mut plaintext = [0];
        assert_eq!(twin.open(&mut Opening::none(), &sealed, b"", &mut plaintext), Err(DoesNotOpen));
        assert_eq!(key.open(&mut Opening::none(), &sealed, b"", &mut plaintext), Ok(()));
        assert_eq!(plaintext, [7]);
    }

    /// A value would name one key and be under the other.
    #[test]
    fn a_session_serves_its_own_key_only() {
        let (key, other) = (key(1), key(2));
        let sealed = other.seal(&mut session(&key), b"", b"", &mut [0; OVERHEAD]);
        assert_eq!(sealed, Err(SealError::SessionOver));
        let sealed = key.seal(&mut Session::none(), b"", b"", &mut [0; OVERHEAD]);
        assert_eq!(sealed, Err(SealError::SessionOver));
    }

    /// Of two keys, and of two sessions of one: what was derived last is used for no other.
    #[test]
    fn what_is_kept_from_opening_serves_no_other_value() {
        let mut frames = Vec::new();
        for (key, nonce) in [(key(1), [3; 24]), (key(2), [3; 24]), (key(1), [4; 24])] {
            let (mut session, mut frame) = (Session::none(), [0; OVERHEAD + 1]);
            session.begin(&key, &nonce, 1);
            assert_eq!(key.seal(&mut session, b"", &[9], &mut frame), Ok(()));
            frames.push((key, frame));
        }
        let mut last = Opening::none();
        for at in [0, 0, 1, 2, 0, 1, 2, 2] {
            let (key, frame) = &frames[at];
            let Ok(sealed) = Sealed::parse(frame) else { unreachable!() };
            let mut plaintext = [0];
            assert_eq!(key.open(&mut last, &sealed, b"", &mut plaintext), Ok(()));
            assert_eq!(plaintext, [9]);
        }
    }
}
