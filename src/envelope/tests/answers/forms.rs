//! Typed values by their forms. What PostgreSQL adds to the crate's grammars (ranges of types, valid text) is added here.

use envelope::forms::padding::{Padding, fill, without_mark, without_spaces};
use envelope::forms::time::{DAY, Moment};
use envelope::forms::{Ends, array, bytes, date, interval, network, number, time, uuid};
use serde_json::{Value as Json, json};

use super::{Answer, Given, values};

/// 4714-11-24 BC to 5874897-12-31, and the end of 294276.
const FIRST_DATE: i64 = -2_440_588;
const LAST_DATE: i64 = 2_145_042_905;
const END_OF_TIMESTAMPS: i64 = 106_762_940;
/// Seconds from UTC, which a zone never has.
const ZONES: i32 = 16 * 3600;

/// Types by their short names, with the blocks that the extension fills their forms to.
const TYPES: [(&str, usize); 23] = [
    ("bool", 5),
    ("int2", 6),
    ("int4", 11),
    ("int8", 20),
    ("numeric", 32),
    ("float4", 16),
    ("float8", 24),
    ("date", 13),
    ("time", 15),
    ("timetz", 24),
    ("timestamp", 29),
    ("timestamptz", 30),
    ("interval", 60),
    ("uuid", 36),
    ("inet", 44),
    ("cidr", 44),
    ("enum", 64),
    ("text", 1),
    ("varchar", 1),
    ("bpchar", 1),
    ("json", 1),
    ("jsonb", 1),
    ("bytea", 1),
];

pub fn answer(name: &str, given: &Given) -> Option<Answer> {
    match name {
        "decode" => decode(given.text("type"), &given.bytes("plaintext")),
        "open_as" => match values::opened(given) {
            Ok(plaintext) => decode(given.text("type"), &plaintext),
            Err(name) => Some(Err(name)),
        },
        "decode_text" => {
            Some(text(unfilled("text", &given.bytes("plaintext"))).map(|text| json!(text)))
        }
        "filled" => filled(given),
        _ => None,
    }
}

fn padding(name: &str) -> Padding {
    match name {
        "text" | "varchar" | "bpchar" | "json" | "jsonb" => Padding::Marked,
        "bytea" => Padding::None,
        _ => Padding::Spaces,
    }
}

/// A form without what fills it.
pub fn unfilled<'a>(kind: &str, plaintext: &'a [u8]) -> &'a [u8] {
    match padding(kind) {
        Padding::Spaces => without_spaces(plaintext),
        Padding::Marked => without_mark(plaintext).unwrap_or(plaintext),
        Padding::None => plaintext,
    }
}

fn filled(given: &Given) -> Option<Answer> {
    let kind = given.text("type");
    let (name, block) = TYPES.into_iter().find(|(name, _)| *name == kind)?;
    let block = given.of("block").as_u64().map_or(block, |block| block.try_into().unwrap());
    let mut form = given.bytes("form");
    fill(padding(name), form.len(), block, &mut form);
    Some(Ok(json!(hex::encode(form))))
}

/// `None` of names that are not the short ones, and of floats: which of several texts is the form PostgreSQL says.
fn decode(kind: &str, plaintext: &[u8]) -> Option<Answer> {
    let scalar_name = kind.strip_suffix("[]").unwrap_or(kind);
    TYPES.iter().find(|(name, _)| *name == scalar_name)?;
    let form = unfilled(kind, plaintext);
    if scalar_name == kind {
        return match kind {
            "bytea" => Some(Ok(json!(format!("\\x{}", hex::encode(form))))),
            _ => scalar(kind, form),
        };
    }
    let Some(shape) = array::shape(form) else { return Some(Err("no_form")) };
    let mut elements = Vec::new();
    for element in array::elements(form) {
        let Some(element) = element else {
            elements.push(Json::Null);
            continue;
        };
        let mut text = Vec::new();
        element.unescape(&mut text);
        match if scalar_name == "bytea" { of_bytes(&text) } else { scalar(scalar_name, &text)? } {
            Ok(element) => elements.push(element),
            Err(name) => return Some(Err(name)),
        }
    }
    Some(Ok(nested(shape.dimensions(), &mut elements.into_iter())))
}

fn nested(dimensions: &[usize], elements: &mut impl Iterator<Item = Json>) -> Json {
    match dimensions {
        [] => json!([]),
        [size] => elements.take(*size).collect(),
        [size, inner @ ..] => (0..*size).map(|_| nested(inner, elements)).collect(),
    }
}

fn of_bytes(form: &[u8]) -> Answer {
    let mut value = vec![0; bytes::len_of(form).ok_or("no_form")?];
    let is_form = bytes::read_into(form, &mut value);
    is_form.then(|| json!(String::from_utf8_lossy(form))).ok_or("no_form")
}

fn text(form: &[u8]) -> Result<&str, &'static str> {
    let text = std::str::from_utf8(form).map_err(|_| "not_text")?;
    if text.contains('\0') { Err("not_text") } else { Ok(text) }
}

fn scalar(kind: &str, form: &[u8]) -> Option<Answer> {
    if padding(kind) == Padding::Marked {
        return Some(text(form).map(|text| json!(text)));
    }
    let Ok(text) = std::str::from_utf8(form) else { return Some(Err("no_form")) };
    let is_form = match kind {
        "float4" if number::read_float4(form).is_some() => return None,
        "float8" if number::read_float8(form).is_some() => return None,
        _ => is_form(kind, form),
    };
    Some(is_form.then(|| json!(text)).ok_or("no_form"))
}

/// Whether it is the form of a value of that type, none of a float.
pub fn is_form(kind: &str, form: &[u8]) -> bool {
    match kind {
        "bool" => number::read_bool(form).is_some(),
        "int2" => fits::<i16>(form),
        "int4" => fits::<i32>(form),
        "int8" => number::read_integer(form).is_some(),
        "numeric" => number::is_numeric(form) && has_room(form),
        "date" => match date::read(form) {
            Some(Ends::At(days)) => (FIRST_DATE..=LAST_DATE).contains(&days),
            other => other.is_some(),
        },
        "time" => time::read(form).is_some_and(|us| us <= DAY),
        "timetz" => time::read_zoned(form).is_some_and(|(_, east)| east.abs() < ZONES),
        "timestamp" | "timestamptz" => match time::read_moment(form, kind == "timestamptz") {
            Some(Ends::At(Moment { days, .. })) => (FIRST_DATE..END_OF_TIMESTAMPS).contains(&days),
            other => other.is_some(),
        },
        "interval" => interval::read(form).is_some(),
        "uuid" => uuid::read(form).is_some(),
        "inet" => network::read(form).is_some(),
        "cidr" => network::read(form).is_some_and(|(address, bits)| address.is_network(bits)),
        "enum" => !form.contains(&0),
        _ => false,
    }
}

/// PostgreSQL's limits on both sides of the point.
fn has_room(form: &[u8]) -> bool {
    let point = form.iter().position(|byte| *byte == b'.').unwrap_or(form.len());
    let whole = form[..point].iter().filter(|byte| byte.is_ascii_digit()).count();
    whole <= 131_072 && form.len().saturating_sub(point + 1) <= 16_383
}

fn fits<T: TryFrom<i64>>(form: &[u8]) -> bool {
    number::read_integer(form).is_some_and(|number| T::try_from(number).is_ok())
}
