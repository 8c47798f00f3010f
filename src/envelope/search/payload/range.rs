//! What a range asks for: the terms or tokens of which every value in it has one.

use super::super::boundaries::Boundaries;
use super::super::ordinal;
use super::super::refused::Refused;
use super::super::rule::{Kind, Ordered, Rule, Subject};
use super::super::value::{Outside, Value};
use super::{ABOVE, BELOW, outside, outsides, put_class, put_node, put_step, step_of};
use crate::forms::time::DAY;

/// The most terms that a range of `days` or `steps` asks for.
pub const MOST_STEPS: u64 = 10_000;

/// An end of a range, which the range holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// There is none.
    Open,
    /// A number of the type, by its ordinal.
    At(u64),
    /// A number less than all of the type.
    Below,
    /// A number greater than all of the type.
    Above,
    /// A value that has no number.
    Outside(Outside),
}

impl End {
    /// The end that a value is, as [`super::super::value::of_form`] gives it.
    pub fn of(value: Value<'_>) -> Option<End> {
        match value {
            Value::Ordinal(ordinal) => Some(End::At(ordinal)),
            Value::Outside(outside) => Some(End::Outside(outside)),
            Value::Text(_) | Value::Bytes(_) => None,
        }
    }
}

/// Calls `each` with the payloads of which every value from `low` to `high`, both among them, has one. Others may have
/// them, too: what is found is opened and compared. In the order of PostgreSQL: -infinity, numbers, infinity, NaN.
///
/// # Errors
/// [`Refused`]: the kind has no ranges, its boundary set is missing, the range has more than [`MOST_STEPS`] steps.
pub fn range(
    rule: &Rule,
    low: End,
    high: End,
    boundaries: Option<&Boundaries>,
    each: &mut dyn FnMut(&[u8]),
) -> Result<(), Refused> {
    let Subject::Ordered(of) = rule.subject() else { return Err(Refused::NoAnswer) };
    if let Some((low, high)) = numbers(of, low, high) {
        match (rule.kind(), rule.step()) {
            (Kind::Tree(tree), _) => {
                if low < tree.low {
                    outside(BELOW, each);
                }
                tree.cover(low, high, |node| put_node(node, each));
                if high > tree.last() {
                    outside(ABOVE, each);
                }
            }
            (Kind::Buckets, _) => {
                let boundaries = boundaries.ok_or(Refused::NoBoundaries)?;
                boundaries.between(low, high, |class| put_class(boundaries, class, each));
            }
            (_, Some(step)) => {
                let (from, to) = (step_of(low, step), step_of(high, step));
                if to.abs_diff(from) >= MOST_STEPS {
                    return Err(Refused::TooWide { most: MOST_STEPS });
                }
                (from..=to).for_each(|step| put_step(step, each));
            }
            _ => return Err(Refused::NoAnswer),
        }
    }
    for value in outsides(rule) {
        let from = matches!(low, End::Open) || rank(low) <= rank(End::Outside(*value));
        let to = matches!(high, End::Open) || rank(high) >= rank(End::Outside(*value));
        if from && to {
            outside(value.name(), each);
        }
    }
    Ok(())
}

/// The numbers from one end to the other, if there are any.
fn numbers(of: Ordered, low: End, high: End) -> Option<(u64, u64)> {
    let (first, last) = match of {
        Ordered::Time => (ordinal::of_number(0), ordinal::of_number(DAY)),
        _ => (0, u64::MAX),
    };
    let low = match low {
        End::Open | End::Below | End::Outside(Outside::Before) => first,
        End::At(ordinal) => ordinal.max(first),
        End::Above | End::Outside(Outside::After | Outside::NaN) => return None,
    };
    let high = match high {
        End::Open | End::Above | End::Outside(Outside::After | Outside::NaN) => last,
        End::At(ordinal) => ordinal.min(last),
        End::Below | End::Outside(Outside::Before) => return None,
    };
    (low <= high).then_some((low, high))
}

/// The place of an end among values that have no number; those that have one are alike.
fn rank(end: End) -> u8 {
    match end {
        End::Outside(Outside::Before) => 0,
        End::Below | End::At(_) | End::Above | End::Open => 1,
        End::Outside(Outside::After) => 2,
        End::Outside(Outside::NaN) => 3,
    }
}
