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
