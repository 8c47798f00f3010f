//! PostgreSQL's system caches: rows of its catalogs by their key.

use std::ffi::c_int;

use pgrx::pg_sys;

/// What `read` takes from the row that `key` finds in `cache`; `None` when there is none.
///
/// # Safety
/// `cache` has one key, of the type of `key`, and its rows begin with a `Form`.
pub unsafe fn field<Form, T>(
    cache: pg_sys::SysCacheIdentifier::Type,
    key: pg_sys::Datum,
    read: impl FnOnce(&Form) -> T,
) -> Option<T> {
    // SAFETY: by contract; the tuple is released after its field was read.
    unsafe {
        let tuple = pg_sys::SearchSysCache1(cache as c_int, key);
        if tuple.is_null() {
            return None;
        }
        let value = read(&*pg_sys::GETSTRUCT(tuple).cast::<Form>());
        pg_sys::ReleaseSysCache(tuple);
        Some(value)
    }
}
