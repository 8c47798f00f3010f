//! The life of a key: rotation, its KEKs, the oldest version that is taken.

use pgrx::datum::Uuid;
use pgrx::iter::TableIterator;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{name, pg_extern, pg_sys};

use crate::custody;
use crate::error::Error;
use crate::keyring;
use crate::life::{self, Moved, Rotated};
use crate::pg::encoding;
use crate::pg::json::Jsonb;
use crate::pg::varlena::Varlena;
use crate::sql::arguments::{given_context, given_reason, required, uri_text};
use crate::sql::begin;

#[pg_extern(sql = false)]
fn envelope_make_next_key(
    relation: Option<pg_sys::Oid>,
    reason: Option<Varlena<'_>>,
    activate: Option<bool>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> std::result::Result<Uuid, ErrorReport> {
    begin(fcinfo);
    let (relation, reason) = (required(relation, "relation")?, given_reason(reason)?);
    let activate = required(activate, "activate")?;
    let key_id = life::rotate_key(relation, reason.as_deref(), activate)?;
    Ok(Uuid::from_bytes(key_id.0))
}

#[pg_extern(sql = false)]
fn envelope_unfollow_keyring(
    relation: Option<pg_sys::Oid>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> std::result::Result<(), ErrorReport> {
    begin(fcinfo);
    Ok(custody::unfollow(required(relation, "relation")?)?)
}

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity, reason = "pgrx takes the columns from the signature")]
fn envelope_rotate_due(
    max_keys: Option<i32>,
) -> std::result::Result<
    TableIterator<
        'static,
        (
            name!(relation, String),
            name!(key_id, Uuid),
            name!(new_key_id, Option<Uuid>),
            name!(sqlstate, Option<String>),
            name!(message, Option<String>),
        ),
    >,
    ErrorReport,
> {
    keyring::begin_statement(None);
    let max_keys = usize::try_from(required(max_keys, "max_keys")?).unwrap_or(0);
    if max_keys == 0 {
        return Err(Error::BadArgument("max_keys must be at least 1".into()).into());
    }
    let rows = life::rotate_due(max_keys)?.into_iter().map(|Rotated { table, before, outcome }| {
        let (sqlstate, message) = shown(outcome.as_ref().err());
        let new = outcome.ok().map(|key_id| Uuid::from_bytes(key_id.0));
        (encoding::shown(table), Uuid::from_bytes(before.0), new, sqlstate, message)
    });
    Ok(TableIterator::new(rows))
}

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity, reason = "pgrx takes the columns from the signature")]
fn envelope_rewrap(
    kek_from: Option<Varlena<'_>>,
    kek_to: Option<Varlena<'_>>,
    relation: Option<pg_sys::Oid>,
    dry_run: Option<bool>,
) -> std::result::Result<
    TableIterator<
        'static,
        (
            name!(table_name, String),
            name!(key_id, Uuid),
            name!(old_kek, String),
            name!(new_kek, String),
            name!(done, bool),
            name!(sqlstate, Option<String>),
            name!(message, Option<String>),
        ),
    >,
    ErrorReport,
> {
    keyring::begin_statement(None);
    let (kek_from, kek_to) = (required(kek_from, "kek_from")?, required(kek_to, "kek_to")?);
    let (kek_from, kek_to) = (uri_text(&kek_from)?, uri_text(&kek_to)?);
    let dry_run = required(dry_run, "dry_run")?;
    let rows = life::rewrap(&kek_from, &kek_to, relation, dry_run)?.into_iter();
    Ok(TableIterator::new(rows.map(|Moved { table, key_id, kek_from, kek_to, outcome }| {
        let (sqlstate, message) =
            shown(outcome.as_ref().and_then(|outcome| outcome.as_ref().err()));
        let done = matches!(outcome, Some(Ok(())));
        let key_id = Uuid::from_bytes(key_id.0);
        (encoding::shown(table), key_id, kek_from, kek_to, done, sqlstate, message)
    })))
}

#[pg_extern(sql = false)]
fn envelope_add_kek(
    relation: Option<pg_sys::Oid>,
    kek: Option<Varlena<'_>>,
    kms_context: Option<Jsonb>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> std::result::Result<i32, ErrorReport> {
    begin(fcinfo);
    let (relation, kek) = (required(relation, "relation")?, required(kek, "kek")?);
    let added = life::add_kek(relation, &uri_text(&kek)?, given_context(kms_context)?)?;
    Ok(i32::try_from(added).unwrap_or(i32::MAX))
}

#[pg_extern(sql = false)]
fn envelope_drop_kek(
    relation: Option<pg_sys::Oid>,
    kek: Option<Varlena<'_>>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> std::result::Result<i32, ErrorReport> {
    begin(fcinfo);
    let (relation, kek) = (required(relation, "relation")?, required(kek, "kek")?);
    let dropped = life::drop_kek(relation, &uri_text(&kek)?)?;
    Ok(i32::try_from(dropped).unwrap_or(i32::MAX))
}

#[pg_extern(sql = false)]
fn envelope_set_minimum_version(
    relation: Option<pg_sys::Oid>,
    version: Option<i32>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> std::result::Result<(), ErrorReport> {
    begin(fcinfo);
    let (relation, version) = (required(relation, "relation")?, required(version, "version")?);
    Ok(life::set_minimum_version(relation, version)?)
}

/// SQLSTATE and message of what failed.
fn shown(error: Option<&Error>) -> (Option<String>, Option<String>) {
    let message = |error: &Error| encoding::shown(error.to_string());
    (error.map(Error::sqlstate_text), error.map(message))
}
