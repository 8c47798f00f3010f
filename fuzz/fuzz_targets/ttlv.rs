//! Any bytes: a KMIP answer never panics its reader, and gives no more items than there are headers.
//!
//! `cargo +nightly fuzz run ttlv -- -max_total_time=60`

#![no_main]

// The reader alone: the crate that it belongs to needs a server.
#[path = "../../src/kms/kmip/ttlv.rs"]
#[allow(dead_code)]
mod ttlv;

use libfuzzer_sys::fuzz_target;
use ttlv::{HEADER_LEN, Structure, Tag, Writer, message_len};

const MESSAGE: Tag = Tag(0x42_007B);

fuzz_target!(|bytes: &[u8]| {
    let mut left = vec![Structure::new(bytes)];
    let mut count = 0;
    while let Some(structure) = left.pop() {
        for item in structure.items() {
            let Ok(item) = item else { break };
            count += 1;
            let _ = structure.find(item.tag);
            // What is read is written again as it was, but for what fills up.
            let mut writer = Writer::with_capacity(0);
            if let Ok(text) = item.text() {
                writer.text(item.tag, text);
                let written = writer.into_bytes();
                let again = Structure::new(&written).first(item.tag).and_then(|item| item.text());
                assert_eq!(again, Ok(text));
            } else if let Ok(inner) = item.bytes() {
                writer.bytes(item.tag, inner);
                let written = writer.into_bytes();
                let again = Structure::new(&written).first(item.tag).and_then(|item| item.bytes());
                assert_eq!(again, Ok(inner));
            }
            let _ = (item.integer(), item.enumeration(), item.boolean());
            left.extend(item.structure());
        }
    }
    assert!(count <= bytes.len() / HEADER_LEN);
    if let Some(header) = bytes.first_chunk() {
        let len = message_len(header, MESSAGE, 65_536);
        assert!(len.is_none_or(|len| (HEADER_LEN..=65_536).contains(&len)));
    }
});
