//! Messages that are not errors. Errors are `crate::error`'s.

use pgrx::pg_sys::elog::PgLogLevel;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{PgSqlErrorCode, function_name};

/// A WARNING to the client and the log.
pub fn warning(message: String, hint: &str) {
    ErrorReport::new(PgSqlErrorCode::ERRCODE_WARNING, message, function_name!())
        .set_hint(hint)
        .report(PgLogLevel::WARNING);
}
