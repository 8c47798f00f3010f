//! What pgrx's settings do not cover: values that a client tried to plant before the library was
//! loaded, and settings changed for the length of a call.

use std::ffi::{CStr, CString};

use pgrx::pg_sys;

use crate::pg::encoding;

/// A name, below `prefix`, of a placeholder whose reset value came from the connection options
/// (`PGOPTIONS`, startup packet) of a client that is no superuser. Such a value stands where the server's own would: once
/// the setting is defined PostgreSQL refuses it, and what is left is the built-in default and not
/// what `postgresql.conf` says. To be called before the settings are defined.
pub fn planted_by_client(prefix: &str) -> Option<CString> {
    // SAFETY: the array and what it points to belong to PostgreSQL and stay for this loop; the
    // names are NUL-terminated.
    unsafe {
        for variable in variables() {
            let Some(generic) = (*variable).as_ref() else { continue };
            if generic.flags & pg_sys::GUC_CUSTOM_PLACEHOLDER as std::ffi::c_int == 0
                || generic.reset_source != pg_sys::GucSource::PGC_S_CLIENT
                || generic.reset_scontext == pg_sys::GucContext::PGC_SUSET
            {
                continue;
            }
            let name = CStr::from_ptr(generic.name);
            let head = name.to_bytes().get(..prefix.len());
            if head.is_some_and(|head| head.eq_ignore_ascii_case(prefix.as_bytes())) {
                return Some(name.to_owned());
            }
        }
    }
    None
}

/// Sets `name` to `value` for the rest of the session: no RESET, rollback or client undoes it.
pub fn set_for_good(name: &CStr, value: &CStr) {
    // SAFETY: both are NUL-terminated and copied. The source makes it the reset value as well.
    unsafe {
        pg_sys::SetConfigOption(
            name.as_ptr(),
            value.as_ptr(),
            pg_sys::GucContext::PGC_SUSET,
            pg_sys::GucSource::PGC_S_OVERRIDE,
        );
    }
}

#[cfg(any(feature = "pg14", feature = "pg15"))]
unsafe fn variables() -> impl Iterator<Item = *const *mut pg_sys::config_generic> {
    // SAFETY: the array has as many elements as PostgreSQL says.
    unsafe {
        let first = pg_sys::get_guc_variables().cast_const();
        (0..pg_sys::GetNumConfigOptions() as usize).map(move |i| first.add(i))
    }
}

#[cfg(not(any(feature = "pg14", feature = "pg15")))]
unsafe fn variables() -> impl Iterator<Item = *const *mut pg_sys::config_generic> {
    let mut count = 0;
    // SAFETY: the array (palloc'd for the caller) has as many elements as PostgreSQL says.
    unsafe {
        let first = pg_sys::get_guc_variables(&mut count).cast_const();
        (0..count as usize).map(move |i| first.add(i))
    }
}

/// A setting that every role may read, as text: numbers in its own unit; empty when there is none, or it is not set.
pub fn shown(name: &CStr) -> String {
    // SAFETY: the name is NUL-terminated; what is missing gives null, else a NUL-terminated string that is copied at once.
    unsafe {
        let value = pg_sys::GetConfigOption(name.as_ptr(), true, false);
        if value.is_null() { String::new() } else { encoding::text(CStr::from_ptr(value)) }
    }
}

/// Whether the server loads its libraries now.
pub fn is_preloading() -> bool {
    // SAFETY: reads a variable of this process.
    unsafe { pg_sys::process_shared_preload_libraries_in_progress }
}

/// Refuses `prefix.anything` that is not defined.
pub fn reserve_prefix(prefix: &CStr) {
    // SAFETY: `prefix` is NUL-terminated and PostgreSQL copies it.
    unsafe {
        #[cfg(feature = "pg14")]
        pg_sys::EmitWarningsOnPlaceholders(prefix.as_ptr());
        #[cfg(not(feature = "pg14"))]
        pg_sys::MarkGUCPrefixReserved(prefix.as_ptr());
    }
}

/// Bytes that the building of an index may take.
pub fn maintenance_work_mem() -> usize {
    // SAFETY: reads a variable of this backend, in kB.
    unsafe { pg_sys::maintenance_work_mem }.unsigned_abs() as usize * 1024
}

/// The path of the data directory.
pub fn data_directory() -> String {
    // SAFETY: set at server start, NUL-terminated, never changed after.
    unsafe { CStr::from_ptr(pg_sys::DataDir) }.to_string_lossy().into_owned()
}

/// The object id of the database this backend is connected to.
pub fn current_database_oid() -> u32 {
    // SAFETY: a variable of this backend.
    unsafe { pg_sys::MyDatabaseId }.to_u32()
}

/// The name of the database this backend is connected to.
pub fn current_database() -> String {
    // SAFETY: a connected backend has a database; the name is palloc'd.
    let name = unsafe { pg_sys::get_database_name(pg_sys::MyDatabaseId) };
    crate::pg::datum::owned_name(name).unwrap_or_default()
}
