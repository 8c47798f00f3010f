//! Any bytes: unwrapping under a key file never panics, and gives no key for what that file did not wrap.
//!
//! `cargo +nightly fuzz run unwrap -- -max_total_time=60`

#![no_main]

use std::sync::LazyLock;

use envelope::wrap::FILE_WRAP_LEN;
use envelope::{DataKey, EncryptionContext, FileKek, KeyId, UnwrapError};
use libfuzzer_sys::fuzz_target;

/// A KEK that the fuzzer does not know, a context, and the one wrap there is of it.
struct Ground {
    kek: FileKek,
    context: EncryptionContext,
    wrapped: [u8; FILE_WRAP_LEN],
}

static GROUND: LazyLock<Ground> = LazyLock::new(|| {
    let kek = FileKek::from_bytes(&[7; 32]);
    let context = [("table", "public.customers")].into_iter().collect();
    let data_key = DataKey::try_from_slice(&[9; 32]).expect("32 bytes");
    let wrapped = kek.wrap(&[3; 24], &data_key, &context);
    Ground { kek, context, wrapped }
});

/// The error that the bytes must give, told by their offsets.
fn expected(bytes: &[u8], have: KeyId) -> UnwrapError {
    if bytes.len() != FILE_WRAP_LEN || bytes[..2] != [0xF7, 0x57] {
        return UnwrapError::NotAFileWrap;
    }
    let needs = KeyId(bytes[2..18].try_into().expect("16 bytes"));
    if needs == have { UnwrapError::DoesNotOpen } else { UnwrapError::OtherKek { needs, have } }
}

fuzz_target!(|bytes: &[u8]| {
    let Ground { kek, context, wrapped } = &*GROUND;
    let have = kek.kek_id();
    if bytes != wrapped {
        assert_eq!(kek.unwrap(bytes, context).err(), Some(expected(bytes, have)));
    }
    // As if it named our KEK: only the tag stands in the way.
    if let Some(rest) = bytes.get(18..).filter(|_| bytes.len() == FILE_WRAP_LEN) {
        let named = [&wrapped[..18], rest].concat();
        if named != wrapped {
            assert_eq!(kek.unwrap(&named, context).err(), Some(UnwrapError::DoesNotOpen));
        }
    }
    // The right wrap with the input laid over it, wherever that changes it.
    let mut damaged = *wrapped;
    for (byte, change) in damaged.iter_mut().zip(bytes) {
        *byte ^= change;
    }
    if damaged != *wrapped {
        assert!(kek.unwrap(&damaged, context).is_err());
    }
    assert!(kek.unwrap(wrapped, context).is_ok());
});
