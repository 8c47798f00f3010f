//! Any bytes: the parser never panics, its three views agree, and nothing opens that no key sealed.
//!
//! `cargo +nightly fuzz run parse -- -max_total_time=60`

#![no_main]

use std::sync::LazyLock;

use envelope::header::{OVERHEAD, is_sealed, peek_key_id};
use envelope::{DataKey, Opening, SealKey, Sealed};
use libfuzzer_sys::fuzz_target;

static KEY: LazyLock<SealKey> =
    LazyLock::new(|| SealKey::from_data_key(&DataKey::try_from_slice(&[7; 32]).expect("32 bytes")));

fn opens(sealed: &Sealed<'_>) -> bool {
    let mut plaintext = vec![0; sealed.ciphertext.len()];
    KEY.open(&mut Opening::none(), sealed, b"context", &mut plaintext).is_ok()
}

fuzz_target!(|bytes: &[u8]| {
    let parsed = Sealed::parse(bytes);
    let peeked = peek_key_id(bytes);
    assert_eq!(is_sealed(bytes), parsed.is_ok());
    assert_eq!(parsed.is_ok(), peeked.is_some() && bytes.len() >= OVERHEAD);
    let Ok(sealed) = parsed else { return };
    assert_eq!(Some(sealed.key_id()), peeked);
    let parts = [&sealed.header[..], sealed.nonce, sealed.ciphertext, sealed.tag];
    assert_eq!(parts.concat(), bytes);

    assert!(!opens(&sealed));
    // As if it named our key: only the tag stands in the way.
    let named = [&bytes[..2], &KEY.key_id().0, &bytes[18..]].concat();
    let named = Sealed::parse(&named).expect("the same shape");
    assert!(!opens(&named));
});
