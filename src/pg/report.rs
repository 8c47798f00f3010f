//! Messages that are not errors. Errors are `crate::error`'s.

use std::ffi::{CString, c_char, c_int};

use pgrx::pg_sys::elog::PgLogLevel;
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;
use pgrx::pg_sys::panic::{CaughtError, ErrorReport};
use pgrx::{PgSqlErrorCode, function_name, pg_sys};

use crate::pg::copy_line::leave_out_copy_line;
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

/// Lets an error go on that `PgTryBuilder` has caught, after it gave its result. PostgreSQL has forgotten the
/// error by then, so that it is raised as a new one: pgrx would hand on the forgotten one (0.19), and the
/// session break.
#[cold]
pub fn raise_again(caught: CaughtError) -> ! {
    match caught {
        CaughtError::PostgresError(report) => CaughtError::ErrorReport(report).rethrow(),
        other => other.rethrow(),
    }
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
