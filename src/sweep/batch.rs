//! The statement that changes the rows of a batch, and what it meets beside them.

use std::cell::RefCell;
use std::ffi::CStr;
use std::fmt::Display;

use pgrx::pg_sys;

use crate::error::{Error, Result};
use crate::pg::replica_role;
use crate::pg::saved_plan::{SavedPlan, Statement};
use crate::pg::state::Number;
use crate::pg::trigger::Values;

/// Values that the statement of this batch has met and left as they are.
static LEFT_ALONE: Number = Number::new(0);

thread_local! {
    /// The one run last, which the next batch mostly runs again. To parse and plan it costs as much as a tenth of a
    /// batch of a thousand rows.
    static KEPT: RefCell<Option<(Box<CStr>, bool, SavedPlan)>> = const { RefCell::new(None) };
}

/// What the statement is told of a batch: `$1` the keys that values are brought from, `$2` the one that they are
/// brought to, `$3` and `$4` the places between which rows are changed.
const PARAMETERS: [pg_sys::Oid; 4] =
    [pg_sys::UUIDARRAYOID, pg_sys::UUIDOID, pg_sys::TIDOID, pg_sys::TIDOID];

/// A batch begins: `sql`, in the server's encoding, with the values of its parameters. Where it is `quiet`, the usual triggers
/// do not fire, until [`ended`] is told so: the flag.
pub fn statement(
    sql: &CStr,
    parameters: [Option<pg_sys::Datum>; 4],
    quiet: bool,
) -> Result<(Statement, bool)> {
    LEFT_ALONE.set(0);
    let has_begun = quiet && replica_role::begin(sql);
    let values = Values::taken(parameters.into_iter(), PARAMETERS.len());
    let of_kept = || {
        KEPT.with_borrow(|kept| {
            let is_same = kept.as_ref().filter(|(of, is, _)| **of == *sql && *is == quiet);
            is_same.map(|(.., plan)| plan.with(&values))
        })
    };
    if let Some(statement) = of_kept() {
        return Ok((statement, has_begun));
    }
    let plan = SavedPlan::for_all_values(sql, &PARAMETERS).map_err(not_run)?;
    KEPT.replace(Some((sql.into(), quiet, plan)));
    of_kept().map(|statement| (statement, has_begun)).ok_or_else(|| not_run("no plan"))
}

/// The statement has run.
pub fn ended(has_begun: bool) {
    if has_begun {
        replica_role::end();
    }
}

/// Whether something of `relation` fires in quiet, too. Then the setting itself is to be set: see [`replica_role`].
pub fn fires_when_quiet(relation: pg_sys::Oid) -> bool {
    replica_role::fires(relation)
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
