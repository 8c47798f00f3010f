//! What a query asks for.

use super::super::boundaries::Boundaries;
use super::super::normal::{self, Extent};
use super::super::refused::Refused;
use super::super::rule::{Kind, Rule, Subject};
use super::super::scratch::Scratch;
use super::super::value::Value;
use super::range::{End, range};
use super::text;

/// A question about a value. Each is one about normal forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// Is it this one?
    Equal,
    /// Does it begin so?
    Prefix,
    /// Does it end so?
    Suffix,
    /// Is this in it?
    Contains,
    /// Are all these words in it?
    Words,
}

impl Op {
    /// What of a value the question gives.
    fn extent(self) -> Extent {
        if self == Op::Equal { Extent::Whole } else { Extent::Piece }
    }
}

/// Calls `each` with the payloads to ask for: a value that the question finds has all of them, or, under the ordered
/// kinds, one of them. Under `words`, a query without a word has none, and must find nothing.
///
/// # Errors
/// [`Refused`] if the index cannot answer, or the value is too short.
pub fn query(
    rule: &Rule,
    op: Op,
    value: Value<'_>,
    boundaries: Option<&Boundaries>,
    scratch: &mut Scratch,
    each: &mut dyn FnMut(&[u8]),
) -> Result<(), Refused> {
    scratch.wipe();
    let result = match (rule.subject(), value) {
        (Subject::Form(form), Value::Text(text)) => {
            normal::normalise(form, op.extent(), text, scratch)
                .and_then(|()| text::asked(rule.kind(), op, scratch, each))
        }
        (Subject::Form(_), Value::Bytes(_)) if op != Op::Equal => Err(Refused::NoAnswer),
        (Subject::Form(_), Value::Bytes(bytes)) if rule.kind() == Kind::Exact => {
            each(bytes);
            Ok(())
        }
        (Subject::Ordered(_), Value::Ordinal(_) | Value::Outside(_)) if op != Op::Equal => {
            Err(Refused::NoAnswer)
        }
        (Subject::Ordered(_), Value::Ordinal(ordinal)) => {
            range(rule, End::At(ordinal), End::At(ordinal), boundaries, each)
        }
        (Subject::Ordered(_), Value::Outside(value)) => {
            range(rule, End::Outside(value), End::Outside(value), boundaries, each)
        }
        _ => Err(Refused::NoForm),
    };
    scratch.wipe();
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::ordinal;
    use crate::search::value::Outside;

    fn asked(rule: &str, op: Op, value: Value<'_>) -> Result<Vec<Vec<u8>>, Refused> {
        let Some(rule) = Rule::parse(rule) else { unreachable!("{rule}") };
        let mut all = Vec::new();
        let mut each = |payload: &[u8]| all.push(payload.to_vec());
        query(&rule, op, value, None, &mut Scratch::new(), &mut each).map(|()| all)
    }

    #[test]
    fn equality_of_what_has_an_order_is_a_range_of_one() {
        let of = |number| Value::Ordinal(ordinal::of_number(number));
        let step = |step: i64| Ok(vec![step.to_be_bytes().to_vec()]);
        assert_eq!(asked("steps(10) int/1", Op::Equal, of(25)), step(2));
        assert_eq!(asked("steps(10) int/1", Op::Equal, of(-1)), step(-1));
        let before = Value::Outside(Outside::Before);
        let name = Ok(vec![b"\xff-infinity".to_vec()]);
        assert_eq!(asked("days date/1", Op::Equal, before), name);
        assert_eq!(asked("buckets date/1", Op::Equal, of(0)), Err(Refused::NoBoundaries));
        for op in [Op::Prefix, Op::Suffix, Op::Contains, Op::Words] {
            assert_eq!(asked("days date/1", op, of(0)), Err(Refused::NoAnswer));
            assert_eq!(asked("days date/1", op, before), Err(Refused::NoAnswer));
        }
    }

    #[test]
    fn equality_of_words_asks_for_all_of_them() {
        let of = |text| asked("words casefold/1", Op::Equal, Value::Text(text));
        assert_eq!(of("One, two"), Ok(vec![b"one".to_vec(), b"two".to_vec()]));
        assert_eq!(of("--"), Err(Refused::TooShort { least: 1 }));
        assert_eq!(asked("words casefold/1", Op::Words, Value::Text("--")), Ok(vec![]));
    }

    #[test]
    fn other_values_are_refused() {
        let bytes = Value::Bytes(b"\x01");
        assert_eq!(asked("exact/1", Op::Equal, bytes), Ok(vec![vec![1]]));
        assert_eq!(asked("exact/1", Op::Prefix, bytes), Err(Refused::NoAnswer));
        assert_eq!(asked("prefix(1) exact/1", Op::Equal, bytes), Err(Refused::NoForm));
        assert_eq!(asked("days date/1", Op::Equal, bytes), Err(Refused::NoForm));
        assert_eq!(asked("exact/1", Op::Equal, Value::Ordinal(1)), Err(Refused::NoForm));
    }
}
