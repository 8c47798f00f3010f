//! Index keys.

use envelope::header::KeyId;
use pgrx::datum::Uuid;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{pg_extern, pg_sys};

use crate::adopt::index;
use crate::pg::varlena::Varlena;
use crate::sql::arguments::{given_reason, required};
use crate::sql::begin;

#[pg_extern(sql = false)]
fn envelope_rotate_index_key(
    relation: Option<pg_sys::Oid>,
    reason: Option<Varlena<'_>>,
    activate: Option<bool>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> std::result::Result<Uuid, ErrorReport> {
    begin(fcinfo);
    let reason = given_reason(reason)?;
    let (relation, activate) = (required(relation, "relation")?, required(activate, "activate")?);
    let key_id = index::rotate_key(relation, reason.as_deref(), activate)?;
    Ok(Uuid::from_bytes(key_id.0))
}

/// Of an index key, and of one that seals.
#[pg_extern(sql = false)]
fn envelope_activate_key(
    key_id: Option<Uuid>,
    reason: Option<Varlena<'_>>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> std::result::Result<(), ErrorReport> {
    begin(fcinfo);
    let reason = given_reason(reason)?;
    let key_id = required(key_id, "key_id")?;
    Ok(index::activate_key(KeyId(*key_id.as_bytes()), reason.as_deref())?)
}
