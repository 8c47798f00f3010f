//! All of `tests/vectors/kms-wraps-1.json`, which an independent implementation wrote, and random wraps.

use std::collections::BTreeMap;

use aes_gcm::aead::array::ArraySize;
use aes_gcm::aead::consts::{U12, U13, U16, U32, U64, U128};
use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{AesGcm, aes::Aes256};
use envelope::wrap::kms_wrap::{self, KmsWrap, NotAKmsWrap};
use proptest::collection::vec;
use proptest::prelude::*;
use serde::Deserialize;

const VECTORS: &str = include_str!("../../../tests/vectors/kms-wraps-1.json");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vectors {
    format: String,
    wraps: Vec<Vector>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    note: String,
    kek: String,
    dek: String,
    iv: String,
    encryption_context: BTreeMap<String, String>,
    associated_data: String,
    wrapped: String,
    parses: bool,
    unwraps: bool,
}

fn bytes(hex: &str) -> Vec<u8> {
    hex::decode(hex).unwrap()
}

/// What a token does that holds the KEK.
fn open(kek: &[u8], wrap: &KmsWrap<'_>, aad: &[u8]) -> Option<Vec<u8>> {
    fn with<N: ArraySize>(kek: &[u8], wrap: &KmsWrap<'_>, aad: &[u8]) -> Option<Vec<u8>> {
        let cipher = AesGcm::<Aes256, N>::new_from_slice(kek).unwrap();
        let mut key = wrap.ciphertext().to_vec();
        let (iv, tag) = (wrap.iv.try_into().unwrap(), wrap.tag().try_into().unwrap());
        cipher.decrypt_inout_detached(iv, aad, key.as_mut_slice().into(), tag).ok().map(|()| key)
    }
    match wrap.iv.len() {
        12 => with::<U12>(kek, wrap, aad),
        13 => with::<U13>(kek, wrap, aad),
        16 => with::<U16>(kek, wrap, aad),
        32 => with::<U32>(kek, wrap, aad),
        64 => with::<U64>(kek, wrap, aad),
        128 => with::<U128>(kek, wrap, aad),
        other => panic!("no vector has an IV of {other} bytes"),
    }
}

#[test]
fn vectors() {
    let vectors: Vectors = serde_json::from_str(VECTORS).unwrap();
    assert_eq!(vectors.format, "envelope/1 kms wraps");
    assert_eq!(vectors.wraps.iter().filter(|vector| vector.unwraps).count(), 11);
    for vector in &vectors.wraps {
        let note = &vector.note;
        let wrapped = bytes(&vector.wrapped);
        let parsed = KmsWrap::parse(&wrapped);
        assert_eq!(parsed.is_ok(), vector.parses, "{note}");
        let Ok(wrap) = parsed else { continue };
        assert_eq!(wrap.to_bytes(), wrapped, "{note}");
        // Of the vectors only those of the whole table have contexts that serde_json writes otherwise; none here has.
        let context = &vector.associated_data["envelope/1 kms wrap,".len()..];
        assert_eq!(
            serde_json::from_str::<BTreeMap<_, _>>(context).unwrap(),
            vector.encryption_context
        );
        let aad = kms_wrap::associated_data(context);
        assert_eq!(aad, vector.associated_data.as_bytes(), "{note}");
        let opened = open(&bytes(&vector.kek), &wrap, &aad);
        assert_eq!(opened, vector.unwraps.then(|| bytes(&vector.dek)), "{note}");
        if vector.unwraps {
            assert_eq!(wrap.iv, bytes(&vector.iv), "{note}");
            assert_eq!(KmsWrap::new(wrap.iv, wrap.sealed), Ok(wrap), "{note}");
            assert_eq!([wrap.ciphertext(), wrap.tag()].concat(), wrap.sealed, "{note}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn parts_come_back_as_they_were(iv in vec(any::<u8>(), 12..=255), sealed in vec(any::<u8>(), 48)) {
        let stored = KmsWrap::new(&iv, &sealed).unwrap().to_bytes();
        prop_assert_eq!(stored.len(), 3 + iv.len() + 48);
        let wrap = KmsWrap::parse(&stored).unwrap();
        prop_assert_eq!(wrap.iv, &iv);
        prop_assert_eq!(&wrap.sealed[..], &sealed);
        for at in 0..stored.len() {
            prop_assert_eq!(KmsWrap::parse(&stored[..at]), Err(NotAKmsWrap));
        }
    }

    #[test]
    fn other_lengths_make_no_wrap(iv in 0_usize..300, sealed in 0_usize..100) {
        let good = (12..=255).contains(&iv) && sealed == 48;
        prop_assert_eq!(KmsWrap::new(&vec![1; iv], &vec![2; sealed]).is_ok(), good);
    }

    #[test]
    fn whatever_parses_is_whole(bytes in vec(any::<u8>(), 0..400), length: u8) {
        let marked = [&[0xF7, 0x58, length], &bytes[..]].concat();
        for bytes in [bytes, marked] {
            if let Ok(wrap) = KmsWrap::parse(&bytes) {
                prop_assert_eq!(wrap.to_bytes(), bytes);
            }
        }
    }
}
