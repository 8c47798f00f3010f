//! Checks of what KMS answered, before any of it counts.

use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::{KeyMetadata, KeySpec, KeyState, KeyUsageType};
use envelope::secret::DataKey;
use zeroize::Zeroizing;

use super::super::uri::AwsKey;
use super::super::{KekUri, Kind, KmsError, Wrap};
use super::MAX_WRAPPED_LEN;
use super::fault::Request;

impl Request {
    /// The key ARN that KMS says it used, if it is the key that was asked for.
    pub(super) fn answered_under(
        &self,
        asked: &AwsKey,
        named: Option<&str>,
        id: Option<&str>,
    ) -> Result<AwsKey, KmsError> {
        let key = named.and_then(|named| AwsKey::parse(named).ok()).filter(AwsKey::is_key_arn);
        match key {
            Some(key) if asked.admits(&key) => Ok(key),
            Some(_) => Err(self.answered(Kind::InvalidWrap, "KMS answered for another key", id)),
            None => Err(self.nonsense("no key ARN", &id.map(str::to_owned))),
        }
    }

    /// The data key in an answer. The client's copy of it is wiped.
    pub(super) fn data_key(
        &self,
        plaintext: Option<Blob>,
        id: Option<&str>,
    ) -> Result<Box<DataKey>, KmsError> {
        let Some(plaintext) = plaintext else {
            return Err(self.nonsense("no plaintext", &id.map(str::to_owned)));
        };
        let plaintext = Zeroizing::new(plaintext.into_inner());
        DataKey::try_from_slice(&plaintext).map_err(|_| {
            let message = format!("it gave {} bytes, which is no data key", plaintext.len());
            self.answered(Kind::InvalidWrap, message, id)
        })
    }

    /// The wrap in an answer, under the key that was asked for.
    pub(super) fn wrap(
        &self,
        asked: &AwsKey,
        named: Option<&str>,
        wrapped: Option<Blob>,
        id: Option<&str>,
    ) -> Result<Wrap, KmsError> {
        let kek = KekUri::Aws(self.answered_under(asked, named, id)?);
        let bytes = wrapped.map(Blob::into_inner).unwrap_or_default();
        if bytes.is_empty() || bytes.len() > MAX_WRAPPED_LEN {
            let what = format!("a wrap of {} bytes", bytes.len());
            return Err(self.nonsense(&what, &id.map(str::to_owned)));
        }
        Ok(Wrap { kek, bytes })
    }

    /// The ARN of a key that can serve as a KEK now.
    pub(super) fn usable(
        &self,
        asked: &AwsKey,
        about: Option<&KeyMetadata>,
        id: Option<&str>,
    ) -> Result<AwsKey, KmsError> {
        let key = self.answered_under(asked, about.and_then(KeyMetadata::arn), id)?;
        let unfit = |why: String| {
            Err(self.answered(Kind::KeyState, why, id).with_hint(
                "Enable the key in KMS, or name an enabled symmetric ENCRYPT_DECRYPT key.",
            ))
        };
        match about.and_then(KeyMetadata::key_state) {
            None | Some(KeyState::Enabled) => {}
            Some(state) => return unfit(format!("the key's state is {}", state.as_str())),
        }
        // KMS always says all three; an emulator may leave some out.
        let encrypts = about
            .and_then(KeyMetadata::key_usage)
            .is_none_or(|usage| *usage == KeyUsageType::EncryptDecrypt);
        let symmetric = about
            .and_then(KeyMetadata::key_spec)
            .is_none_or(|spec| *spec == KeySpec::SymmetricDefault);
        if !encrypts || !symmetric {
            return unfit("the key is not a symmetric key for encryption".into());
        }
        Ok(key)
    }
}
