//! What the trigger does with each column of a row that it was told to seal.
//!
//! An argument names a column (`ssn`), or a column and the one where its plaintext comes in (`ssn_sealed=ssn`). What
//! stands in the column is taken by [`in_place`], what comes in beside it by [`source`]. What a policy binds values
//! to is in [`rule`] and [`bound`].

mod argument;
mod bound;
mod in_place;
mod indexed;
mod plain;
mod rule;
mod source;

use pgrx::pg_sys;

use crate::error::{Error, Result};
use crate::pg::trigger::TriggerCall;

use self::argument::Argument;
pub use self::plain::{Plain, arriving, of_type};

/// What becomes of plaintext in a source column.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Sources {
    /// `envelope_seal`: once it is sealed, the source is emptied.
    Emptied,
    /// `envelope_mirror`: it stays, and both say the same.
    Kept,
}

impl Sources {
    fn function(self) -> &'static str {
        match self {
            Sources::Emptied => "envelope_seal",
            Sources::Kept => "envelope_mirror",
        }
    }
}

/// The row to store, as PostgreSQL has trigger functions answer.
pub fn seal_row(call: &TriggerCall<'_>, sources: Sources) -> Result<Option<pg_sys::Datum>> {
    check_use(call, sources)?;
    let read = |memory, text| Argument::read(call, memory, text, sources);
    // SAFETY: no other function keeps anything with these triggers, and of both it is this.
    let (arguments, mut row) = unsafe { call.kept(read) }?;
    for argument in arguments {
        match argument.source {
            None => in_place::seal(call, &mut row, argument)?,
            Some(source) => match sources {
                Sources::Emptied => source::seal(call, &mut row, argument, source)?,
                Sources::Kept => source::mirror(call, &mut row, argument, source)?,
            },
        }
    }
    Ok(Some(row.into_datum()))
}

fn check_use(call: &TriggerCall<'_>, sources: Sources) -> Result<()> {
    let misuse = if !call.is_before() {
        "must fire BEFORE, so that plaintext is never stored"
    } else if !call.is_for_row() {
        "must fire FOR EACH ROW"
    } else if !call.is_insert() && !call.is_update() {
        "must fire on INSERT or UPDATE"
    } else if call.arguments().len() == 0 {
        "needs the columns to seal as arguments"
    } else {
        return Ok(());
    };
    Err(misused(sources, misuse))
}

fn misused(sources: Sources, misuse: &'static str) -> Error {
    Error::TriggerMisuse { function: sources.function(), misuse }
}
