//! What is asked of a server and what it must answer: Encrypt and Decrypt with AES-GCM, Discover
//! Versions, Get Attributes.
//!
//! Source: KMIP Specification 1.4, sections 4.12, 4.26, 4.29, 4.30.

use envelope::wrap::kms_wrap::{IV_LEN, KmsWrap};

use super::message::Version;
use super::numbers as n;
use super::ttlv::{Malformed, Structure, Writer};

/// Length of the tag, in bytes.
const TAG_LEN: usize = 16;

/// Why an answer does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unfit {
    /// It cannot be read.
    #[error("the answer makes no sense ({0})")]
    Malformed(#[from] Malformed),
    /// It is of another key than the one that was asked for.
    #[error("the server answered for another key")]
    OtherKey,
    /// Encrypt without a tag of 16 bytes: associated data were dropped, or the tag was put elsewhere.
    #[error("the server gave no authentication tag of 16 bytes with 32 bytes of ciphertext")]
    NoTag,
    /// An IV of the server's own that cannot be one.
    #[error("the server chose an IV that is too short, too long or nothing but zeros")]
    BadIv,
}

/// The versions that are spoken, to be told which of them the server speaks.
pub(super) fn discover(writer: &mut Writer) {
    Version::SPOKEN.iter().for_each(|version| version.write(writer));
}

/// The versions that the server speaks of those, in its order.
pub(super) fn discovered(payload: Structure<'_>) -> Result<Vec<Version>, Malformed> {
    let versions = payload.items().filter(|item| match item {
        Ok(item) => item.tag == n::PROTOCOL_VERSION,
        Err(_) => true,
    });
    versions.map(|item| Version::read(item?.structure()?)).collect()
}

/// All attributes of a key.
pub(super) fn get_attributes(writer: &mut Writer, key: &str) {
    writer.text(n::UNIQUE_IDENTIFIER, key);
}

/// `data` under `key`, AES-256-GCM, bound to `associated`.
pub(super) fn encrypt(writer: &mut Writer, key: &str, data: &[u8], iv: &[u8], associated: &[u8]) {
    writer.text(n::UNIQUE_IDENTIFIER, key);
    writer.structure(n::CRYPTOGRAPHIC_PARAMETERS, aes_gcm);
    writer.bytes(n::DATA, data);
    writer.bytes(n::IV_COUNTER_NONCE, iv);
    writer.bytes(n::AUTHENTICATED_ENCRYPTION_ADDITIONAL_DATA, associated);
}

/// The same back.
pub(super) fn decrypt(writer: &mut Writer, key: &str, wrap: &KmsWrap<'_>, associated: &[u8]) {
    writer.text(n::UNIQUE_IDENTIFIER, key);
    writer.structure(n::CRYPTOGRAPHIC_PARAMETERS, aes_gcm);
    writer.bytes(n::DATA, wrap.ciphertext());
    writer.bytes(n::IV_COUNTER_NONCE, wrap.iv);
    writer.bytes(n::AUTHENTICATED_ENCRYPTION_ADDITIONAL_DATA, associated);
    writer.bytes(n::AUTHENTICATED_ENCRYPTION_TAG, wrap.tag());
}

fn aes_gcm(writer: &mut Writer) {
    writer.enumeration(n::BLOCK_CIPHER_MODE, n::GCM);
    writer.enumeration(n::CRYPTOGRAPHIC_ALGORITHM, n::AES);
    writer.integer(n::TAG_LENGTH, const { TAG_LEN as i32 });
}

/// The wrap in what Encrypt answered for `key`, which was handed `iv`.
pub(super) fn encrypted(payload: Structure<'_>, key: &str, iv: &[u8]) -> Result<Vec<u8>, Unfit> {
    of_key(payload, key)?;
    let data = payload.first(n::DATA)?.bytes()?;
    let tag = payload.find(n::AUTHENTICATED_ENCRYPTION_TAG)?.map(|tag| tag.bytes()).transpose()?;
    let Some(tag) = tag.filter(|tag| tag.len() == TAG_LEN) else { return Err(Unfit::NoTag) };
    // Told where the server chose one of its own.
    let told = payload.find(n::IV_COUNTER_NONCE)?.map(|iv| iv.bytes()).transpose()?;
    let iv = told.unwrap_or(iv);
    if !(IV_LEN..=usize::from(u8::MAX)).contains(&iv.len()) || iv.iter().all(|byte| *byte == 0) {
        return Err(Unfit::BadIv);
    }
    let sealed = [data, tag].concat();
    KmsWrap::new(iv, &sealed).map(|wrap| wrap.to_bytes()).map_err(|_| Unfit::NoTag)
}

/// What Decrypt answered for `key`: the bytes are in the answer, which is wiped.
pub(super) fn decrypted<'a>(payload: Structure<'a>, key: &str) -> Result<&'a [u8], Unfit> {
    of_key(payload, key)?;
    Ok(payload.first(n::DATA)?.bytes()?)
}

/// An answer of Get Attributes for `key`.
pub(super) fn of_key(payload: Structure<'_>, key: &str) -> Result<(), Unfit> {
    if payload.first(n::UNIQUE_IDENTIFIER)?.text()? != key {
        return Err(Unfit::OtherKey);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const IV: [u8; IV_LEN] = [7; IV_LEN];

    /// The payload that `items` writes, as Encrypt's for the key `k`.
    fn read(items: impl FnOnce(&mut Writer)) -> Result<Vec<u8>, Unfit> {
        let mut writer = Writer::with_capacity(0);
        items(&mut writer);
        encrypted(Structure::new(&writer.into_bytes()), "k", &IV)
    }

    fn told(data: usize, iv: Option<&[u8]>, tag: Option<usize>) -> Result<Vec<u8>, Unfit> {
        read(|writer| {
            writer.text(n::UNIQUE_IDENTIFIER, "k");
            writer.bytes(n::DATA, &vec![1; data]);
            if let Some(iv) = iv {
                writer.bytes(n::IV_COUNTER_NONCE, iv);
            }
            if let Some(tag) = tag {
                writer.bytes(n::AUTHENTICATED_ENCRYPTION_TAG, &vec![2; tag]);
            }
        })
    }

    fn wrap(iv: &[u8]) -> Vec<u8> {
        let length = u8::try_from(iv.len()).unwrap_or_default();
        [&[0xF7, 0x58, length], iv, &[1; 32], &[2; 16]].concat()
    }

    #[test]
    fn the_tag_must_be_there() {
        assert_eq!(told(32, None, Some(16)), Ok(wrap(&IV)));
        // As servers below 1.4 do: none, or at the ciphertext's end.
        for (data, tag) in [(32, None), (48, None), (32, Some(0)), (32, Some(12)), (48, Some(16))] {
            assert_eq!(told(data, None, tag), Err(Unfit::NoTag), "{data} {tag:?}");
        }
        assert_eq!(told(48, None, Some(0)), Err(Unfit::NoTag));
    }

    #[test]
    fn an_iv_of_the_servers_own_counts() {
        for iv in [&[3; 12][..], &[3; 16], &IV] {
            assert_eq!(told(32, Some(iv), Some(16)), Ok(wrap(iv)));
        }
        for bad in [&[0; 12][..], &[0; 16], &[3; 11], &[], &[3; 256]] {
            assert_eq!(told(32, Some(bad), Some(16)), Err(Unfit::BadIv), "{bad:?}");
        }
    }

    #[test]
    fn decrypt_sends_the_parts_of_a_wrap() -> Result<(), Malformed> {
        let stored = wrap(&[3; 16]);
        let Ok(parsed) = KmsWrap::parse(&stored) else { return Err(Malformed::Value) };
        let mut writer = Writer::with_capacity(0);
        decrypt(&mut writer, "k", &parsed, b"a");
        let bytes = writer.into_bytes();
        let payload = Structure::new(&bytes);
        assert_eq!(payload.first(n::UNIQUE_IDENTIFIER)?.text()?, "k");
        assert_eq!(payload.first(n::DATA)?.bytes()?, [1; 32]);
        assert_eq!(payload.first(n::IV_COUNTER_NONCE)?.bytes()?, [3; 16]);
        assert_eq!(payload.first(n::AUTHENTICATED_ENCRYPTION_ADDITIONAL_DATA)?.bytes()?, b"a");
        assert_eq!(payload.first(n::AUTHENTICATED_ENCRYPTION_TAG)?.bytes()?, [2; 16]);
        let parameters = payload.first(n::CRYPTOGRAPHIC_PARAMETERS)?.structure()?;
        assert_eq!(parameters.first(n::BLOCK_CIPHER_MODE)?.enumeration()?, 9);
        assert_eq!(parameters.first(n::CRYPTOGRAPHIC_ALGORITHM)?.enumeration()?, 3);
        assert_eq!(parameters.first(n::TAG_LENGTH)?.integer()?, 16);
        Ok(())
    }

    #[test]
    fn another_keys_answer_does_not_count() {
        let other = read(|writer| {
            writer.text(n::UNIQUE_IDENTIFIER, "K");
            writer.bytes(n::DATA, &[1; 32]);
            writer.bytes(n::AUTHENTICATED_ENCRYPTION_TAG, &[2; 16]);
        });
        assert_eq!(other, Err(Unfit::OtherKey));
        let unnamed = read(|writer| writer.bytes(n::DATA, &[1; 32]));
        assert_eq!(unnamed, Err(Unfit::Malformed(Malformed::Missing)));
        let mut writer = Writer::with_capacity(0);
        writer.text(n::UNIQUE_IDENTIFIER, "K");
        writer.bytes(n::DATA, &[1; 32]);
        let answer = writer.into_bytes();
        assert_eq!(decrypted(Structure::new(&answer), "k"), Err(Unfit::OtherKey));
        assert_eq!(decrypted(Structure::new(&answer), "K"), Ok(&[1; 32][..]));
    }

    #[test]
    fn versions_are_told_and_read() {
        let mut writer = Writer::with_capacity(0);
        discover(&mut writer);
        let bytes = writer.into_bytes();
        assert_eq!(discovered(Structure::new(&bytes)), Ok(Version::SPOKEN.to_vec()));
        assert_eq!(discovered(Structure::new(&[])), Ok(Vec::new()));
        assert!(discovered(Structure::new(&bytes[..bytes.len() - 8])).is_err());
    }
}
