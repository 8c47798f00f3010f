//! Canonical forms: the one text that a typed value is sealed as, whatever the session's settings are.
//!
//! Numbers in, bytes out, and back. A reader takes what its writer gives, and nothing else: what it reads, written
//! again, is the same bytes. Dates and times count from 1970-01-01. What needs PostgreSQL (the digits of a float, the
//! label of an enum) is not here.
//!
//! | module | forms |
//! |---|---|
//! | [`number`] | `true`, `-12`; the grammar of `12.50` and `1e+15` |
//! | [`date`] | `2026-11-30`, `0001-12-31 BC` |
//! | [`time`] | `05:08:34.5`, `05:08:34+02:00`, `2026-11-30T05:08:34Z` |
//! | [`interval`] | `P1Y2M3DT-4H` |
//! | [`network`] | `10.0.0.1/32` |
//! | [`uuid`] | `c0ffee00-…` |
//! | [`bytes`] | `\xc0ffee`, in arrays only |
//! | [`array`] | `["1",null]` |
//! | [`padding`] | what makes lengths alike |

pub mod array;
pub mod bytes;
pub mod date;
pub mod interval;
mod line;
pub mod network;
pub mod number;
pub mod padding;
pub mod time;
pub mod uuid;

/// Where a form is written to.
pub trait Sink {
    /// Appends bytes.
    fn push(&mut self, bytes: &[u8]);
}

impl Sink for Vec<u8> {
    fn push(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// A date or time, or one of the two that lie beyond all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends<T> {
    /// `-infinity`
    Before,
    /// One of those that have a number.
    At(T),
    /// `infinity`
    After,
}

impl<T> Ends<T> {
    const BEFORE: &'static [u8] = b"-infinity";
    const AFTER: &'static [u8] = b"infinity";

    /// Writes the ends; the rest by `at`.
    fn write<S: Sink>(self, out: &mut S, at: impl FnOnce(T, &mut S)) {
        match self {
            Ends::Before => out.push(Self::BEFORE),
            Ends::At(value) => at(value, out),
            Ends::After => out.push(Self::AFTER),
        }
    }

    /// Reads the ends; the rest by `at`.
    fn read(form: &[u8], at: impl FnOnce(&[u8]) -> Option<T>) -> Option<Ends<T>> {
        if form == Self::BEFORE {
            Some(Ends::Before)
        } else if form == Self::AFTER {
            Some(Ends::After)
        } else {
            at(form).map(Ends::At)
        }
    }
}

/// What `read` makes of `form`, if `write` makes the same bytes of it again.
fn same_again<T>(form: &[u8], value: T, write: impl FnOnce(&T, &mut line::Line)) -> Option<T> {
    let mut again = line::Line::new();
    write(&value, &mut again);
    (again.as_slice() == form).then_some(value)
}
