//! Sealed values, wraps, contexts.

use std::collections::BTreeMap;

use aes_gcm::aead::array::ArraySize;
use aes_gcm::aead::consts::{U12, U13, U16, U32, U64, U128};
use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{AesGcm, aes::Aes256};
use envelope::wrap::kms_wrap::{self, KmsWrap};
use envelope::{
    DataKey, EncryptionContext, FileKek, KeyId, Opening, SealKey, Sealed, UnwrapError, derive,
};
use serde_json::json;

use super::{Answer, Given, NOT_HERE};

const LONGEST_CONTEXT: usize = 8192;

pub fn answer(name: &str, given: &Given) -> Option<Answer> {
    Some(match name {
        "key_id" => data_key(given, "data_key").map(|key| json!(derive::key_id(&key).to_string())),
        "kek_id" => file_kek(given).map(|kek| json!(kek.kek_id().to_string())),
        "named_key" => Sealed::parse(&given.bytes("sealed"))
            .map(|sealed| json!(sealed.key_id().to_string()))
            .map_err(|_| "not_sealed"),
        "open_value" => opened(given).map(|plaintext| json!(hex::encode(plaintext))),
        "row_context" => {
            let parts = given.of("parts").as_array().unwrap();
            let parts = parts.iter().map(|part| part.as_str().unwrap());
            Ok(json!(envelope::context::row_context(given.text("tag"), parts)))
        }
        "context_json" => context(given).map(|context| json!(context.canonical_json())),
        "context_bytes" => context(given).map(|context| json!(hex::encode(context.canonical()))),
        "token_associated_data" => context(given).map(|context| {
            let data = kms_wrap::associated_data(&context.canonical_json());
            json!(String::from_utf8(data).unwrap())
        }),
        "unwrap_by_file" => unwrap_by_file(given),
        "unwrap_by_token_key" => unwrap_by_token_key(given),
        _ => return None,
    })
}

pub fn data_key(given: &Given, name: &str) -> Result<Box<DataKey>, &'static str> {
    DataKey::try_from_slice(&given.bytes(name)).map_err(|_| "wrong_length")
}

fn file_kek(given: &Given) -> Result<FileKek, &'static str> {
    FileKek::try_from_slice(&given.bytes("kek")).map_err(|_| "wrong_length")
}

/// Its limit is the extension's.
fn context(given: &Given) -> Result<EncryptionContext, &'static str> {
    let pairs: BTreeMap<String, String> =
        serde_json::from_value(given.of("context").clone()).map_err(|_| "bad_context")?;
    let context = EncryptionContext::from(pairs);
    let is_short = context.canonical_json().len() <= LONGEST_CONTEXT;
    is_short.then_some(context).ok_or("bad_context")
}

/// What was sealed as a value.
pub fn opened(given: &Given) -> Result<Vec<u8>, &'static str> {
    let bytes = given.bytes("sealed");
    let sealed = Sealed::parse(&bytes).map_err(|_| "not_sealed")?;
    let key = SealKey::from_data_key(&*data_key(given, "data_key")?);
    open(&key, &sealed, given.text("context"))
}

pub fn open(key: &SealKey, sealed: &Sealed, context: &str) -> Result<Vec<u8>, &'static str> {
    if sealed.key_id() != key.key_id() {
        return Err("other_key");
    }
    let mut plaintext = vec![0; sealed.ciphertext.len()];
    key.open(&mut Opening::none(), sealed, context.as_bytes(), &mut plaintext)
        .map_err(|_| "does_not_open")?;
    Ok(plaintext)
}

fn unwrap_by_file(given: &Given) -> Answer {
    let context = context(given)?;
    let dek = file_kek(given)?.unwrap(&given.bytes("wrapped"), &context);
    match dek {
        Ok(dek) => Ok(json!(hex::encode(dek.as_bytes()))),
        Err(UnwrapError::NotAFileWrap) => Err("not_a_wrap"),
        Err(UnwrapError::OtherKek { needs: KeyId(_), .. }) => Err("other_kek"),
        Err(UnwrapError::DoesNotOpen) => Err("does_not_open"),
    }
}

/// Opening is the token's. Here it is done for the lengths of an IV that are used.
fn unwrap_by_token_key(given: &Given) -> Answer {
    let context = context(given)?;
    let kek = given.bytes("kek");
    let key: [u8; 32] = kek.as_slice().try_into().map_err(|_| "wrong_length")?;
    let bytes = given.bytes("wrapped");
    let wrap = KmsWrap::parse(&bytes).map_err(|_| "not_a_wrap")?;
    let aad = kms_wrap::associated_data(&context.canonical_json());
    let opened = match wrap.iv.len() {
        12 => decrypt::<U12>(&key, &wrap, &aad),
        13 => decrypt::<U13>(&key, &wrap, &aad),
        16 => decrypt::<U16>(&key, &wrap, &aad),
        32 => decrypt::<U32>(&key, &wrap, &aad),
        64 => decrypt::<U64>(&key, &wrap, &aad),
        128 => decrypt::<U128>(&key, &wrap, &aad),
        129.. => return Err("long_iv"),
        _ => return Err(NOT_HERE),
    };
    opened.map(|dek| json!(hex::encode(dek))).ok_or("does_not_open")
}

fn decrypt<N: ArraySize>(kek: &[u8], wrap: &KmsWrap<'_>, aad: &[u8]) -> Option<Vec<u8>> {
    let cipher = AesGcm::<Aes256, N>::new_from_slice(kek).unwrap();
    let mut key = wrap.ciphertext().to_vec();
    let (iv, tag) = (wrap.iv.try_into().unwrap(), wrap.tag().try_into().unwrap());
    cipher.decrypt_inout_detached(iv, aad, key.as_mut_slice().into(), tag).ok().map(|()| key)
}
