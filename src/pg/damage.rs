//! What PostgreSQL says of stored bytes that it cannot read: a part of a large value is missing, a
//! compressed one makes no sense. It does not say in which row.

use std::panic::AssertUnwindSafe;

use pgrx::pg_sys::panic::CaughtError;
use pgrx::{PgSqlErrorCode, PgTryBuilder};

use crate::pg::report::raise_again;
use crate::pg::subxact::{self, Undone};

/// Its error, which is to be raised with what the caller knows of the place: what the reading held is given
/// back with the transaction only.
pub struct Damage {
    pub code: PgSqlErrorCode,
    pub message: String,
}

/// What `read` gives. Other errors go on as they came.
pub fn reading<T>(read: impl FnOnce() -> T) -> Result<T, Damage> {
    let outcome = PgTryBuilder::new(AssertUnwindSafe(|| Ok(read())))
        .catch_others(|caught| Err(Box::new(caught)))
        .execute();
    outcome.map_err(|caught| match &*caught {
        CaughtError::PostgresError(error) if is_damage(error.sql_error_code()) => {
            Damage { code: error.sql_error_code(), message: error.message().to_string() }
        }
        _ => raise_again(*caught),
    })
}

/// As [`reading`], for who goes on without the value: in a savepoint, with which what the reading held is given
/// back.
pub fn survived<T>(read: impl FnOnce() -> T) -> Result<T, Undone<Damage>> {
    subxact::attempt(|| reading(read))
}

fn is_damage(code: PgSqlErrorCode) -> bool {
    use PgSqlErrorCode::{ERRCODE_DATA_CORRUPTED, ERRCODE_INTERNAL_ERROR};
    matches!(code, ERRCODE_DATA_CORRUPTED | ERRCODE_INTERNAL_ERROR)
}
