//! Statements that are run again and again, for each row or each batch, their plans kept.

use std::cell::RefCell;
use std::ffi::{CStr, c_char, c_int};

use pgrx::{pg_guard, pg_sys};

use crate::pg::state::Flag;
use crate::pg::trigger::Values;

thread_local! {
    /// Plans that nobody uses any more, but for a statement that may be running now.
    static RETIRED: RefCell<Vec<pg_sys::SPIPlanPtr>> = const { RefCell::new(Vec::new()) };
}

static IS_WATCHING: Flag = Flag::new(false);

/// A statement whose plan PostgreSQL keeps, and makes anew when what it reads has changed.
pub struct SavedPlan(pg_sys::SPIPlanPtr);

/// A statement with the values of its parameters, in PostgreSQL's memory. Nothing in it needs to be dropped.
#[derive(Clone, Copy)]
pub struct Statement {
    pub(super) plan: pg_sys::SPIPlanPtr,
    pub(super) values: *mut pg_sys::Datum,
    pub(super) nulls: *const c_char,
}

impl SavedPlan {
    /// Parses a statement with parameters of these types.
    pub fn new(sql: &CStr, types: &[pg_sys::Oid]) -> Result<SavedPlan, String> {
        Self::prepared(sql, types, 0)
    }

    /// As [`Self::new`], of a statement that is planned once, whatever the values of its parameters.
    pub fn for_all_values(sql: &CStr, types: &[pg_sys::Oid]) -> Result<SavedPlan, String> {
        Self::prepared(sql, types, pg_sys::CURSOR_OPT_GENERIC_PLAN)
    }

    fn prepared(sql: &CStr, types: &[pg_sys::Oid], options: u32) -> Result<SavedPlan, String> {
        // SAFETY: the statement is NUL-terminated, and there are as many types as are counted, which are only read. A
        // plan that is kept stays until it is dropped; on an error PostgreSQL closes the connection.
        unsafe {
            check(pg_sys::SPI_connect())?;
            let count = types.len() as c_int;
            let types = types.as_ptr().cast_mut();
            let plan = pg_sys::SPI_prepare_cursor(sql.as_ptr(), count, types, options as c_int);
            if plan.is_null() {
                let code = pg_sys::SPI_result;
                return Err(format!("SPI_prepare: {code}"));
            }
            check(pg_sys::SPI_keepplan(plan))?;
            check(pg_sys::SPI_finish())?;
            Ok(SavedPlan(plan))
        }
    }

    /// The statement with these values, as many as it has parameters and of their types.
    pub fn with(&self, parameters: &Values<'_>) -> Statement {
        let (values, nulls) = parameters.for_spi();
        Statement { plan: self.0, values, nulls }
    }
}

impl Drop for SavedPlan {
    /// The plan itself is freed with the transaction: until then a statement around this one may run it.
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        if !IS_WATCHING.get() {
            IS_WATCHING.set(true);
            // SAFETY: the function lives as long as the library.
            unsafe { pg_sys::RegisterXactCallback(Some(at_xact_end), std::ptr::null_mut()) };
        }
        // When the backend ends there is nothing left to free it with.
        let _ = RETIRED.try_with(|retired| retired.borrow_mut().push(self.0));
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn at_xact_end(
    event: pg_sys::XactEvent::Type,
    _arg: *mut std::ffi::c_void,
) {
    use pg_sys::XactEvent::{XACT_EVENT_ABORT, XACT_EVENT_COMMIT, XACT_EVENT_PREPARE};
    if [XACT_EVENT_ABORT, XACT_EVENT_COMMIT, XACT_EVENT_PREPARE].contains(&event) {
        for plan in RETIRED.take() {
            // SAFETY: kept by `new`, and nobody else's; no statement runs any more.
            unsafe { pg_sys::SPI_freeplan(plan) };
        }
    }
}

/// Runs a statement without parameters as the current role.
pub fn run_once(sql: &CStr) -> Result<(), String> {
    // SAFETY: NUL-terminated; on an error PostgreSQL closes the connection.
    unsafe {
        check(pg_sys::SPI_connect())?;
        check(pg_sys::SPI_execute(sql.as_ptr(), false, 0))?;
        check(pg_sys::SPI_finish())
    }
}

/// SPI's codes of what went wrong are negative.
fn check(status: c_int) -> Result<(), String> {
    if status >= 0 { Ok(()) } else { Err(format!("SPI: {status}")) }
}
