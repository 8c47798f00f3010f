//! Messages that are not errors, and what PostgreSQL adds to any message. Errors are
//! `crate::error`'s.

use std::ffi::{CString, c_char, c_int};

use pgrx::pg_sys::elog::PgLogLevel;
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{PgSqlErrorCode, function_name, pg_sys};

use crate::pg::encoding::shown;

/// A WARNING to the client and the log.
pub fn warning(message: String, hint: &str) {
    let code = PgSqlErrorCode::ERRCODE_WARNING;
    tell(report(code, message, function_name!()).set_hint(hint), PgLogLevel::WARNING);
}

/// As [`warning`], with more to say.
pub fn warning_at_length(message: String, detail: String, hint: String) {
    let report = report(PgSqlErrorCode::ERRCODE_WARNING, message, function_name!());
    tell(report.set_detail(shown(detail)).set_hint(shown(hint)), PgLogLevel::WARNING);
}

/// A NOTICE to the client.
pub fn notice(message: String) {
    let code = PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION;
    tell(report(code, message, function_name!()), PgLogLevel::NOTICE);
}

/// After a message below ERROR PostgreSQL looks for a cancel, and raises it. pgrx lets that jump
/// over the frames of who called, with what they own: secrets would stay unwiped. Guarded, it
/// unwinds them.
fn tell(report: ErrorReport, level: PgLogLevel) {
    leave_out_copy_line();
    // SAFETY: what the closure owns is dropped by pgrx before PostgreSQL may jump.
    unsafe { pg_guard_ffi_boundary(|| report.report(level)) }
}

/// A NOTICE to the client that has more to say.
pub fn notice_at_length(message: String, detail: &str, hint: &str) {
    leave_out_copy_line();
    let code = PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION;
    report(code, message, function_name!())
        .set_detail(detail)
        .set_hint(hint)
        .report(PgLogLevel::NOTICE);
}

/// Messages hold names, and every encoding must be able to show them.
fn report(code: PgSqlErrorCode, message: String, function: &'static str) -> ErrorReport {
    ErrorReport::new(code, shown(message), function)
}

/// Raises an error where no caller takes it: in what PostgreSQL calls, below a guard.
#[cold]
pub fn raise(report: ErrorReport) -> ! {
    report.report(PgLogLevel::ERROR);
    unreachable!("an ERROR does not return")
}

/// A line of ASCII text for the server's log alone: neither the client sees it, nor does the log
/// add the statement or its context.
pub fn to_log(line: String) {
    let Ok(line) = CString::new(line) else { return };
    // SAFETY: PostgreSQL's own sequence of calls; the texts outlive it. It may raise a cancel that
    // has come meanwhile, and so goes through the same guard as pgrx's own calls.
    unsafe {
        pg_guard_ffi_boundary(|| {
            if errstart(pg_sys::LOG_SERVER_ONLY as c_int, std::ptr::null()) {
                errmsg_internal(c"%s".as_ptr(), line.as_ptr());
                errhidestmt(true);
                errhidecontext(true);
                errfinish(c"audit.rs".as_ptr(), 0, c"to_log".as_ptr());
            }
        });
    }
}

unsafe extern "C-unwind" {
    // utils/elog.h: what pgrx keeps to itself.
    fn errstart(level: c_int, domain: *const c_char) -> bool;
    fn errmsg_internal(format: *const c_char, ...) -> c_int;
    fn errhidestmt(hide: bool) -> c_int;
    fn errhidecontext(hide: bool) -> c_int;
    fn errfinish(file: *const c_char, line: c_int, function: *const c_char);
}

/// COPY adds the line it is at to every message raised meanwhile, as CONTEXT: the plaintext of a
/// row that is about to be sealed would stand in the server's log. From here on it does not;
/// other context (functions, statements) stays.
pub fn leave_out_copy_line() {
    let mut left_out = WithoutCopyLine::begin();
    left_out.entries = [None; NESTED];
}

/// While it lives, messages of PostgreSQL's own (cancel, timeout) do not carry COPY's line either.
pub struct WithoutCopyLine {
    /// What was unlinked, and from where.
    entries: [Option<(Link, *mut pg_sys::ErrorContextCallback)>; NESTED],
}

type Link = *mut *mut pg_sys::ErrorContextCallback;

/// A COPY whose trigger runs a COPY, and so on: as deep as it will be.
const NESTED: usize = 4;

impl WithoutCopyLine {
    /// Takes COPY's line out of what messages carry.
    pub fn begin() -> WithoutCopyLine {
        let copy = CopyFromErrorCallback as *const ();
        let mut left_out = WithoutCopyLine { entries: [None; NESTED] };
        let mut free = left_out.entries.iter_mut();
        // SAFETY: the list's entries are on the stacks of PostgreSQL functions that have not
        // returned; each is unlinked by its function by what it links to, not by what links to it.
        unsafe {
            let mut link: Link = std::ptr::addr_of_mut!(pg_sys::error_context_stack);
            while let Some(entry) = (*link).as_mut() {
                let is_copy =
                    entry.callback.is_some_and(|call| std::ptr::eq(call as *const (), copy));
                match if is_copy { free.next() } else { None } {
                    Some(slot) => {
                        *slot = Some((link, entry));
                        *link = entry.previous;
                    }
                    None => link = &mut entry.previous,
                }
            }
        }
        left_out
    }
}

impl Drop for WithoutCopyLine {
    /// Puts the line back, so that COPY's other errors name it; not while an error unwinds, which
    /// ends the COPY.
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        for (link, entry) in self.entries.iter().rev().flatten() {
            // SAFETY: nothing that was on the list at `begin` has returned since.
            unsafe { **link = *entry };
        }
    }
}

unsafe extern "C" {
    // commands/copy.h, which pgrx does not bind; only its address is used.
    fn CopyFromErrorCallback(arg: *mut std::ffi::c_void);
}
