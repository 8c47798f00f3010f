//! `search_path` for the length of a look.

use pgrx::pg_sys;

/// While it lives, `search_path` is `pg_catalog`: nobody else's function or operator is found, and names that are
/// written out have their schema. On an error PostgreSQL's own transaction abort puts it back.
pub struct Pinned(std::ffi::c_int);

impl Pinned {
    pub fn to_catalog() -> Pinned {
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
            Pinned(level)
        }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: closes the level that was opened.
            unsafe { pg_sys::AtEOXact_GUC(true, self.0) }
        }
    }
}
