//! Statements that a trigger runs for each row, their plans kept.

use std::ffi::{CStr, c_int};

use pgrx::pg_sys;
use pgrx::spi::Spi;

use crate::pg::trigger::Values;

/// A statement whose plan PostgreSQL keeps, and makes anew when what it reads has changed.
pub struct SavedPlan {
    plan: pg_sys::SPIPlanPtr,
}

/// A connection to SPI: its statements run as the current role, in the current transaction.
pub struct Connection {
    /// Where the caller's memory comes from.
    outer: pg_sys::MemoryContext,
}

impl Connection {
    /// Opens one.
    pub fn open() -> Result<Connection, String> {
        // SAFETY: reads a variable; the connection is closed by `drop`, on an error by PostgreSQL.
        unsafe {
            let outer = pg_sys::CurrentMemoryContext;
            check(pg_sys::SPI_connect())?;
            Ok(Connection { outer })
        }
    }

    /// Parses a statement with parameters of these types.
    pub fn prepare(&self, sql: &CStr, types: &[pg_sys::Oid]) -> Result<SavedPlan, String> {
        // SAFETY: the statement is NUL-terminated, and there are as many types as are counted, which are only read. A
        // plan that is kept stays until it is dropped.
        unsafe {
            let count = types.len() as c_int;
            let plan = pg_sys::SPI_prepare(sql.as_ptr(), count, types.as_ptr().cast_mut());
            if plan.is_null() {
                let code = pg_sys::SPI_result;
                return Err(format!("SPI_prepare: {code}"));
            }
            check(pg_sys::SPI_keepplan(plan))?;
            Ok(SavedPlan { plan })
        }
    }

    /// Runs a statement with the values of its parameters; how many rows it touched or gave. It sees all that was
    /// committed before it, as far as the isolation level goes.
    pub fn run(&self, plan: &SavedPlan, parameters: &Values<'_>) -> Result<u64, String> {
        let (values, nulls) = parameters.for_spi();
        // SAFETY: there are as many values, each with its mark, as the statement has parameters.
        unsafe {
            check(pg_sys::SPI_execute_plan(plan.plan, values, nulls, false, 0))?;
            Ok(pg_sys::SPI_processed)
        }
    }

    /// Runs a statement without parameters.
    pub fn run_once(&self, sql: &CStr) -> Result<(), String> {
        // SAFETY: NUL-terminated.
        check(unsafe { pg_sys::SPI_execute(sql.as_ptr(), false, 0) })
    }

    /// The first row that the last statement gave, as a tuple of `descriptor` in the caller's memory; it has that one's
    /// columns.
    ///
    /// # Safety
    /// The statement gave a row of the descriptor's columns.
    pub unsafe fn first_row(&self, descriptor: pg_sys::TupleDesc) -> pg_sys::HeapTuple {
        // SAFETY: by contract; the tuple is made in memory that outlives the connection, and copies what it holds.
        unsafe {
            let rows = &*pg_sys::SPI_tuptable;
            let mut row = Values::of(*rows.vals, rows.tupdesc);
            let before = pg_sys::CurrentMemoryContext;
            pg_sys::CurrentMemoryContext = self.outer;
            let tuple = row.form(descriptor);
            pg_sys::CurrentMemoryContext = before;
            tuple
        }
    }

    /// A column of the first row that the last statement gave, which is not NULL and passed by value.
    ///
    /// # Safety
    /// The statement gave a row, which has such a column.
    pub unsafe fn first_value(&self, column: c_int) -> pg_sys::Datum {
        let mut is_null = true;
        // SAFETY: by contract.
        unsafe {
            let rows = &*pg_sys::SPI_tuptable;
            pg_sys::SPI_getbinval(*rows.vals, rows.tupdesc, column, &mut is_null)
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: closes what `open` opened.
            unsafe { pg_sys::SPI_finish() };
        }
    }
}

impl Drop for SavedPlan {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: kept by `prepare`, and nobody else's; one that is running is held by who runs it.
            unsafe { pg_sys::SPI_freeplan(self.plan) };
        }
    }
}

fn check(status: c_int) -> Result<(), String> {
    Spi::check_status(status).map(|_| ()).map_err(|error| error.to_string())
}
