//! What arrives by logical replication.

#![allow(clippy::result_large_err, reason = "pgrx keeps the SQLSTATE of an ErrorReport alone")]

use envelope::header::KeyId;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{pg_extern, pg_sys};

use crate::error::{Error, Result};
use crate::pg::datum;
use crate::pg::trigger::TriggerCall;

/// Trigger before an update that makes a data key's row another key's. pglogical and others do so when an
/// insert that arrives meets another key of the same version: two nodes have rotated, and the values of one
/// would be lost. Refused, the replication stops instead.
#[pg_extern(sql = false)]
fn envelope_keep_identity(
    fcinfo: pg_sys::FunctionCallInfo,
) -> std::result::Result<(), ErrorReport> {
    let row = row_trigger(fcinfo)?;
    let (column, _) = row.column(c"key_id").ok_or_else(misused)?;
    // SAFETY: the column is of type uuid, and neither row has NULL there.
    let key_id = |datum| KeyId(unsafe { datum::uuid_bytes(datum) });
    let key = row.old_value(column).map(key_id).ok_or_else(misused)?;
    let other = row.new_row().value(column).map(key_id).ok_or_else(misused)?;
    Err(Error::KeyReplaced { key, other }.into())
}

fn row_trigger<'a>(fcinfo: pg_sys::FunctionCallInfo) -> Result<TriggerCall<'a>> {
    // SAFETY: the call's own information, which outlives the call.
    let call = unsafe { TriggerCall::from_fcinfo(fcinfo) };
    call.filter(TriggerCall::is_for_row).ok_or_else(misused)
}

fn misused() -> Error {
    Error::Corrupt("a trigger of the catalog stands where it does not belong".into())
}
