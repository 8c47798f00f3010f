//! Small conversions between C strings, UUIDs and Rust.

use std::ffi::{CStr, CString, c_char};

use pgrx::callconv::{BoxRet, FcInfo};
use pgrx::datum::{Datum, DatumWithOid};
use pgrx::pg_sys;

use crate::pg::encoding;
use crate::pg::varlena::palloc;

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

/// A palloc'd uuid, handed to PostgreSQL.
pub struct UuidBuf(*mut [u8; 16]);

impl UuidBuf {
    /// A copy of `bytes`.
    pub fn copy_of(bytes: &[u8; 16]) -> UuidBuf {
        // SAFETY: palloc answers with memory of that size, or raises.
        unsafe {
            let copy = palloc(size_of::<[u8; 16]>()).cast::<[u8; 16]>();
            copy.write(*bytes);
            UuidBuf(copy)
        }
    }

    /// Gives the memory to PostgreSQL; its memory context frees it.
    pub fn into_datum(self) -> pg_sys::Datum {
        pg_sys::Datum::from(self.0)
    }
}

// SAFETY: the datum is a palloc'd uuid, as results are.
unsafe impl BoxRet for UuidBuf {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        // SAFETY: as above, in the function's memory context.
        unsafe { fcinfo.return_raw_datum(self.into_datum()) }
    }
}

pgrx::impl_sql_translatable!(UuidBuf, "uuid");
