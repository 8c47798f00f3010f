//! The statement that changes the rows of a batch, and what it meets beside them.

use std::cell::RefCell;
use std::ffi::CStr;
use std::fmt::Display;

use pgrx::pg_sys;

use crate::error::{Error, Result};
use crate::pg::saved_plan::{SavedPlan, Statement};
use crate::pg::state::Number;
use crate::pg::trigger::Values;

/// Values that the statement of this batch has met and left as they are.
static LEFT_ALONE: Number = Number::new(0);

thread_local! {
    /// The one run last, which the next batch mostly runs again. To parse and plan it costs as much as a tenth of a
    /// batch of a thousand rows.
    static KEPT: RefCell<Option<(Box<CStr>, SavedPlan)>> = const { RefCell::new(None) };
}

/// What the statement is told of a batch: `$1` the keys that values are brought from, `$2` the one that they are
/// brought to, `$3` and `$4` the places between which rows are changed.
const PARAMETERS: [pg_sys::Oid; 4] =
    [pg_sys::UUIDARRAYOID, pg_sys::UUIDOID, pg_sys::TIDOID, pg_sys::TIDOID];

/// A batch begins: `sql`, in the server's encoding, with the values of its parameters.
pub fn statement(sql: &CStr, parameters: [Option<pg_sys::Datum>; 4]) -> Result<Statement> {
    LEFT_ALONE.set(0);
    let values = Values::taken(parameters.into_iter(), PARAMETERS.len());
    let of_kept = || {
        KEPT.with_borrow(|kept| {
            let is_same = kept.as_ref().filter(|(of, _)| **of == *sql);
            is_same.map(|(_, plan)| plan.with(&values))
        })
    };
    if let Some(statement) = of_kept() {
        return Ok(statement);
    }
    let plan = SavedPlan::for_all_values(sql, &PARAMETERS).map_err(not_run)?;
    KEPT.replace(Some((sql.into(), plan)));
    of_kept().ok_or_else(|| not_run("no plan"))
}

/// The statement has met a value that it leaves as it is.
pub fn leave_alone() {
    LEFT_ALONE.count();
}

/// How many those were in the batch that began last.
pub fn left_alone() -> u64 {
    LEFT_ALONE.get()
}

/// A code of SPI's, where PostgreSQL raises no error of its own.
pub fn not_run(why: impl Display) -> Error {
    Error::Corrupt(format!("a batch was not run: {why}"))
}
