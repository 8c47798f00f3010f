//! `search_path` out of the way, so that PostgreSQL writes names with their schema.

use pgrx::pg_sys;

/// While it lives, `search_path` is `pg_catalog`; dropping it puts back what was. On an error PostgreSQL's own abort
/// of the transaction does the same.
pub struct PlainPath {
    level: std::ffi::c_int,
}

impl PlainPath {
    /// From now on.
    pub fn new() -> PlainPath {
        // SAFETY: opens a level that `drop`, or the transaction's abort, closes; the strings are NUL-terminated.
        unsafe {
            let level = pg_sys::NewGUCNestLevel();
            pg_sys::set_config_option(
                c"search_path".as_ptr(),
                c"pg_catalog, pg_temp".as_ptr(),
                pg_sys::GucContext::PGC_USERSET,
                pg_sys::GucSource::PGC_S_SESSION,
                pg_sys::GucAction::GUC_ACTION_SAVE,
                true,
                0,
                false,
            );
            PlainPath { level }
        }
    }
}

impl Drop for PlainPath {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: closes the level that `new` opened.
            unsafe { pg_sys::AtEOXact_GUC(true, self.level) }
        }
    }
}
