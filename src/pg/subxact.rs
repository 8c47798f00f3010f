//! Work that may fail without failing the statement around it: a savepoint of our own, as
//! PL/pgSQL's exception blocks have.

use std::panic::AssertUnwindSafe;

use pgrx::pg_sys::panic::CaughtError;
use pgrx::{PgSqlErrorCode, PgTryBuilder, pg_sys};

use crate::pg::report::raise_again;

/// Why work was undone.
pub enum Undone<E> {
    /// By its own error.
    Failed(E),
    /// By one that PostgreSQL raised: its SQLSTATE and message.
    Raised(PgSqlErrorCode, String),
}

/// Runs `work` in a savepoint, which stays when it succeeds and is rolled back when it does not.
/// A cancelled statement is not held up: that error goes on.
pub fn attempt<T, E>(work: impl FnOnce() -> Result<T, E>) -> Result<T, Undone<E>> {
    // SAFETY: the savepoint is left, with the memory context and the resource owner that were
    // current before it, on every way out of here.
    let (context, owner) = unsafe {
        let before = (pg_sys::CurrentMemoryContext, pg_sys::CurrentResourceOwner);
        pg_sys::BeginInternalSubTransaction(std::ptr::null());
        pg_sys::CurrentMemoryContext = before.0;
        before
    };
    let leave = |commit: bool| {
        // SAFETY: as above.
        unsafe {
            pg_sys::CurrentMemoryContext = context;
            if commit {
                pg_sys::ReleaseCurrentSubTransaction();
            } else {
                pg_sys::RollbackAndReleaseCurrentSubTransaction();
            }
            pg_sys::CurrentMemoryContext = context;
            pg_sys::CurrentResourceOwner = owner;
        }
    };
    let outcome = PgTryBuilder::new(AssertUnwindSafe(|| work().map_err(Stopped::Failed)))
        .catch_others(|caught| Err(Stopped::Caught(Box::new(caught))))
        .execute();
    leave(outcome.is_ok());
    outcome.map_err(|stopped| match stopped {
        Stopped::Failed(error) => Undone::Failed(error),
        Stopped::Caught(caught) => raised(*caught),
    })
}

enum Stopped<E> {
    Failed(E),
    Caught(Box<CaughtError>),
}

fn raised<E>(caught: CaughtError) -> Undone<E> {
    match &caught {
        CaughtError::PostgresError(error) | CaughtError::ErrorReport(error)
            if error.sql_error_code() != PgSqlErrorCode::ERRCODE_QUERY_CANCELED =>
        {
            Undone::Raised(error.sql_error_code(), error.message().to_string())
        }
        _ => raise_again(caught),
    }
}
