//! `envelope.is_sealed`: the shape of a value, for CHECK constraints. It reads no catalog, since
//! such a CHECK would break a restore.

use envelope::header::{HEADER_LEN, is_sealed_by};
use pgrx::pg_sys;

use crate::error::Error;
use crate::pg::call::{Arguments, row_function};

/// Fetches no more of a value than its header: a CHECK is evaluated at every UPDATE of its row, whatever
/// that changes.
fn has_the_shape(fcinfo: pg_sys::FunctionCallInfo) -> Option<bool> {
    // SAFETY: the call's own information; the argument is declared bytea.
    let (header, len) = unsafe {
        let arguments = Arguments::of(fcinfo);
        (arguments.first_bytes(0, HEADER_LEN)?, arguments.len(0)?)
    };
    Some(is_sealed_by(&header, len))
}

row_function!(envelope_is_sealed_wrapper, |fcinfo| {
    Ok::<_, Error>(has_the_shape(fcinfo).map(pg_sys::Datum::from))
});
