use proptest::prelude::*;

use super::*;

const A: Tag = Tag(0x420020);
const B: Tag = Tag(0x420021);

fn written(items: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer::with_capacity(64);
    items(&mut writer);
    writer.into_bytes().to_vec()
}

fn only(bytes: &[u8]) -> Result<Item<'_>, Malformed> {
    Structure::new(bytes).first(A)
}

/// The examples of the specification (1.4, section 9.1.2).
#[test]
fn the_specifications_examples_are_written_and_read() {
    let hex = |text: &str| -> Vec<u8> {
        let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
        digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect()
    };
    let bytes = hex("42 00 20 | 02 | 00 00 00 04 | 00 00 00 08 00 00 00 00");
    assert_eq!(written(|w| w.integer(A, 8)), bytes);
    assert_eq!(only(&bytes).and_then(Item::integer), Ok(8));
    let bytes = hex("42 00 20 | 05 | 00 00 00 04 | 00 00 00 FF 00 00 00 00");
    assert_eq!(written(|w| w.enumeration(A, 255)), bytes);
    assert_eq!(only(&bytes).and_then(Item::enumeration), Ok(255));
    let bytes = hex("42 00 20 | 06 | 00 00 00 08 | 00 00 00 00 00 00 00 01");
    assert_eq!(written(|w| w.boolean(A, true)), bytes);
    assert_eq!(only(&bytes).and_then(Item::boolean), Ok(true));
    let bytes =
        hex("42 00 20 | 07 | 00 00 00 0B | 48 65 6C 6C 6F 20 57 6F 72 6C 64 00 00 00 00 00");
    assert_eq!(written(|w| w.text(A, "Hello World")), bytes);
    assert_eq!(only(&bytes).and_then(Item::text), Ok("Hello World"));
    let bytes = hex("42 00 20 | 08 | 00 00 00 03 | 01 02 03 00 00 00 00 00");
    assert_eq!(written(|w| w.bytes(A, &[1, 2, 3])), bytes);
    assert_eq!(only(&bytes).and_then(Item::bytes), Ok(&[1, 2, 3][..]));
    let bytes =
        hex("42 00 20 | 01 | 00 00 00 20 | 42 00 04 | 05 | 00 00 00 04 | 00 00 00 FE 00 00 00 00 |
         42 00 05 | 02 | 00 00 00 04 | 00 00 00 FF 00 00 00 00");
    let inner = |w: &mut Writer| {
        w.enumeration(Tag(0x420004), 254);
        w.integer(Tag(0x420005), 255);
    };
    assert_eq!(written(|w| w.structure(A, inner)), bytes);
    let inner = only(&bytes).and_then(Item::structure);
    let number = inner.and_then(|inner| inner.first(Tag(0x420005))?.integer());
    assert_eq!(number, Ok(255));
    // Types that are not read are stepped over: long and big integer, date and time, interval.
    for other in [
        "42 00 21 | 03 | 00 00 00 08 | 01 B6 9B 4B A5 74 92 00",
        "42 00 21 | 04 | 00 00 00 10 | 00 00 00 00 03 FD 35 EB 6B C2 DF 46 18 08 00 00",
        "42 00 21 | 09 | 00 00 00 08 | 00 00 00 00 47 DA 67 F8",
        "42 00 21 | 0A | 00 00 00 04 | 00 0D 2F 00 00 00 00 00",
        "42 00 21 | 0B | 00 00 00 08 | 00 00 00 00 47 DA 67 F8",
    ] {
        let bytes = [hex(other), written(|w| w.integer(A, 8))].concat();
        assert_eq!(only(&bytes).and_then(Item::integer), Ok(8), "{other}");
    }
}

#[test]
fn each_malformation_is_told() {
    let integer = written(|w| w.integer(A, 8));
    let with = |at: usize, byte: u8| {
        let mut changed = integer.clone();
        changed[at] = byte;
        only(&changed).and_then(Item::integer)
    };
    assert_eq!(with(2, 0x21), Err(Malformed::Missing));
    assert_eq!(with(3, 5), Err(Malformed::Type));
    for kind in [0, 0x0C, 0xFF] {
        assert_eq!(with(3, kind), Err(Malformed::Length), "type {kind}");
    }
    for kind in [1, 3, 4, 6, 9, 0x0B] {
        assert_eq!(with(3, kind), Err(Malformed::Length), "type {kind} of 4 bytes");
    }
    assert_eq!(with(7, 5), Err(Malformed::Length));
    for kind in [7, 8] {
        for (at, len) in [(4, 0xFF), (4, 0x7F), (6, 1), (7, 9)] {
            let mut lies = written(|w| w.bytes(A, &[0; 4]));
            lies[3] = kind;
            lies[at] = len;
            assert_eq!(only(&lies).err(), Some(Malformed::CutOff), "length {len:x} at {at}");
        }
    }
    let text = written(|w| w.bytes(A, &[0xFF]));
    let mut text = text.clone();
    text[3] = 7;
    assert_eq!(only(&text).and_then(Item::text), Err(Malformed::Value));
    let mut neither = written(|w| w.boolean(A, true));
    neither[15] = 2;
    assert_eq!(only(&neither).and_then(Item::boolean), Err(Malformed::Value));
    // After what is looked for, too.
    let tail = [&integer[..], &[0x42]].concat();
    assert_eq!(only(&tail).err(), Some(Malformed::CutOff));
}

#[test]
fn the_first_of_several_is_taken() {
    let bytes = written(|w| {
        w.integer(B, 1);
        w.integer(A, 2);
        w.integer(A, 3);
    });
    assert_eq!(only(&bytes).and_then(Item::integer), Ok(2));
}

#[test]
fn depth_costs_no_stack() {
    let mut deep = Vec::new();
    for level in (0..200_000u32).rev() {
        deep.extend_from_slice(&[0x42, 0, 0x20, STRUCTURE]);
        deep.extend_from_slice(&(level * 8).to_be_bytes());
    }
    let mut inside = Structure::new(&deep);
    let mut depth = 0;
    while let Ok(Some(item)) = inside.find(A) {
        let Ok(next) = item.structure() else { break };
        inside = next;
        depth += 1;
        if depth == 1_000 {
            break;
        }
    }
    assert_eq!(depth, 1_000);
}

#[test]
fn a_messages_length_is_believed_within_bounds_only() {
    let len = |bytes: [u8; 8]| message_len(&bytes, A, 100);
    assert_eq!(len([0x42, 0, 0x20, 1, 0, 0, 0, 88]), Some(96));
    assert_eq!(len([0x42, 0, 0x20, 1, 0, 0, 0, 0]), Some(8));
    assert_eq!(len([0x42, 0, 0x20, 1, 0, 0, 0, 96]), None);
    assert_eq!(len([0x42, 0, 0x20, 1, 0, 0, 0, 87]), None);
    assert_eq!(len([0x42, 0, 0x20, 1, 0xFF, 0xFF, 0xFF, 0xF8]), None);
    assert_eq!(len([0x42, 0, 0x20, 8, 0, 0, 0, 88]), None);
    assert_eq!(len([0x42, 0, 0x21, 1, 0, 0, 0, 88]), None);
    assert_eq!(len(*b"HTTP/1.1"), None);
}

/// Reads all there is, as deep as it goes; how many items.
fn walk(bytes: &[u8]) -> usize {
    let mut left = vec![Structure::new(bytes)];
    let mut count = 0;
    while let Some(structure) = left.pop() {
        for item in structure.items() {
            let Ok(item) = item else { break };
            count += 1;
            let _ = (item.integer(), item.enumeration(), item.boolean(), item.text(), item.bytes());
            left.extend(item.structure());
        }
    }
    count
}

#[derive(Debug, Clone)]
enum Value {
    Integer(i32),
    Enumeration(u32),
    Boolean(bool),
    Text(String),
    Bytes(Vec<u8>),
    Structure(Vec<(u32, Value)>),
}

fn value() -> impl Strategy<Value = Value> {
    let flat = prop_oneof![
        any::<i32>().prop_map(Value::Integer),
        any::<u32>().prop_map(Value::Enumeration),
        any::<bool>().prop_map(Value::Boolean),
        ".{0,20}".prop_map(Value::Text),
        proptest::collection::vec(any::<u8>(), 0..40).prop_map(Value::Bytes),
    ];
    flat.prop_recursive(4, 32, 5, |inner| {
        proptest::collection::vec((0u32..1 << 24, inner), 0..5).prop_map(Value::Structure)
    })
}

fn write(writer: &mut Writer, tag: u32, value: &Value) {
    let tag = Tag(tag);
    match value {
        Value::Integer(value) => writer.integer(tag, *value),
        Value::Enumeration(value) => writer.enumeration(tag, *value),
        Value::Boolean(value) => writer.boolean(tag, *value),
        Value::Text(value) => writer.text(tag, value),
        Value::Bytes(value) => writer.bytes(tag, value),
        Value::Structure(items) => writer.structure(tag, |writer| {
            items.iter().for_each(|(tag, value)| write(writer, *tag, value));
        }),
    }
}

fn same(item: Item<'_>, tag: u32, value: &Value) -> bool {
    item.tag == Tag(tag)
        && match value {
            Value::Integer(value) => item.integer() == Ok(*value),
            Value::Enumeration(value) => item.enumeration() == Ok(*value),
            Value::Boolean(value) => item.boolean() == Ok(*value),
            Value::Text(value) => item.text() == Ok(value),
            Value::Bytes(value) => item.bytes() == Ok(value),
            Value::Structure(items) => item.structure().is_ok_and(|inner| {
                inner.items().count() == items.len()
                    && inner
                        .items()
                        .zip(items)
                        .all(|(item, (tag, value))| item.is_ok_and(|item| same(item, *tag, value)))
            }),
        }
}

proptest! {
    #[test]
    fn what_was_written_is_read(tag in 0u32..1 << 24, value in value()) {
        let bytes = written(|writer| write(writer, tag, &value));
        prop_assert_eq!(bytes.len() % 8, 0);
        let mut items = Structure::new(&bytes).items();
        prop_assert!(items.next().is_some_and(|item| item.is_ok_and(|item| same(item, tag, &value))));
        prop_assert_eq!(items.next(), None);
    }

    #[test]
    fn whatever_is_cut_off_is_told(value in value(), at in any::<prop::sample::Index>()) {
        let bytes = written(|writer| write(writer, A.0, &value));
        let cut = &bytes[..at.index(bytes.len())];
        let told = Structure::new(cut).first(A).err();
        prop_assert_eq!(told, Some(if cut.is_empty() { Malformed::Missing } else { Malformed::CutOff }));
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(walk(&bytes) <= bytes.len() / HEADER_LEN);
    }

    #[test]
    fn no_damage_panics(value in value(), damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let mut bytes = written(|writer| write(writer, A.0, &value));
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        // A structure's items are of its own bytes: nothing is counted twice but what nests.
        prop_assert!(walk(&bytes) <= bytes.len() / HEADER_LEN);
    }
}
