//! Symbols that a released catalog names and the one at hand no longer does. The library is replaced before
//! `ALTER EXTENSION ... UPDATE` is run, in each database by itself: until then, that catalog calls them. A symbol keeps
//! its arguments for that reason: what gains one gets another symbol.

use pgrx::pg_sys;

use crate::error::{Error, Result};
use crate::pg::call::row_function;

// Of 0.1.0: `reencrypt_window` before it was told which table is being re-encrypted as a whole. The columns in
// which the rest of re-encryption counts are missing there, too.
row_function!(envelope_reencrypt_window_wrapper, |_| -> Result<Option<pg_sys::Datum>> {
    Err(Error::Outdated)
});

// Of 0.1.0: `reencrypt_note` before damaged values were counted.
row_function!(envelope_reencrypt_note_wrapper, |_| -> Result<Option<pg_sys::Datum>> {
    Err(Error::Outdated)
});
