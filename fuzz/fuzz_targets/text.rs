//! Any bytes: every value comes back from its text, and no text that stands for bytes stands for others.
//!
//! `cargo +nightly fuzz run text -- -max_total_time=60`

#![no_main]

use envelope::header::{is_sealed, peek_key_id};
use envelope::text::{Form, Meaning, encode_into, form, key_id_in_text, meaning};
use libfuzzer_sys::fuzz_target;

fn written(value: &[u8]) -> Vec<u8> {
    let Form::Hex(prefix) = form(value) else { return value.to_vec() };
    let mut text = prefix.to_vec();
    text.resize(prefix.len() + 2 * value.len(), 0);
    encode_into(value, &mut text[prefix.len()..]);
    text
}

fn read(text: &[u8]) -> Option<Vec<u8>> {
    match meaning(text) {
        Meaning::Text => Some(text.to_vec()),
        Meaning::Bytes(digits) => {
            let mut bytes = vec![0; digits.len()];
            digits.decode_into(&mut bytes);
            Some(bytes)
        }
        Meaning::Malformed => None,
    }
}

fuzz_target!(|bytes: &[u8]| {
    let text = written(bytes);
    assert_eq!(read(&text).as_deref(), Some(bytes));
    if is_sealed(bytes) {
        assert_eq!(key_id_in_text(&text), peek_key_id(bytes));
    }
    // As text: what it is read as is written so again, but for bytes that another text would stand for, too.
    if let Some(value) = read(bytes)
        && is_sealed(&value)
        && !bytes.starts_with(b"\\xf7e1:")
    {
        assert!(is_sealed(bytes) || written(&value) == bytes);
    }
    let _ = key_id_in_text(bytes);
});
