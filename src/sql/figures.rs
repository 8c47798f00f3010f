//! What all sessions have done and asked, and how the KEKs are.

use pgrx::datum::{IntoDatum, TimestampWithTimeZone, Uuid};
use pgrx::iter::TableIterator;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{name, pg_extern, pg_sys};

use crate::error::{Error, Result};
use crate::figures::{self, KeyRow, KmsRow};
use crate::kek::{self, Health};
use crate::keyring;
use crate::kms::KekUri;
use crate::memory::leases;
use crate::pg::call::row_function;
use crate::pg::encoding::RowText;

/// What needs the memory that all share.
const WHAT: &str = "know what other sessions do";

type Moment = Option<TimestampWithTimeZone>;

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity, reason = "pgrx takes the columns from the signature")]
fn envelope_figures_of_keys() -> std::result::Result<
    TableIterator<
        'static,
        (
            name!(datid, Option<pg_sys::Oid>),
            name!(key_id, Option<Uuid>),
            name!(values_sealed, i64),
            name!(values_opened, i64),
            name!(values_hashed, i64),
            name!(bytes_sealed, i64),
            name!(bytes_opened, i64),
            name!(cache_hits, i64),
            name!(lease_hits, i64),
            name!(lease_waits, i64),
            name!(total_lease_wait_ms, f64),
            name!(kms_requests, i64),
            name!(kms_failures, i64),
            name!(kek_fallovers, i64),
            name!(backends_holding, i32),
            name!(last_unwrap, Moment),
            name!(keys_evicted, i64),
            name!(stats_reset, Moment),
        ),
    >,
    ErrorReport,
> {
    keyring::begin_statement(None);
    let rows = figures::keys().ok_or(Error::NeedsPreload(WHAT))?;
    Ok(TableIterator::new(rows.into_iter().map(|row| {
        let KeyRow { key, counts, holding, last_unwrap, evicted, since } = row;
        (
            key.map(|(database, _)| pg_sys::Oid::from(database)),
            key.map(|(_, key_id)| Uuid::from_bytes(key_id.0)),
            number(counts.values_sealed),
            number(counts.values_opened),
            number(counts.values_hashed),
            number(counts.bytes_sealed),
            number(counts.bytes_opened),
            number(counts.cache_hits()),
            number(counts.lease_hits),
            number(counts.lease_waits),
            milliseconds(counts.lease_wait_us),
            number(counts.kms_requests),
            number(counts.kms_failures),
            number(counts.kek_fallovers),
            few(holding),
            last_unwrap.and_then(moment),
            number(evicted),
            moment(since),
        )
    })))
}

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity, reason = "pgrx takes the columns from the signature")]
fn envelope_figures_of_kms() -> std::result::Result<
    TableIterator<
        'static,
        (
            name!(datid, Option<pg_sys::Oid>),
            name!(kek, Option<RowText>),
            name!(provider, Option<String>),
            name!(operation, Option<String>),
            name!(outcome, Option<String>),
            name!(requests, i64),
            name!(total_latency_ms, f64),
            name!(latency_buckets, Vec<i64>),
            name!(last_at, Moment),
            name!(rows_evicted, i64),
            name!(stats_reset, Moment),
        ),
    >,
    ErrorReport,
> {
    keyring::begin_statement(None);
    let rows = figures::of_kms().ok_or(Error::NeedsPreload(WHAT))?;
    Ok(TableIterator::new(rows.into_iter().map(|KmsRow { of, latency, evicted, since }| {
        let of = of.as_ref();
        (
            of.map(|of| pg_sys::Oid::from(of.database)),
            of.map(|of| RowText(of.kek.clone())),
            of.map(|of| KekUri::provider_of(&of.kek).into()),
            of.map(|of| of.operation.shown().into()),
            of.map(|of| of.outcome.shown().into()),
            number(latency.count),
            milliseconds(latency.microseconds),
            latency.buckets.map(number).to_vec(),
            of.and_then(|of| moment(of.last_at)),
            number(evicted),
            moment(since),
        )
    })))
}

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity, reason = "pgrx takes the columns from the signature")]
fn envelope_figures_of_leases() -> std::result::Result<
    TableIterator<
        'static,
        (
            name!(slots, i32),
            name!(used, i32),
            name!(ready, i32),
            name!(asked, i32),
            name!(refused, i32),
            name!(backends_unlocked, i32),
            name!(lookups, i64),
            name!(hits, i64),
            name!(waits, i64),
            name!(takeovers, i64),
            name!(evictions, i64),
            name!(table_full, i64),
            name!(stats_reset, Moment),
        ),
    >,
    ErrorReport,
> {
    keyring::begin_statement(None);
    let unlocked = figures::backends_unlocked().ok_or(Error::NeedsPreload(WHAT))?;
    let unlocked = unlocked + u64::from(leases::is_key_unlocked());
    let since = figures::since().and_then(moment);
    // Without leases all of it is zero.
    let (counts, now) = leases::figures().unwrap_or_default();
    Ok(TableIterator::once((
        few(now.slots),
        few(now.used),
        few(now.ready),
        few(now.asked),
        few(now.refused),
        few(unlocked),
        number(counts.lookups),
        number(counts.hits),
        number(counts.waits),
        number(counts.takeovers),
        number(counts.evictions),
        number(counts.full),
        since,
    )))
}

row_function!(envelope_latency_bounds_wrapper, |_| -> Result<Option<pg_sys::Datum>> {
    let bounds = figures::BOUNDS_MS.iter().map(|bound| f64::from(*bound));
    Ok(bounds.chain([f64::INFINITY]).collect::<Vec<f64>>().into_datum())
});

#[pg_extern(sql = false)]
fn envelope_stats_reset() -> std::result::Result<(), ErrorReport> {
    keyring::begin_statement(None);
    leases::reset_figures();
    if figures::reset() { Ok(()) } else { Err(Error::NeedsPreload(WHAT).into()) }
}

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity, reason = "pgrx takes the columns from the signature")]
fn envelope_health(
    ask: Option<bool>,
) -> std::result::Result<
    TableIterator<
        'static,
        (
            name!(kek, RowText),
            name!(provider, String),
            name!(in_use_by_keys, i32),
            name!(reachable, Option<bool>),
            name!(unwraps, Option<bool>),
            name!(makes_keys, Option<bool>),
            name!(last_success, Moment),
            name!(last_failure, Moment),
            name!(last_failure_class, Option<String>),
            name!(source, String),
        ),
    >,
    ErrorReport,
> {
    keyring::begin_statement(None);
    let rows = kek::health(ask.unwrap_or(false))?;
    Ok(TableIterator::new(rows.into_iter().map(|health| {
        let Health {
            kek, keys, reachable, unwraps, makes_keys, last_success, last_failure, ..
        } = health;
        (
            RowText(kek.clone()),
            KekUri::provider_of(&kek).into(),
            few(keys),
            reachable,
            unwraps,
            makes_keys,
            last_success.and_then(moment),
            last_failure.and_then(|(at, _)| moment(at)),
            last_failure.map(|(_, outcome)| outcome.shown().into()),
            if health.was_asked { "asked" } else { "memory" }.into(),
        )
    })))
}

fn number(counted: u64) -> i64 {
    i64::try_from(counted).unwrap_or(i64::MAX)
}

fn few(counted: impl TryInto<i32>) -> i32 {
    counted.try_into().unwrap_or(i32::MAX)
}

fn milliseconds(microseconds: u64) -> f64 {
    microseconds as f64 / 1000.0
}

fn moment(microseconds: i64) -> Moment {
    TimestampWithTimeZone::try_from(microseconds).ok()
}
