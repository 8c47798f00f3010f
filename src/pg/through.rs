//! Values of the types that only their input and output functions know: numeric, enums, JSON. None of these functions
//! looks at a setting.

use std::ffi::{CStr, c_char};

use pgrx::pg_sys::Datum;
use pgrx::pg_sys::panic::CaughtError;
use pgrx::{PgSqlErrorCode, PgTryBuilder, direct_function_call_as_datum, pg_sys};

use crate::pg::buffer::Buffer;
use crate::pg::kinds::Scalar;
use crate::pg::report::raise_again;
use crate::pg::varlena::MAX_LEN;

/// A function as PostgreSQL calls it.
type Function = unsafe fn(pg_sys::FunctionCallInfo) -> Datum;

/// Hands what the output function of a type writes of `datum` to `write`, in the server's encoding.
///
/// # Safety
/// `output` takes one argument, of which `datum` is one, and gives a cstring.
pub unsafe fn written<T>(output: Function, datum: Datum, write: impl FnOnce(&[u8]) -> T) -> T {
    // SAFETY: by contract; the text is palloc'd, and nobody else's.
    unsafe {
        let text = direct_function_call_as_datum(output, &[Some(datum)]);
        let text = text.unwrap_or(Datum::null()).cast_mut_ptr::<c_char>();
        if text.is_null() {
            return write(b"");
        }
        let done = write(CStr::from_ptr(text).to_bytes());
        pg_sys::pfree(text.cast());
        done
    }
}

/// What the input function of a type makes of `text`, which is in the server's encoding; `None` if it refuses it (its
/// own error would show the text), and for types whose function reads settings.
pub fn parsed(kind: Scalar, text: &[u8]) -> Option<Datum> {
    let (input, of): (Function, _) = match kind {
        Scalar::Numeric => (pg_sys::numeric_in, pg_sys::NUMERICOID),
        Scalar::Json => (pg_sys::json_in, pg_sys::JSONOID),
        Scalar::Jsonb => (pg_sys::jsonb_in, pg_sys::JSONBOID),
        Scalar::Enum(kind) => (pg_sys::enum_in, kind),
        _ => return None,
    };
    if text.contains(&0) {
        return None;
    }
    let mut terminated = Buffer::of_most(MAX_LEN);
    terminated.push(text);
    terminated.push(b"\0");
    let text = Datum::from(terminated.bytes()?.as_ptr());
    let arguments = [Some(text), Some(Datum::from(of)), Some(Datum::from(-1i32))];
    // SAFETY: they take a cstring, the type's OID and its modifier, or less, and hold nothing that an error would leave.
    let parse = || unsafe { direct_function_call_as_datum(input, &arguments) };
    PgTryBuilder::new(std::panic::AssertUnwindSafe(parse))
        .catch_others(|caught| if is_about_data(&caught) { None } else { raise_again(caught) })
        .execute()
}

/// A value of a type, cut or rounded to its modifier as an assignment does it; PostgreSQL's error if it does not fit,
/// which does not show it.
///
/// # Safety
/// `datum` is a non-null value of `kind`.
pub unsafe fn to_modifier(kind: Scalar, datum: Datum, modifier: i32) -> Datum {
    let coercion: Function = match kind {
        Scalar::Numeric => pg_sys::numeric,
        Scalar::Varchar => pg_sys::varchar,
        Scalar::Bpchar => pg_sys::bpchar,
        Scalar::Time => pg_sys::time_scale,
        Scalar::TimeTz => pg_sys::timetz_scale,
        Scalar::Timestamp => pg_sys::timestamp_scale,
        Scalar::TimestampTz => pg_sys::timestamptz_scale,
        Scalar::Interval => pg_sys::interval_scale,
        _ => return datum,
    };
    let arguments = [Some(datum), Some(Datum::from(modifier)), Some(Datum::from(false))];
    // SAFETY: the type's own, by contract.
    unsafe { direct_function_call_as_datum(coercion, &arguments) }.unwrap_or(datum)
}

/// Class 22, data exceptions: the text, and not the server, is to blame.
pub fn is_about_data(caught: &CaughtError) -> bool {
    // The class is the first two characters, six bits each (utils/elog.h).
    const CLASS: u32 = 0xfff;
    let class = PgSqlErrorCode::ERRCODE_DATA_EXCEPTION as u32 & CLASS;
    matches!(caught, CaughtError::PostgresError(error) if error.sql_error_code() as u32 & CLASS == class)
}
