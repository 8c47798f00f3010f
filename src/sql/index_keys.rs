//! Index keys.

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
    fcinfo: pg_sys::FunctionCallInfo,
) -> std::result::Result<Uuid, ErrorReport> {
    begin(fcinfo);
    let reason = given_reason(reason)?;
    let key_id = index::rotate_key(required(relation, "relation")?, reason.as_deref())?;
    Ok(Uuid::from_bytes(key_id.0))
}
