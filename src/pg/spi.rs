//! Statements by SPI.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char, c_int};

use pgrx::datum::DatumWithOid;
use pgrx::pg_sys;
use pgrx::spi::{self, OwnedPreparedStatement, Spi, SpiTupleTable};

use crate::pg::encoding;
use crate::pg::table_scan::{Moment, with_moment};
use crate::pg::varlena::Varlena;

/// Runs one writing statement; how many rows it touched. It sees what is committed now: under the
/// snapshot of a REPEATABLE READ transaction it would miss the rows that others made since, as
/// foreign keys would, which PostgreSQL checks in the same way.
pub fn write(sql: &str, args: &[DatumWithOid<'_>]) -> Result<u64, String> {
    with_moment(|now| {
        // SAFETY: reads a variable of this backend.
        execute(sql, args, now, false, || unsafe { pg_sys::SPI_processed })
    })
}

/// The rows of the table `quoted` (a name as SQL quotes it) that a SELECT sees at `moment`.
pub fn count_rows(quoted: &CStr, moment: &Moment) -> Result<u64, String> {
    let sql = [b"SELECT pg_catalog.count(*) FROM ONLY ", quoted.to_bytes()].concat();
    execute(sql, &[], moment, true, || {
        let mut is_null = true;
        // SAFETY: the query gives one row with one bigint, which is passed by value.
        unsafe {
            let rows = pg_sys::SPI_tuptable;
            let row = *(*rows).vals;
            let count = pg_sys::SPI_getbinval(row, (*rows).tupdesc, 1, &mut is_null);
            count.value() as u64
        }
    })
}

/// The type of an expression over rows of the table `quoted`, of which none is read.
pub fn type_of(expression: &[u8], quoted: &CStr) -> Result<pg_sys::Oid, String> {
    let sql = [
        b"SELECT pg_catalog.pg_typeof((SELECT ",
        expression,
        b" FROM ",
        quoted.to_bytes(),
        b" LIMIT 0))",
    ]
    .concat();
    with_moment(|now| {
        // SAFETY: the query gives one row with one regtype, which is stored as an OID.
        execute(sql, &[], now, true, || unsafe {
            let rows = pg_sys::SPI_tuptable;
            oid(*(*rows).vals, rows)
        })
    })
}

/// The OIDs that a query gives. It sees what is committed now, in every isolation level.
pub fn oids(
    sql: impl Into<Vec<u8>>,
    args: &[DatumWithOid<'_>],
) -> Result<Vec<pg_sys::Oid>, String> {
    with_moment(|now| {
        execute(sql, args, now, true, || {
            // SAFETY: as many rows as are counted stand there; the query gives one column of OIDs, which
            // are passed by value.
            unsafe {
                let rows = pg_sys::SPI_tuptable;
                (0..pg_sys::SPI_processed as usize)
                    .map(|at| oid(*(*rows).vals.add(at), rows))
                    .collect()
            }
        })
    })
}

/// The bytes that a query of one column of bytea gives in its first row; `None` for NULL, and for no row. It sees
/// what is committed now.
pub fn bytes(sql: &str, args: &[DatumWithOid<'_>]) -> Result<Option<Vec<u8>>, String> {
    let sql = encoding::from_utf8(sql.as_bytes()).map_err(|_| UNTRANSLATABLE.to_owned())?;
    with_moment(|now| {
        execute(&*sql, args, now, true, || {
            // SAFETY: as many rows as are counted stand there; the value is detoasted and copied while they do.
            unsafe {
                if pg_sys::SPI_processed == 0 {
                    return None;
                }
                let rows = pg_sys::SPI_tuptable;
                let mut is_null = true;
                let datum = pg_sys::SPI_getbinval(*(*rows).vals, (*rows).tupdesc, 1, &mut is_null);
                (!is_null).then(|| Varlena::from_datum(datum).to_vec())
            }
        })
    })
}

/// Runs one statement of any kind, in UTF-8, as a client of this session would: as the current role, under its
/// `search_path`. PostgreSQL's errors are raised.
pub fn run(sql: &str) -> Result<(), String> {
    let sql = encoding::from_utf8(sql.as_bytes()).map_err(|_| UNTRANSLATABLE.to_owned())?;
    let sql = CString::new(&*sql).map_err(|error| error.to_string())?;
    // SAFETY: the statement outlives its execution. An error unwinds to PostgreSQL, which ends the SPI connection.
    unsafe {
        Spi::check_status(pg_sys::SPI_connect()).map_err(|error| error.to_string())?;
        Spi::check_status(pg_sys::SPI_execute(sql.as_ptr(), false, 0))
            .map_err(|error| error.to_string())?;
        Spi::check_status(pg_sys::SPI_finish()).map_err(|error| error.to_string())?;
    }
    Ok(())
}

const UNTRANSLATABLE: &str = "the statement has characters that the database's encoding lacks";

/// # Safety
/// `row` is one of `rows`, and its first column is an OID.
unsafe fn oid(row: pg_sys::HeapTuple, rows: *mut pg_sys::SPITupleTable) -> pg_sys::Oid {
    let mut is_null = true;
    // SAFETY: by contract.
    let datum = unsafe { pg_sys::SPI_getbinval(row, (*rows).tupdesc, 1, &mut is_null) };
    pg_sys::Oid::from(datum.value() as u32)
}

/// Runs one statement as of `moment`; what `read` makes of its outcome.
fn execute<T>(
    sql: impl Into<Vec<u8>>,
    args: &[DatumWithOid<'_>],
    moment: &Moment,
    read_only: bool,
    read: impl FnOnce() -> T,
) -> Result<T, String> {
    let statement = CString::new(sql).map_err(|error| error.to_string())?;
    let mut types: Vec<pg_sys::Oid> = args.iter().map(DatumWithOid::oid).collect();
    let null = |arg: &DatumWithOid<'_>| if arg.datum().is_none() { b'n' } else { b' ' } as c_char;
    let nulls: Vec<c_char> = args.iter().map(null).collect();
    let mut values: Vec<pg_sys::Datum> = args
        .iter()
        .map(|arg| arg.datum().map_or(pg_sys::Datum::null(), |datum| datum.sans_lifetime()))
        .collect();
    // SAFETY: the three arrays have one element a parameter and outlive the execution, and so
    // does what the arguments point to. An error raised in between unwinds to PostgreSQL, which ends
    // the SPI connection.
    unsafe {
        Spi::check_status(pg_sys::SPI_connect()).map_err(|error| error.to_string())?;
        let plan = pg_sys::SPI_prepare(statement.as_ptr(), args.len() as c_int, types.as_mut_ptr());
        if plan.is_null() {
            let code = pg_sys::SPI_result;
            return Err(format!("SPI_prepare: {code}"));
        }
        let status = pg_sys::SPI_execute_snapshot(
            plan,
            values.as_mut_ptr(),
            nulls.as_ptr(),
            moment.snapshot(),
            std::ptr::null_mut(),
            read_only,
            true,
            0,
        );
        Spi::check_status(status).map_err(|error| error.to_string())?;
        let outcome = read();
        Spi::check_status(pg_sys::SPI_finish()).map_err(|error| error.to_string())?;
        Ok(outcome)
    }
}

thread_local! {
    static KEPT: RefCell<HashMap<&'static str, &'static OwnedPreparedStatement>> =
        RefCell::new(HashMap::new());
}

/// Runs a statement that a session runs again and again; what `read` makes of its rows. Its plan is
/// kept to the end of the session: to make it costs more than to run it.
pub fn run_kept<T>(
    sql: &'static str,
    args: &[DatumWithOid<'_>],
    read: impl FnOnce(SpiTupleTable<'_>) -> spi::Result<T>,
) -> spi::Result<T> {
    Spi::connect_mut(|client| {
        let plan = match KEPT.with_borrow(|kept| kept.get(sql).copied()) {
            Some(plan) => plan,
            None => {
                let types: Vec<_> = args.iter().map(|arg| arg.oid().into()).collect();
                let plan = client.prepare_mut(sql, &types)?.keep();
                // Never freed: by the time the backend ends, PostgreSQL has nothing to free it with.
                let plan: &'static OwnedPreparedStatement = Box::leak(Box::new(plan));
                KEPT.with_borrow_mut(|kept| kept.insert(sql, plan));
                plan
            }
        };
        read(client.update(plan, None, args)?)
    })
}
