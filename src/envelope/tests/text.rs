//! Values of a sealed column as text and back, over random values and random text.

use envelope::header::{OVERHEAD, is_sealed, peek_key_id};
use envelope::text::{Form, Meaning, encode_into, form, key_id_in_text, meaning};
use proptest::prelude::*;

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

/// Bytes that begin as a sealed value does, more often than not; some are cut.
fn nearly_sealed() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..2 * OVERHEAD).prop_map(|mut bytes| {
        for (at, byte) in [(0, 0xF7), (1, 0xE1), (8, 0x80), (10, 0x80)] {
            if let Some(found) = bytes.get_mut(at) {
                *found = byte;
            }
        }
        bytes
    })
}

/// Text that begins as that of a sealed value does.
fn nearly_text() -> impl Strategy<Value = String> {
    ("(\\\\[xX]|0x|)", "([fF]7[eE]1|\\\\367\\\\341|9\\+[EFGH])", "[:0-9a-fA-F\\\\+/]{0,140}")
        .prop_map(|(a, b, c)| format!("{a}{b}{c}"))
}

proptest! {
    #[test]
    fn every_value_comes_back(value: Vec<u8>) {
        prop_assert_eq!(read(&written(&value)), Some(value));
    }

    #[test]
    fn so_do_nearly_sealed_ones(value in nearly_sealed()) {
        let text = written(&value);
        if is_sealed(&value) {
            prop_assert_eq!(key_id_in_text(&text), peek_key_id(&value));
        }
        prop_assert_eq!(read(&text), Some(value));
    }

    #[test]
    fn text_is_verbatim(text: String) {
        prop_assume!(!text.starts_with("\\xf7e1"));
        prop_assert_eq!(meaning(text.as_bytes()), Meaning::Text);
    }

    /// What is read as other bytes than its own is the one text of them.
    #[test]
    fn nothing_else_is_read_as_bytes(text in nearly_text()) {
        if let Some(value) = read(text.as_bytes()) && value != text.as_bytes() && !text.starts_with("\\xf7e1:") {
            prop_assert!(is_sealed(&value));
            prop_assert_eq!(written(&value), text.as_bytes());
        }
        // Does not panic.
        let _ = key_id_in_text(text.as_bytes());
    }
}
