//! Messages that are not errors, and what PostgreSQL adds to any message. Errors are
//! `crate::error`'s.

use pgrx::pg_sys::elog::PgLogLevel;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{PgSqlErrorCode, function_name, pg_sys};

/// A WARNING to the client and the log.
pub fn warning(message: String, hint: &str) {
    leave_out_copy_line();
    ErrorReport::new(PgSqlErrorCode::ERRCODE_WARNING, message, function_name!())
        .set_hint(hint)
        .report(PgLogLevel::WARNING);
}

/// COPY adds the line it is at to every message raised meanwhile, as CONTEXT: the plaintext of a
/// row that is about to be sealed would stand in the server's log. From here on it does not, for
/// the rest of this COPY; other context (functions, statements) stays.
pub fn leave_out_copy_line() {
    let copy = CopyFromErrorCallback as *const ();
    // SAFETY: the list's entries are on the stacks of PostgreSQL functions that have not returned;
    // each is unlinked by its function by what it was linked to, not by what is linked to it.
    unsafe {
        let mut link = std::ptr::addr_of_mut!(pg_sys::error_context_stack);
        while let Some(entry) = (*link).as_mut() {
            if entry.callback.is_some_and(|callback| std::ptr::eq(callback as *const (), copy)) {
                *link = entry.previous;
            } else {
                link = &mut entry.previous;
            }
        }
    }
}

unsafe extern "C" {
    // commands/copy.h, which pgrx does not bind; only its address is used.
    fn CopyFromErrorCallback(arg: *mut std::ffi::c_void);
}
