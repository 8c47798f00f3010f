//! jsonb to and from Rust.

use pgrx::callconv::{Arg, ArgAbi};
use pgrx::datum::FromDatum;
use pgrx::pg_sys;

use crate::pg::encoding;

/// The text of a jsonb datum, in UTF-8.
///
/// # Safety
/// `datum` is a non-null jsonb.
pub unsafe fn text_of_jsonb(datum: pg_sys::Datum) -> String {
    // SAFETY: detoasting gives a whole jsonb; its text is palloc'd and NUL-terminated.
    unsafe {
        let jsonb = pg_sys::pg_detoast_datum(datum.cast_mut_ptr()).cast::<pg_sys::Jsonb>();
        let size = pgrx::varsize_any(jsonb.cast()) as std::ffi::c_int;
        let text = pg_sys::JsonbToCString(
            std::ptr::null_mut(),
            std::ptr::addr_of_mut!((*jsonb).root),
            size,
        );
        let owned = encoding::to_string(std::ffi::CStr::from_ptr(text).to_bytes());
        pg_sys::pfree(text.cast());
        owned
    }
}

/// A jsonb argument.
pub enum JsonText {
    /// As JSON text in UTF-8.
    Text(String),
    /// Longer than [`LONGEST`]; not copied.
    TooLong,
}

/// Bytes of the jsonb.
pub const LONGEST: usize = 64 * 1024;

impl FromDatum for JsonText {
    unsafe fn from_polymorphic_datum(
        datum: pg_sys::Datum,
        is_null: bool,
        _typoid: pg_sys::Oid,
    ) -> Option<Self> {
        if is_null {
            return None;
        }
        // SAFETY: pgrx passes the datum of a jsonb argument.
        unsafe {
            if pg_sys::toast_raw_datum_size(datum) > LONGEST {
                return Some(JsonText::TooLong);
            }
            Some(JsonText::Text(text_of_jsonb(datum)))
        }
    }
}

// SAFETY: a non-null argument of a function declared with jsonb is a jsonb.
unsafe impl<'fcx> ArgAbi<'fcx> for JsonText {
    unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
        // SAFETY: as above.
        match unsafe { arg.unbox_arg_using_from_datum() } {
            Some(text) => text,
            None => JsonText::TooLong,
        }
    }
}

pgrx::impl_sql_translatable!(JsonText, "jsonb");
