//! The rows of a query, a batch at a time: of a table that may be large.

use std::ffi::{CStr, c_int};

use pgrx::pg_sys;
use pgrx::spi::Spi;

use crate::pg::varlena::{Varlena, first_bytes};

/// Rows that stand in memory at once.
const BATCH: std::ffi::c_long = 500;

/// A row of a query of four columns: oid, bytea, text, and text that may be NULL, both in the server's encoding.
pub struct Row<'a> {
    pub table: pg_sys::Oid,
    pub value: Varlena<'a>,
    pub context: Varlena<'a>,
    pub former: Option<Varlena<'a>>,
}

/// Calls `each` with every row of such a query, run as the current role, up to its first error; a row of which one of
/// the first three is NULL is left out.
pub fn each_row<E>(
    sql: &CStr,
    mut each: impl FnMut(&Row<'_>) -> Result<(), E>,
) -> Result<Result<(), E>, String> {
    go_through(sql, |tuple, descriptor| {
        // SAFETY: a row of that query, which stands during the call.
        unsafe { row(tuple, descriptor) }.map_or(Ok(()), |row| each(&row))
    })
}

/// Calls `each` with the first `bytes` bytes of every value of the `columns` columns of a query, all of types of variable
/// length, and the column's number from 0; run as the current role, up to its first error.
pub fn each_value<E>(
    sql: &CStr,
    columns: usize,
    bytes: usize,
    mut each: impl FnMut(usize, &[u8]) -> Result<(), E>,
) -> Result<Result<(), E>, String> {
    go_through(sql, |tuple, descriptor| {
        (0..columns).try_for_each(|at| {
            let mut is_null = true;
            // SAFETY: a row of that query, which stands during the call; its columns are varlenas.
            unsafe {
                let number = at as c_int + 1;
                let datum = pg_sys::SPI_getbinval(tuple, descriptor, number, &mut is_null);
                if is_null { Ok(()) } else { each(at, &first_bytes(datum, bytes)) }
            }
        })
    })
}

/// Calls `each` with every row of a query, run as the current role, up to its first error.
fn go_through<E>(
    sql: &CStr,
    mut each: impl FnMut(pg_sys::HeapTuple, pg_sys::TupleDesc) -> Result<(), E>,
) -> Result<Result<(), E>, String> {
    let check = |status| Spi::check_status(status).map_err(|error| error.to_string());
    // SAFETY: the statement outlives its execution, and the rows of a batch stand until they are freed; a cursor that
    // is left open by an error goes with the SPI connection.
    unsafe {
        check(pg_sys::SPI_connect())?;
        let cursor = pg_sys::SPI_cursor_open_with_args(
            std::ptr::null(),
            sql.as_ptr(),
            0,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            std::ptr::null(),
            true,
            0,
        );
        let mut outcome = Ok(());
        while outcome.is_ok() {
            pg_sys::SPI_cursor_fetch(cursor, true, BATCH);
            let (rows, count) = (pg_sys::SPI_tuptable, pg_sys::SPI_processed as usize);
            outcome = (0..count).try_for_each(|at| each(*(*rows).vals.add(at), (*rows).tupdesc));
            pg_sys::SPI_freetuptable(rows);
            if count == 0 {
                break;
            }
        }
        pg_sys::SPI_cursor_close(cursor);
        check(pg_sys::SPI_finish())?;
        Ok(outcome)
    }
}

/// # Safety
/// A row of the query that [`each_row`] describes, which outlives `'a`.
unsafe fn row<'a>(tuple: pg_sys::HeapTuple, descriptor: pg_sys::TupleDesc) -> Option<Row<'a>> {
    let column = |number: c_int| {
        let mut is_null = true;
        // SAFETY: by contract.
        let datum = unsafe { pg_sys::SPI_getbinval(tuple, descriptor, number, &mut is_null) };
        (!is_null).then_some(datum)
    };
    // SAFETY: by contract; the three are varlenas.
    unsafe {
        Some(Row {
            table: pg_sys::Oid::from(column(1)?.value() as u32),
            value: Varlena::from_datum(column(2)?),
            context: Varlena::from_datum(column(3)?),
            former: column(4).map(|former| Varlena::from_datum(former)),
        })
    }
}
