//! A value as search takes it: from the canonical form that is sealed.

use zeroize::{ZeroizeOnDrop, Zeroizing};

use super::ordinal::{self, Place};
use super::refused::Refused;
use super::rule::{Kind, NormalForm, Ordered, Rule, Subject};
use crate::forms::time::DAY;
use crate::forms::{Ends, Sink, interval, number};

/// A value, or the range's end in a query.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// Text before it is normalised.
    Text(&'a str),
    /// The index form of another type; bytea as it is.
    Bytes(&'a [u8]),
    /// Its place in the order of the type.
    Ordinal(u64),
    /// A value that has no number.
    Outside(Outside),
}

/// Values before and after all numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outside {
    /// `-infinity`
    Before,
    /// `infinity`
    After,
    /// After that, for PostgreSQL.
    NaN,
}

impl Outside {
    /// As payloads have it, behind `FF`.
    pub fn name(self) -> &'static str {
        match self {
            Outside::Before => "-infinity",
            Outside::After => "infinity",
            Outside::NaN => "NaN",
        }
    }
}

/// Types by the canonical forms of their values. A domain has that of its base type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FormType {
    /// boolean
    Bool,
    /// smallint, integer, bigint
    Int,
    /// real
    Float4,
    /// double precision
    Float8,
    /// numeric
    Numeric,
    /// date
    Date,
    /// time without zone
    Time,
    /// time with zone
    TimeTz,
    /// timestamp without zone
    Timestamp,
    /// timestamp with zone
    TimestampTz,
    /// interval
    Interval,
    /// uuid
    Uuid,
    /// inet, cidr
    Network,
    /// an enum
    Enum,
    /// text, varchar, char(n)
    Text,
    /// bytea, also of a column that has no type
    Bytea,
    /// json, jsonb, arrays: no index takes them
    Unordered,
}

impl FormType {
    /// Whether values of the type can be indexed by the rule. A boolean by none: two terms hide nothing.
    pub fn takes(self, rule: &Rule) -> bool {
        match (self, rule.subject()) {
            (FormType::Bool | FormType::Unordered, _) => false,
            (FormType::Text, Subject::Form(_)) => true,
            (_, Subject::Form(form)) => rule.kind() == Kind::Exact && form == NormalForm::Exact,
            (of, Subject::Ordered(ordered)) => of.ordered() == Some(ordered.without_scale()),
        }
    }

    /// As rules name it; numerics with the scale 0.
    pub fn ordered(self) -> Option<Ordered> {
        Some(match self {
            FormType::Int => Ordered::Int,
            FormType::Float4 | FormType::Float8 => Ordered::Float,
            FormType::Numeric => Ordered::Numeric(0),
            FormType::Date => Ordered::Date,
            FormType::Time => Ordered::Time,
            FormType::Timestamp => Ordered::Timestamp,
            FormType::TimestampTz => Ordered::Timestamptz,
            _ => return None,
        })
    }
}

impl Ordered {
    fn without_scale(self) -> Ordered {
        match self {
            Ordered::Numeric(_) => Ordered::Numeric(0),
            other => other,
        }
    }
}

/// Room for an index form that is no part of the canonical form. Wiped on drop.
pub struct Room {
    /// Once something was put there: most values need no room.
    bytes: Option<Zeroizing<[u8; Room::LEN]>>,
    len: usize,
}

impl Room {
    /// An interval's is the longest: a sign and 23 digits.
    const LEN: usize = 40;

    /// Empty.
    pub const fn new() -> Room {
        Room { bytes: None, len: 0 }
    }

    fn as_slice(&self) -> &[u8] {
        self.bytes.as_ref().map_or(&[], |bytes| &bytes[..self.len])
    }

    fn wipe(&mut self) {
        *self = Room::new();
    }
}

impl ZeroizeOnDrop for Room {}

impl Default for Room {
    fn default() -> Room {
        Room::new()
    }
}

impl Sink for Room {
    fn push(&mut self, bytes: &[u8]) {
        let all = self.bytes.get_or_insert_with(|| Zeroizing::new([0; Room::LEN]));
        if let Some(room) = all.get_mut(self.len..self.len + bytes.len()) {
            room.copy_from_slice(bytes);
            self.len += bytes.len();
        }
    }
}

/// The value whose canonical form, without padding, this is, as `rule` needs it.
///
/// # Errors
/// [`Refused::NoForm`] if the rule does not take the type, or this is no form of it.
pub fn of_form<'a>(
    of: FormType,
    form: &'a [u8],
    rule: &Rule,
    room: &'a mut Room,
) -> Result<Value<'a>, Refused> {
    if !of.takes(rule) {
        return Err(Refused::NoForm);
    }
    match (rule.subject(), of) {
        (Subject::Ordered(ordered), _) => {
            Ok(match ordinal::of_form(ordered, of == FormType::Float4, form)? {
                Place::At(ordinal) => Value::Ordinal(ordinal),
                Place::Outside(outside) => Value::Outside(outside),
            })
        }
        // Its bytes are its normal form.
        (Subject::Form(NormalForm::Exact), FormType::Text)
            if rule.kind() == Kind::Exact && form.is_ascii() =>
        {
            Ok(Value::Bytes(form))
        }
        (Subject::Form(_), FormType::Text) => {
            std::str::from_utf8(form).map(Value::Text).map_err(|_| Refused::NoForm)
        }
        (Subject::Form(_), of) => index_form(of, form, room).map(Value::Bytes),
    }
}

/// The text by which values are equal as PostgreSQL's `=` has it.
fn index_form<'a>(of: FormType, form: &'a [u8], room: &'a mut Room) -> Result<&'a [u8], Refused> {
    room.wipe();
    match of {
        FormType::Numeric => match without_zeros(form) {
            b"-0" => Ok(b"0"),
            _ if !number::is_numeric(form) => Err(Refused::NoForm),
            index_form => Ok(index_form),
        },
        FormType::Float4 | FormType::Float8 => {
            let float = match of {
                FormType::Float4 => number::read_float4(form).map(f64::from),
                _ => number::read_float8(form),
            };
            push_bits(float.ok_or(Refused::NoForm)?, room);
            Ok(room.as_slice())
        }
        FormType::Interval => match interval::read(form).ok_or(Refused::NoForm)? {
            Ends::At(interval) => {
                push_interval(&interval, room);
                Ok(room.as_slice())
            }
            Ends::Before | Ends::After => Ok(form),
        },
        _ => Ok(form),
    }
}

/// A `numeric` without the zeros at the end of its decimals.
fn without_zeros(form: &[u8]) -> &[u8] {
    if !form.contains(&b'.') {
        return form;
    }
    let last = form.iter().rposition(|byte| *byte != b'0').unwrap_or(0);
    let end = if form[last] == b'.' { last } else { last + 1 };
    &form[..end]
}

/// 16 hexadecimal digits. Zero has no sign, and there is one NaN.
fn push_bits(float: f64, out: &mut impl Sink) {
    const NAN: u64 = 0x7ff8_0000_0000_0000;
    let bits = if float.is_nan() { NAN } else { (float + 0.0).to_bits() };
    for shift in (0..16).rev().map(|nibble| nibble * 4) {
        let nibble = (bits >> shift) as u8 & 0xf;
        out.push(&[if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 }]);
    }
}

/// (30 · months + days) days and the microseconds, as one number: what PostgreSQL compares.
fn push_interval(interval: &interval::Interval, out: &mut impl Sink) {
    let days = i128::from(interval.months) * 30 + i128::from(interval.days);
    let us = days * i128::from(DAY) + i128::from(interval.us);
    let mut digits = [0; 39];
    let (mut rest, mut at) = (us.unsigned_abs(), digits.len());
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if us < 0 {
        out.push(b"-");
    }
    out.push(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> Rule {
        let Some(rule) = Rule::parse(text) else { unreachable!("{text}") };
        rule
    }

    #[test]
    fn a_room_serves_one_value_after_another() {
        let mut room = Room::new();
        let mut found = |of, form: &[u8]| match of_form(of, form, &rule("exact/1"), &mut room) {
            Ok(Value::Bytes(bytes)) => Some(String::from_utf8_lossy(bytes).into_owned()),
            _ => None,
        };
        assert_eq!(found(FormType::Interval, b"P1DT1S").as_deref(), Some("86401000000"));
        assert_eq!(found(FormType::Interval, b"PT-1S").as_deref(), Some("-1000000"));
        assert_eq!(found(FormType::Float8, b"1").as_deref(), Some("3ff0000000000000"));
        assert_eq!(found(FormType::Float4, b"-0").as_deref(), Some("0000000000000000"));
        assert_eq!(found(FormType::Numeric, b"1.50").as_deref(), Some("1.5"));
        assert_eq!(found(FormType::Numeric, b"1e5"), None);
    }

    /// Only what is ASCII is known to be text without a look at it.
    #[test]
    fn text_is_taken_as_it_is_when_only_its_bytes_count() {
        #[derive(Debug, PartialEq)]
        enum Taken {
            Bytes,
            Text,
            Refused,
        }
        let taken = |form: &[u8], of: &str| match of_form(
            FormType::Text,
            form,
            &rule(of),
            &mut Room::new(),
        ) {
            Ok(Value::Bytes(bytes)) if bytes == form => Taken::Bytes,
            Ok(Value::Text(text)) if text.as_bytes() == form => Taken::Text,
            Err(Refused::NoForm) => Taken::Refused,
            _ => unreachable!("{of}"),
        };
        assert_eq!(taken(b"plain", "exact/1"), Taken::Bytes);
        assert_eq!(taken("\u{e9}".as_bytes(), "exact/1"), Taken::Text);
        assert_eq!(taken(b"plain", "prefix(2) exact/1"), Taken::Text);
        assert_eq!(taken(b"plain", "casefold/1"), Taken::Text);
        for of in ["exact/1", "prefix(2) exact/1", "casefold/1"] {
            assert_eq!(taken(b"a\xff", of), Taken::Refused, "{of}");
        }
    }
}
