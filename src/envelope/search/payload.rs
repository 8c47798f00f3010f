//! Payloads: the bytes under the hash, of a value that is stored and of a query.

mod query;
mod range;
mod text;

pub use query::{Op, query};
pub use range::{End, MOST_STEPS, range};

use super::boundaries::Boundaries;
use super::normal::{self, Extent};
use super::ordinal;
use super::refused::Refused;
use super::rule::{Kind, NormalForm, Rule, Subject};
use super::scratch::Scratch;
use super::tree::Node;
use super::value::{Outside, Value};

/// The class that a value gets.
#[derive(Clone, Copy)]
pub struct Drawn<'a> {
    /// The boundary set of the index.
    pub boundaries: &'a Boundaries,
    /// Random bits: they choose among the classes of a value that has several.
    pub bits: u32,
}

/// What stands before the name of a value that has no number.
const OUTSIDE: u8 = 0xff;

/// The names of ordinals outside a tree's domain.
const BELOW: &str = "below";
const ABOVE: &str = "above";

/// Calls `each` with the payloads of a value that is stored: one for a term, or none if it is shorter than a `prefix` or
/// `suffix`; any number for tokens, some of them more than once. `drawn` is for [`Kind::Buckets`].
///
/// # Errors
/// [`Refused`] if the value cannot be indexed so.
pub fn payloads(
    rule: &Rule,
    value: Value<'_>,
    drawn: Option<Drawn<'_>>,
    scratch: &mut Scratch,
    each: &mut dyn FnMut(&[u8]),
) -> Result<(), Refused> {
    // Without a look at the scratch memory, which is not needed.
    match (rule.subject(), rule.kind(), value) {
        (Subject::Form(NormalForm::Exact), Kind::Exact, Value::Text(text)) => {
            each(text.as_bytes());
            return Ok(());
        }
        (Subject::Form(_), Kind::Exact, Value::Bytes(bytes)) => {
            each(bytes);
            return Ok(());
        }
        _ => {}
    }
    scratch.wipe();
    let result = match (rule.subject(), value) {
        (Subject::Form(form), Value::Text(text)) => {
            normal::normalise(form, Extent::Whole, text, scratch)
                .map(|()| text::stored(rule.kind(), scratch, each))
        }
        (Subject::Ordered(_), Value::Outside(value)) => {
            outside(value.name(), each);
            Ok(())
        }
        (Subject::Ordered(_), Value::Ordinal(ordinal)) => ordered(rule, ordinal, drawn, each),
        _ => Err(Refused::NoForm),
    };
    scratch.wipe();
    result
}

fn ordered(
    rule: &Rule,
    ordinal: u64,
    drawn: Option<Drawn<'_>>,
    each: &mut dyn FnMut(&[u8]),
) -> Result<(), Refused> {
    match (rule.kind(), rule.step()) {
        (Kind::Tree(tree), _) => {
            match ordinal {
                ordinal if ordinal < tree.low => outside(BELOW, each),
                ordinal if ordinal > tree.last() => outside(ABOVE, each),
                ordinal => tree.nodes(ordinal).for_each(|node| put_node(node, each)),
            }
            Ok(())
        }
        (Kind::Buckets, _) => {
            let Drawn { boundaries, bits } = drawn.ok_or(Refused::NoBoundaries)?;
            put_class(boundaries, boundaries.draw(ordinal, bits), each);
            Ok(())
        }
        (_, Some(step)) => {
            put_step(step_of(ordinal, step), each);
            Ok(())
        }
        _ => Err(Refused::NoForm),
    }
}

fn step_of(ordinal: u64, step: i64) -> i64 {
    ordinal::to_number(ordinal).div_euclid(step)
}

fn put_step(step: i64, each: &mut dyn FnMut(&[u8])) {
    each(&step.to_be_bytes());
}

fn put_node(node: Node, each: &mut dyn FnMut(&[u8])) {
    each(&node.payload());
}

fn put_class(boundaries: &Boundaries, class: u32, each: &mut dyn FnMut(&[u8])) {
    let mut payload = [0; 8];
    payload[..4].copy_from_slice(&boundaries.set().to_be_bytes());
    payload[4..].copy_from_slice(&class.to_be_bytes());
    each(&payload);
}

/// `FF` ‖ name, of a value without a number or outside a tree's domain.
fn outside(name: &str, each: &mut dyn FnMut(&[u8])) {
    let mut payload = [0; 16];
    payload[0] = OUTSIDE;
    if let Some(room) = payload.get_mut(1..=name.len()) {
        room.copy_from_slice(name.as_bytes());
        each(&payload[..=name.len()]);
    }
}

/// The values of a type that have no number.
fn outsides(rule: &Rule) -> &'static [Outside] {
    use super::rule::Ordered::{Date, Float, Int, Numeric, Time, Timestamp, Timestamptz};
    match rule.subject() {
        Subject::Ordered(Float | Numeric(_)) => &[Outside::Before, Outside::After, Outside::NaN],
        Subject::Ordered(Date | Timestamp | Timestamptz) => &[Outside::Before, Outside::After],
        Subject::Ordered(Int | Time) | Subject::Form(_) => &[],
    }
}
