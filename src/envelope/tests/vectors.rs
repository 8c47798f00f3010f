//! All of `tests/vectors/envelope-1.json`, which an independent implementation wrote.

use std::collections::BTreeMap;

use envelope::search::Hasher;
use envelope::xaes::XaesKey;
use envelope::{
    DataKey, EncryptionContext, FileKek, Opening, SealKey, Sealed, Session, UnwrapError,
};
use serde::Deserialize;

const VECTORS: &str = include_str!("../../../tests/vectors/envelope-1.json");

/// A kind that is not known here, or a field, is an error: no vector is passed over.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vectors {
    format: String,
    values: Vec<Value>,
    file_wraps: Vec<FileWrap>,
    row_contexts: Vec<RowContext>,
    index_terms: Vec<IndexTerm>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Value {
    note: String,
    dek: String,
    seal_key: String,
    key_id: String,
    nonce: String,
    context: String,
    plaintext: String,
    sealed: String,
    opens: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileWrap {
    #[serde(default)]
    note: String,
    kek: String,
    kek_id: String,
    dek: String,
    nonce: String,
    encryption_context: BTreeMap<String, String>,
    canonical: String,
    wrapped: String,
    unwraps: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RowContext {
    tag: String,
    values: Vec<String>,
    context: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IndexTerm {
    index_dek: String,
    label: String,
    rule: String,
    value: String,
    n: u8,
    term: String,
}

fn vectors() -> Vectors {
    let vectors: Vectors = serde_json::from_str(VECTORS).unwrap();
    assert_eq!(vectors.format, "envelope/1");
    vectors
}

fn bytes(hex: &str) -> Vec<u8> {
    hex::decode(hex).unwrap()
}

fn array<const N: usize>(hex: &str) -> [u8; N] {
    bytes(hex).try_into().unwrap()
}

fn data_key(hex: &str) -> Box<DataKey> {
    DataKey::try_from_slice(&bytes(hex)).unwrap()
}

fn open(key: &SealKey, sealed: &[u8], context: &str) -> Option<Vec<u8>> {
    let sealed = Sealed::parse(sealed).ok()?;
    let mut plaintext = vec![0; sealed.ciphertext.len()];
    key.open(&mut Opening::none(), &sealed, context.as_bytes(), &mut plaintext).ok()?;
    Some(plaintext)
}

/// By RustCrypto's AES-GCM, where [`open`] has AWS-LC's.
fn open_by_the_other(seal_key: &[u8; 32], sealed: &[u8], context: &str) -> Option<Vec<u8>> {
    let sealed = Sealed::parse(sealed).ok()?;
    let aad = [sealed.header, context.as_bytes()].concat();
    let mut buf = sealed.ciphertext.to_vec();
    XaesKey::new(seal_key).open_in_place(sealed.nonce, &aad, &mut buf, sealed.tag).ok()?;
    Some(buf)
}

#[test]
fn values() {
    let (opening, failing): (Vec<Value>, Vec<Value>) =
        vectors().values.into_iter().partition(|vector| vector.opens);
    assert!(!opening.is_empty() && !failing.is_empty());

    for vector in opening {
        let note = &vector.note;
        let dek = data_key(&vector.dek);
        let mut seal_key = [0; 32];
        envelope::derive::seal_key(&dek, &mut seal_key);
        assert_eq!(hex::encode(seal_key), vector.seal_key, "{note}");

        let key = SealKey::from_data_key(&dek);
        assert_eq!(key.key_id().to_string(), vector.key_id, "{note}");
        assert_eq!(envelope::derive::key_id(&dek), key.key_id(), "{note}");

        let plaintext = bytes(&vector.plaintext);
        let mut session = Session::none();
        session.begin(&key, &array(&vector.nonce), 1);
        let mut frame = vec![0; plaintext.len() + 58];
        key.seal(&mut session, vector.context.as_bytes(), &plaintext, &mut frame).unwrap();
        assert_eq!(hex::encode(&frame), vector.sealed, "{note}");
        let opened = open_by_the_other(&seal_key, &frame, &vector.context);
        assert_eq!(opened.as_ref(), Some(&plaintext), "{note}");
        assert_eq!(open(&key, &frame, &vector.context), Some(plaintext), "{note}");
    }
    for vector in failing {
        let key = SealKey::from_data_key(&data_key(&vector.dek));
        let sealed = bytes(&vector.sealed);
        assert_eq!(open(&key, &sealed, &vector.context), None, "{}", vector.note);
    }
}

#[test]
fn file_wraps() {
    let (unwrapping, failing): (Vec<FileWrap>, Vec<FileWrap>) =
        vectors().file_wraps.into_iter().partition(|vector| vector.unwraps);
    assert!(!unwrapping.is_empty() && !failing.is_empty());

    for vector in unwrapping {
        let kek = FileKek::try_from_slice(&bytes(&vector.kek)).unwrap();
        assert_eq!(kek.kek_id().to_string(), vector.kek_id);
        let context = EncryptionContext::from(vector.encryption_context);
        assert_eq!(hex::encode(context.canonical()), vector.canonical);
        let wrapped = kek.wrap(&array(&vector.nonce), &data_key(&vector.dek), &context);
        assert_eq!(hex::encode(wrapped), vector.wrapped);
        let dek = kek.unwrap(&wrapped, &context).ok().unwrap();
        assert_eq!(hex::encode(dek.as_bytes()), vector.dek);
    }
    for vector in failing {
        let kek = FileKek::try_from_slice(&bytes(&vector.kek)).unwrap();
        let context = EncryptionContext::from(vector.encryption_context);
        let error = kek.unwrap(&bytes(&vector.wrapped), &context).err().unwrap();
        let note = vector.note.as_str();
        match note {
            "another KEK" => assert!(
                matches!(error, UnwrapError::OtherKek { needs, have }
                    if needs.to_string() == vector.kek_id && have == kek.kek_id()),
                "{error}"
            ),
            "a sealed value is not a wrap" | "one byte short" => {
                assert_eq!(error, UnwrapError::NotAFileWrap, "{note}");
            }
            _ => assert_eq!(error, UnwrapError::DoesNotOpen, "{note}"),
        }
    }
}

#[test]
fn row_contexts() {
    let vectors = vectors().row_contexts;
    assert!(!vectors.is_empty());
    for vector in vectors {
        let context = envelope::context::row_context(&vector.tag, &vector.values);
        assert_eq!(context, vector.context);
    }
}

#[test]
fn index_terms() {
    let vectors = vectors().index_terms;
    assert!(!vectors.is_empty());
    for vector in vectors {
        let dek = data_key(&vector.index_dek);
        let mut key = [0; 32];
        envelope::derive::index_key(&dek, &mut key);
        let id = envelope::derive::key_id(&dek);
        let hasher = Hasher::new(&key, id, &vector.label, &vector.rule, vector.n).unwrap();
        let mut term = Vec::new();
        hasher.term(&bytes(&vector.value), &mut term);
        assert_eq!(hex::encode(term), vector.term);
    }
}
