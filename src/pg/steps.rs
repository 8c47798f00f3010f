//! Statements that a trigger runs by SPI on a user's table, step by step.
//!
//! An error that PostgreSQL raises below a guard of pgrx comes out of it as another one: the name of the constraint is
//! gone, of which programs make what they tell their users, and a SQLSTATE that PostgreSQL does not know is XX000. So no
//! guard is around the statements, and no frame between PostgreSQL's and theirs has anything to drop. What decides is
//! in steps before and between them, each with a guard of its own.

use std::ffi::{c_char, c_int, c_long};

use pgrx::pg_sys;
use pgrx::pg_sys::panic::{ErrorReport, pgrx_extern_c_guard};

use crate::pg::report;
use crate::pg::saved_plan::Statement;
use crate::pg::trigger::Values;

unsafe extern "C" {
    // executor/spi.h, without the guards of pgrx's bindings.
    fn SPI_connect() -> c_int;
    fn SPI_finish() -> c_int;
    fn SPI_execute_plan(
        plan: pg_sys::SPIPlanPtr,
        values: *mut pg_sys::Datum,
        nulls: *const c_char,
        read_only: bool,
        most: c_long,
    ) -> c_int;
}

/// What comes next.
#[derive(Clone, Copy)]
pub enum Step<What: Copy> {
    /// The row that the trigger answers with; `None` when the row is to be passed over.
    Answer(Option<pg_sys::Datum>),
    /// A statement, and what it was run for.
    Run(Statement, What),
}

/// What a statement has done.
pub struct Ran {
    /// How many rows it touched or gave; `Err` has SPI's code.
    pub rows: Result<u64, c_int>,
    /// Where the answer's memory comes from.
    outer: pg_sys::MemoryContext,
}

impl Ran {
    /// The first row that the statement gave, as a tuple of `descriptor`.
    ///
    /// # Safety
    /// It gave a row of the descriptor's columns.
    pub unsafe fn first_row(&self, descriptor: pg_sys::TupleDesc) -> pg_sys::Datum {
        // SAFETY: by contract; the tuple is made in memory that outlives the connection, and copies what it holds.
        unsafe {
            let rows = &*pg_sys::SPI_tuptable;
            let mut row = Values::of(*rows.vals, rows.tupdesc);
            let before = pg_sys::CurrentMemoryContext;
            pg_sys::CurrentMemoryContext = self.outer;
            let tuple = row.form(descriptor);
            pg_sys::CurrentMemoryContext = before;
            pg_sys::Datum::from(tuple)
        }
    }

    /// A column of the first row that the statement gave.
    ///
    /// # Safety
    /// It gave a row, which has such a column; it is not NULL, and passed by value.
    pub unsafe fn first_value(&self, column: c_int) -> pg_sys::Datum {
        let mut is_null = true;
        // SAFETY: by contract.
        unsafe {
            let rows = &*pg_sys::SPI_tuptable;
            pg_sys::SPI_getbinval(*rows.vals, rows.tupdesc, column, &mut is_null)
        }
    }
}

/// The answer of a trigger: that of `first`, or of the last `next` after a statement.
///
/// # Safety
/// `fcinfo` is the call's own, and the frame of who calls has nothing to drop.
pub unsafe fn run<What: Copy, E: Into<ErrorReport>>(
    fcinfo: pg_sys::FunctionCallInfo,
    first: fn(pg_sys::FunctionCallInfo) -> Result<Step<What>, E>,
    next: fn(pg_sys::FunctionCallInfo, What, &Ran) -> Result<Step<What>, E>,
) -> pg_sys::Datum {
    // SAFETY: as above; a connection is closed with the answer, on an error by PostgreSQL. The statement is whole, and
    // what it points to lives in the trigger's memory.
    unsafe {
        let outer = pg_sys::CurrentMemoryContext;
        let mut is_connected = false;
        let mut step = guarded(|| first(fcinfo));
        loop {
            let (statement, what) = match step {
                Step::Run(statement, what) => (statement, what),
                Step::Answer(answer) => {
                    if is_connected {
                        SPI_finish();
                    }
                    return answer.unwrap_or(pg_sys::Datum::null());
                }
            };
            if !is_connected {
                SPI_connect();
                is_connected = true;
            }
            let Statement { plan, values, nulls } = statement;
            let code = SPI_execute_plan(plan, values, nulls, false, 0);
            let ran =
                Ran { rows: if code < 0 { Err(code) } else { Ok(pg_sys::SPI_processed) }, outer };
            step = guarded(|| next(fcinfo, what, &ran));
        }
    }
}

/// # Safety
/// As [`run`].
unsafe fn guarded<What: Copy, E: Into<ErrorReport>>(
    work: impl FnOnce() -> Result<Step<What>, E>,
) -> Step<What> {
    let step = || match work() {
        Ok(step) => step,
        Err(error) => report::raise(error.into()),
    };
    // SAFETY: by contract.
    unsafe { pgrx_extern_c_guard(step) }
}
