//! What stands in an index column.

use envelope::search::Rule;
use pgrx::pg_sys::Datum;

use crate::pg::array::Numbers;
use crate::pg::varlena::{Varlena, stored_len};

/// What stands in an index column that is not NULL.
pub enum Stored<'a> {
    Term(Varlena<'a>),
    Tokens(Numbers<'a>),
}

impl<'a> Stored<'a> {
    /// # Safety
    /// `datum` is a non-null value of the column of an index of that rule (bytea or bigint[]), and outlives `'a`, as the
    /// current memory context does.
    pub unsafe fn of(rule: &Rule, datum: Datum) -> Stored<'a> {
        // SAFETY: by contract.
        unsafe {
            match rule.is_tokens() {
                true => Stored::Tokens(Numbers::of(datum)),
                false => Stored::Term(Varlena::from_datum(datum)),
            }
        }
    }
}

/// Bytes of an array without elements, after the length word: dimensions, offset, type (utils/array.h).
const OF_NONE: usize = 12;

/// Whether what a statement gives an index column asks for its terms to be made: no bytes, no elements. No row has that.
///
/// # Safety
/// `datum` is a non-null value of the column of an index of that rule.
pub unsafe fn is_request(rule: &Rule, datum: Datum) -> bool {
    // SAFETY: both types are varlenas.
    let len = unsafe { stored_len(datum) };
    len <= if rule.is_tokens() { OF_NONE } else { 0 }
}
