//! Administration: making keys, trying a KEK, the cache.

use pgrx::datum::Uuid;
use pgrx::iter::TableIterator;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{name, pg_extern, pg_sys};

use crate::error::Result;
use crate::kek;
use crate::keyring;
use crate::kms;
use crate::life;
use crate::memory;
use crate::pg::encoding;
use crate::pg::json::Jsonb;
use crate::pg::varlena::Varlena;
use crate::sql::arguments::{LONGEST_JSONB, given_context, required, too_long, uri_text};
use crate::sql::begin;

#[pg_extern(sql = false)]
fn envelope_create_key(
    relation: Option<pg_sys::Oid>,
    kek: Option<Varlena<'_>>,
    kms_context: Option<Jsonb>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> std::result::Result<Uuid, ErrorReport> {
    begin(fcinfo);
    let kek = kek.map(|kek| uri_text(&kek)).transpose()?;
    let key_id = create_key(relation, kek.as_deref(), kms_context)?;
    Ok(Uuid::from_bytes(key_id.0))
}

fn create_key(
    relation: Option<pg_sys::Oid>,
    kek: Option<&str>,
    kms_context: Option<Jsonb>,
) -> Result<envelope::header::KeyId> {
    life::create_key(required(relation, "relation")?, kek, given_context(kms_context)?)
}

#[pg_extern(sql = false)]
fn envelope_warm(
    relation: Option<pg_sys::Oid>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> std::result::Result<i32, ErrorReport> {
    begin(fcinfo);
    let unwrapped = life::warm(required(relation, "relation")?)?;
    Ok(i32::try_from(unwrapped).unwrap_or(i32::MAX))
}

#[pg_extern(sql = false)]
fn envelope_set_limits(
    relation: Option<pg_sys::Oid>,
    limits: Option<Jsonb>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> std::result::Result<(), ErrorReport> {
    begin(fcinfo);
    let (relation, limits) = (required(relation, "relation")?, required(limits, "limits")?);
    let limits = limits.text(LONGEST_JSONB).ok_or_else(|| too_long("limits", LONGEST_JSONB))?;
    Ok(life::set_limits(relation, &limits)?)
}

type Step = (String, bool, Option<String>, Option<String>);

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity, reason = "pgrx takes the columns from the signature")]
fn envelope_check_kek(
    uri: Option<Varlena<'_>>,
) -> std::result::Result<
    TableIterator<
        'static,
        (
            name!(step, String),
            name!(ok, bool),
            name!(sqlstate, Option<String>),
            name!(message, Option<String>),
        ),
    >,
    ErrorReport,
> {
    keyring::begin_statement(None);
    let uri = uri_text(&required(uri, "uri")?)?;
    Ok(TableIterator::new(kek::check_kek(&uri).into_iter().map(shown)))
}

fn shown((step, outcome): (&'static str, Result<Option<String>>)) -> Step {
    match outcome {
        Ok(told) => (step.into(), true, None, told),
        Err(error) => (
            step.into(),
            false,
            Some(error.sqlstate_text()),
            Some(encoding::shown(error.to_string())),
        ),
    }
}

#[pg_extern(sql = false)]
fn envelope_flush_keys(everywhere: Option<bool>) -> std::result::Result<i32, ErrorReport> {
    let flushed = match required(everywhere, "everywhere")? {
        true => keyring::flush_everywhere()?,
        false => keyring::flush_own(),
    };
    Ok(i32::try_from(flushed).unwrap_or(i32::MAX))
}

#[pg_extern(sql = false)]
fn envelope_stats() -> TableIterator<
    'static,
    (
        name!(keys_cached, i32),
        name!(memory_locked, bool),
        name!(kms_requests, i64),
        name!(kms_failures, i64),
        name!(kek_fallovers, i64),
    ),
> {
    TableIterator::once((
        i32::try_from(memory::cached_keys()).unwrap_or(i32::MAX),
        memory::is_memory_locked(),
        i64::try_from(kms::requests()).unwrap_or(i64::MAX),
        i64::try_from(kms::failures()).unwrap_or(i64::MAX),
        i64::try_from(kek::fallovers()).unwrap_or(i64::MAX),
    ))
}
