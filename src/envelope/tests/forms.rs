//! What `tests/vectors/search-1.json`, which an independent implementation wrote, has of canonical forms.

use envelope::forms::padding::{Padding, fill, without_mark, without_spaces};
use envelope::forms::time::{DAY, Moment};
use envelope::forms::{Ends, Sink, array, date, interval, number, time};
use proptest::prelude::*;
use serde::Deserialize;

const VECTORS: &str = include_str!("../../../tests/vectors/search-1.json");

/// The rest of the file is about search.
#[derive(Deserialize)]
struct Vectors {
    format: String,
    float8: Vec<Float>,
    float4: Vec<Float>,
    dates: Vec<Date>,
    timestamptz: Vec<Timestamp>,
    interval: Vec<Interval>,
    numeric_index: Vec<Form>,
    arrays: Vec<Array>,
    padding: Vec<Padded>,
}

#[derive(Deserialize)]
struct Float {
    bits: String,
    form: String,
}

#[derive(Deserialize)]
struct Date {
    days: i64,
    form: String,
    padded: String,
}

#[derive(Deserialize)]
struct Timestamp {
    us: i64,
    form: String,
    padded: String,
}

#[derive(Deserialize)]
struct Interval {
    months: i32,
    days: i32,
    us: i64,
    form: String,
}

#[derive(Deserialize)]
struct Form {
    form: String,
}

#[derive(Deserialize)]
struct Array {
    value: serde_json::Value,
    form: String,
}

#[derive(Deserialize)]
struct Padded {
    #[serde(rename = "type")]
    kind: String,
    form: String,
    block: usize,
    padded: Option<String>,
    padded_hex: Option<String>,
}

fn vectors() -> Vectors {
    let vectors: Vectors = serde_json::from_str(VECTORS).unwrap();
    assert_eq!(vectors.format, "envelope/1 search");
    vectors
}

fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).unwrap()
}

/// As it is sealed, which must give the form again.
fn padded(form: &str, block: usize) -> String {
    let padded = text(|out| {
        out.extend_from_slice(form.as_bytes());
        fill(Padding::Spaces, form.len(), block, out);
    });
    assert_eq!(without_spaces(padded.as_bytes()), form.as_bytes());
    padded
}

/// PostgreSQL writes them; here they are read.
#[test]
fn floats() {
    for Float { bits, form } in vectors().float8 {
        let bits = u64::from_str_radix(&bits, 16).unwrap();
        assert_eq!(number::read_float8(form.as_bytes()).map(f64::to_bits), Some(bits), "{form}");
    }
    for Float { bits, form } in vectors().float4 {
        let bits = u32::from_str_radix(&bits, 16).unwrap();
        assert_eq!(number::read_float4(form.as_bytes()).map(f32::to_bits), Some(bits), "{form}");
    }
}

#[test]
fn numerics() {
    for Form { form } in vectors().numeric_index.iter().filter(|vector| vector.form != "-0.0") {
        assert!(number::is_numeric(form.as_bytes()), "{form}");
    }
}

#[test]
fn dates() {
    for vector in vectors().dates {
        let days = Ends::At(vector.days);
        assert_eq!(text(|out| date::write(days, out)), vector.form);
        assert_eq!(date::read(vector.form.as_bytes()), Some(days), "{}", vector.form);
        assert_eq!(padded(&vector.form, 13), vector.padded);
    }
}

#[test]
fn timestamps() {
    for vector in vectors().timestamptz {
        let moment = Moment { days: vector.us.div_euclid(DAY), us: vector.us.rem_euclid(DAY) };
        let form = &vector.form;
        assert_eq!(&text(|out| time::write_moment(Ends::At(moment), true, out)), form);
        assert_eq!(time::read_moment(form.as_bytes(), true), Some(Ends::At(moment)), "{form}");
        assert_eq!(padded(form, 30), vector.padded);
    }
}

#[test]
fn intervals() {
    for Interval { months, days, us, form } in vectors().interval {
        let value = Ends::At(interval::Interval { months, days, us });
        assert_eq!(text(|out| interval::write(value, out)), form);
        assert_eq!(interval::read(form.as_bytes()), Some(value), "{form}");
    }
}

/// The lengths of nested arrays, and what stands in them.
fn flattened(
    value: &serde_json::Value,
    at: usize,
    sizes: &mut Vec<usize>,
    all: &mut Vec<Option<String>>,
) {
    let serde_json::Value::Array(values) = value else {
        return all.push(value.as_str().map(str::to_owned));
    };
    if values.is_empty() {
        return;
    }
    if sizes.len() == at {
        sizes.push(values.len());
    }
    values.iter().for_each(|value| flattened(value, at + 1, sizes, all));
}

#[test]
fn arrays() {
    for Array { value, form } in vectors().arrays {
        let (mut sizes, mut all) = (Vec::new(), Vec::new());
        flattened(&value, 0, &mut sizes, &mut all);
        let written = text(|out| {
            for (at, element) in all.iter().enumerate() {
                array::write_before(&sizes, at, out);
                match element {
                    None => array::write_null(out),
                    Some(text) => array::write_element(out, |out| {
                        out.push(text.as_bytes());
                        Ok::<_, ()>(())
                    })
                    .unwrap(),
                }
            }
            array::write_after(&sizes, out);
        });
        assert_eq!(written, form);
        assert_eq!(array::shape(form.as_bytes()).unwrap().dimensions(), sizes, "{form}");
        let read: Vec<_> = array::elements(form.as_bytes())
            .map(|element| element.map(|element| text(|out| element.unescape(out))))
            .collect();
        assert_eq!(read, all, "{form}");
    }
}

#[test]
fn padding() {
    for Padded { kind, form, block, padded: spaces, padded_hex: marked } in vectors().padding {
        if let Some(spaces) = spaces {
            assert_eq!(padded(&form, block), spaces, "{kind}");
        }
        if let Some(marked) = marked {
            let mut bytes = form.clone().into_bytes();
            fill(Padding::Marked, form.len(), block, &mut bytes);
            assert_eq!(hex::encode(&bytes), marked, "{kind}");
            assert_eq!(without_mark(&bytes), Some(form.as_bytes()), "{kind}");
        }
    }
}

/// Forms of every kind, for [`proptest`] to damage.
const SEEDS: &[&str] = &[
    "true",
    "-12",
    "12.50",
    "NaN",
    "-1.5e-300",
    "infinity",
    "2026-11-30",
    "0001-12-31 BC",
    "05:08:34.5",
    "24:00:00",
    "05:08:34-02:30:01",
    "2026-11-30T05:08:34.000001",
    "0001-12-31T23:59:59Z BC",
    "P1Y2M3DT-4H-5M-6.5S",
    "PT0S",
    "10.0.0.1/32",
    "2001:db8::1:0:0:1/64",
    "::ffff:1.2.3.4/128",
    "c0ffee00-0102-0304-0506-070809aabbcf",
    "[[\"a\",null],[\"\\n\\u0001\",\"\\\"é\"]]",
    "[\"\\\\x00\"]",
    "\\x00ff",
    "[]",
    "text\u{ff}\0",
];

/// What stands in forms.
const ALPHABET: &[u8] = b"0123456789-+.:/ TZPYMDHSBCeEaifnrtux\\\"[],\0\xff";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    /// Near a form are the texts that a lax reader would take for it.
    #[test]
    fn what_is_read_is_written_the_same(
        seed in proptest::sample::select(SEEDS),
        edits in proptest::collection::vec((0..3u8, 0..64usize, proptest::sample::select(ALPHABET)), 0..4),
    ) {
        let mut form = seed.as_bytes().to_vec();
        for (edit, at, byte) in edits {
            let at = at % (form.len() + 1);
            match edit {
                0 => form.insert(at, byte),
                1 if at < form.len() => form[at] = byte,
                _ if at < form.len() => drop(form.remove(at)),
                _ => {}
            }
        }
        crate::again::check(&form);
    }

    #[test]
    fn nor_does_a_reader_panic_on_anything(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        crate::again::check(&bytes);
    }
}
