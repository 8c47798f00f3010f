//! What is said of a key that was destroyed, or that has lost its wraps.

use envelope::header::KeyId;

use crate::catalog::rows::{self, State};
use crate::error::{Error, Result};

/// The error of a destroyed key: when that was, and why.
pub fn destroyed(key: KeyId, table: String) -> Result<Error> {
    let (at, reason) = rows::last_change(key)?.ok_or(Error::UnknownKey(key))?;
    Ok(Error::KeyDestroyed { key, table, at, reason })
}

/// The error of a key of which no wrap was found. It may have been destroyed since it was chosen; else the
/// catalog is damaged.
pub fn without_wraps(key: KeyId, table: String) -> Result<Error> {
    match rows::data_key(key)? {
        Some(row) if row.state == State::Destroyed => destroyed(key, table),
        Some(_) => Ok(Error::NoWrap { key, table }),
        None => Ok(Error::UnknownKey(key)),
    }
}
