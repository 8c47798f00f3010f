//! Symbols that a released catalog names and the one at hand no longer does. The library is replaced before
//! `ALTER EXTENSION ... UPDATE` is run, in each database by itself: until then, that catalog calls them. A symbol keeps
//! its arguments for that reason: what gains one gets another symbol.

use pgrx::datum::Uuid;
use pgrx::iter::TableIterator;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{name, pg_extern, pg_sys};

use crate::custody::How;
use crate::error::{Error, Result};
use crate::keyring;
use crate::life;
use crate::pg::call::row_function;
use crate::pg::encoding::RowText;
use crate::pg::json::Jsonb;
use crate::pg::varlena::Varlena;
use crate::sql::arguments::{given_reason, required};
use crate::sql::{begin, check, keyrings};

// Of 0.1.0: `reencrypt_window` before it was told which table is being re-encrypted as a whole. The columns in
// which the rest of re-encryption counts are missing there, too.
row_function!(envelope_reencrypt_window_wrapper, |_| -> Result<Option<pg_sys::Datum>> {
    Err(Error::Outdated)
});

// Of 0.1.0: `reencrypt_note` before damaged values were counted.
row_function!(envelope_reencrypt_note_wrapper, |_| -> Result<Option<pg_sys::Datum>> {
    Err(Error::Outdated)
});

/// Of 0.1.0: `flush_cache` before it could reach other sessions.
#[pg_extern(sql = false)]
fn envelope_flush_cache() -> i32 {
    i32::try_from(keyring::flush_own()).unwrap_or(i32::MAX)
}

/// Of 0.1.0: `rotate_key` before a version could be made pending.
#[pg_extern(sql = false)]
fn envelope_rotate_key(
    relation: Option<pg_sys::Oid>,
    reason: Option<Varlena<'_>>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> std::result::Result<Uuid, ErrorReport> {
    begin(fcinfo);
    let reason = given_reason(reason)?;
    let key_id = life::rotate_key(required(relation, "relation")?, reason.as_deref(), true)?;
    Ok(Uuid::from_bytes(key_id.0))
}

/// Of 0.1.0: `import_keyring` before it could follow, bring rights and keep both of a fork.
#[pg_extern(sql = false)]
fn envelope_import_keyring(
    keyring: Option<Jsonb>,
    relation: Option<pg_sys::Oid>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> std::result::Result<Uuid, ErrorReport> {
    begin(fcinfo);
    Ok(keyrings::import(keyring, relation, How::default())?)
}

/// Of 0.1.0: `check` before it could ask other nodes.
#[pg_extern(sql = false)]
#[allow(clippy::type_complexity, reason = "pgrx takes the columns from the signature")]
fn envelope_check() -> std::result::Result<
    TableIterator<
        'static,
        (
            name!(relation, Option<RowText>),
            name!(keyring_id, Option<Uuid>),
            name!(key_id, Option<Uuid>),
            name!(kek, Option<String>),
            name!(ok, bool),
            name!(sqlstate, Option<String>),
            name!(message, Option<RowText>),
        ),
    >,
    ErrorReport,
> {
    Ok(TableIterator::new(check::rows(None)?))
}
