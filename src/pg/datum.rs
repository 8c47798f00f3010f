//! Small conversions between C strings, UUIDs and Rust.

use std::ffi::{CStr, CString, c_char};

use pgrx::datum::DatumWithOid;
use pgrx::pg_sys;

use crate::pg::encoding;

/// Copies and frees a palloc'd C string in the server's encoding; `None` for a null pointer.
pub fn owned_name(raw: *mut c_char) -> Option<String> {
    owned_cstring(raw).map(|name| encoding::to_string(name.to_bytes()))
}

/// As [`owned_name`], in the server's encoding.
pub fn owned_cstring(raw: *mut c_char) -> Option<CString> {
    if raw.is_null() {
        return None;
    }
    // SAFETY: a non-null palloc'd, NUL-terminated string, nobody else's.
    unsafe {
        let name = CStr::from_ptr(raw).to_owned();
        pg_sys::pfree(raw.cast());
        Some(name)
    }
}

/// An OID as a parameter of type `kind`, which is stored as oid is; 0 too, of which pgrx's own
/// conversion makes SQL NULL.
pub fn oid_as(kind: pg_sys::Oid, value: pg_sys::Oid) -> DatumWithOid<'static> {
    // SAFETY: both kinds are passed by value, in the low bytes of a datum.
    unsafe { DatumWithOid::new(i64::from(value.to_u32()), kind) }
}

/// The 16 bytes of a uuid datum.
///
/// # Safety
/// `datum` is a non-null uuid.
pub unsafe fn uuid_bytes(datum: pg_sys::Datum) -> [u8; 16] {
    // SAFETY: a uuid is 16 bytes by reference.
    unsafe { *datum.cast_mut_ptr::<[u8; 16]>() }
}

/// A uuid datum that points to `bytes`.
pub fn uuid_datum(bytes: &[u8; 16]) -> pg_sys::Datum {
    pg_sys::Datum::from(bytes.as_ptr())
}
