//! Settings for the length of a look.

use std::ffi::CStr;

use pgrx::pg_sys;

/// While it lives, some settings are other than the session's. On an error PostgreSQL's own transaction abort puts
/// them back.
pub struct LocalSettings(std::ffi::c_int);

/// Nobody else's function or operator is found, and names that are written out have their schema.
pub const CATALOG_PATH: (&CStr, &CStr) = (c"search_path", c"pg_catalog, pg_temp");

/// Rows are not hidden: where a policy would hide some, the query is an error.
pub const ALL_ROWS: (&CStr, &CStr) = (c"row_security", c"off");

/// The text of a float says all of it.
pub const WHOLE_FLOATS: (&CStr, &CStr) = (c"extra_float_digits", c"1");

impl LocalSettings {
    pub fn of(settings: &[(&CStr, &CStr)]) -> LocalSettings {
        // SAFETY: opens a level that `drop`, or the transaction's abort, closes; the strings are NUL-terminated.
        unsafe {
            let level = pg_sys::NewGUCNestLevel();
            for (name, value) in settings {
                pg_sys::set_config_option(
                    name.as_ptr(),
                    value.as_ptr(),
                    pg_sys::GucContext::PGC_USERSET,
                    pg_sys::GucSource::PGC_S_SESSION,
                    pg_sys::GucAction::GUC_ACTION_SAVE,
                    true,
                    0,
                    false,
                );
            }
            LocalSettings(level)
        }
    }
}

impl Drop for LocalSettings {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: closes the level that was opened.
            unsafe { pg_sys::AtEOXact_GUC(true, self.0) }
        }
    }
}
