//! What arrives by logical replication: triggers of the catalog's tables that tell it by the session's
//! replication origin. What this extension's own functions write is its own, also in a session that
//! has an origin.

#![allow(clippy::result_large_err, reason = "pgrx keeps the SQLSTATE of an ErrorReport alone")]

use envelope::header::KeyId;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{pg_extern, pg_sys};
use uuid::Uuid;

use crate::catalog::write::followed;
use crate::error::{Error, Result};
use crate::pg::call::row_function;
use crate::pg::trigger::TriggerCall;
use crate::pg::{datum, origin, owner};

/// Whether the row at hand was brought by replication.
fn arrives() -> bool {
    origin::is_set() && !owner::is_acting()
}

// Trigger before each row of a table that means nothing elsewhere: leaves out what arrives.
row_function!(envelope_stay_local_wrapper, |fcinfo| -> Result<Option<pg_sys::Datum>> {
    let row = row_trigger(fcinfo)?;
    // A null pointer that is not NULL is how a trigger leaves out its row.
    Ok(Some(if arrives() { pg_sys::Datum::null() } else { row.new_row().into_datum() }))
});

/// Trigger before an update that makes a data key's row another key's. pglogical and others do so when an
/// insert that arrives meets another key of the same version: two nodes have rotated, and the values of one
/// would be lost. Refused, the replication stops instead.
#[pg_extern(sql = false)]
fn envelope_keep_identity(
    fcinfo: pg_sys::FunctionCallInfo,
) -> std::result::Result<(), ErrorReport> {
    let (key, other) = key_ids(&row_trigger(fcinfo)?)?;
    Err(Error::KeyReplaced { key, other }.into())
}

/// Trigger before an update that takes the destruction of a data key back, here or by what arrives from a
/// node that still has it.
#[pg_extern(sql = false)]
fn envelope_keep_destroyed(
    fcinfo: pg_sys::FunctionCallInfo,
) -> std::result::Result<(), ErrorReport> {
    let (key, _) = key_ids(&row_trigger(fcinfo)?)?;
    Err(Error::KeyRevived(key).into())
}

/// Trigger after the insert of a data key: notes that its keyring comes from elsewhere, when it arrived.
#[pg_extern(sql = false)]
fn envelope_follow(fcinfo: pg_sys::FunctionCallInfo) -> std::result::Result<(), ErrorReport> {
    if !arrives() {
        return Ok(());
    }
    let row = row_trigger(fcinfo)?;
    let (column, _) = row.column(c"keyring_id").ok_or_else(misused)?;
    if let (Some(keyring_id), Some(origin)) = (row.new_row().value(column), origin::name()) {
        // SAFETY: a non-null value of a column of type uuid.
        let keyring_id = Uuid::from_bytes(unsafe { datum::uuid_bytes(keyring_id) });
        followed::mark(keyring_id, &origin)?;
    }
    Ok(())
}

/// Which data key's row is written over, and which one's is to stand there.
fn key_ids(row: &TriggerCall<'_>) -> Result<(KeyId, KeyId)> {
    let (column, _) = row.column(c"key_id").ok_or_else(misused)?;
    // SAFETY: the column is of type uuid, and neither row has NULL there.
    let key_id = |datum| KeyId(unsafe { datum::uuid_bytes(datum) });
    let old = row.old_value(column).map(key_id).ok_or_else(misused)?;
    let new = row.new_row().value(column).map(key_id).ok_or_else(misused)?;
    Ok((old, new))
}

fn row_trigger<'a>(fcinfo: pg_sys::FunctionCallInfo) -> Result<TriggerCall<'a>> {
    // SAFETY: the call's own information, which outlives the call.
    let call = unsafe { TriggerCall::from_fcinfo(fcinfo) };
    call.filter(TriggerCall::is_for_row).ok_or_else(misused)
}

fn misused() -> Error {
    Error::Corrupt("a trigger of the catalog stands where it does not belong".into())
}
