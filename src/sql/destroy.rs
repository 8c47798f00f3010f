//! The end of keys: retiring, destroying, shredding.

use envelope::header::KeyId;
use pgrx::datum::Uuid;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{pg_extern, pg_sys};

use crate::error::Result;
use crate::life;
use crate::pg::varlena::Varlena;
use crate::sql::arguments::{given_reason, reason_text, required};
use crate::sql::begin;

type Done = std::result::Result<(), ErrorReport>;

#[pg_extern(sql = false)]
fn envelope_retire_key(
    key_id: Option<Uuid>,
    reason: Option<Varlena<'_>>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Done {
    begin(fcinfo);
    let reason = given_reason(reason)?;
    Ok(life::retire_key(parsed(key_id)?, reason.as_deref())?)
}

#[pg_extern(sql = false)]
fn envelope_unretire_key(
    key_id: Option<Uuid>,
    reason: Option<Varlena<'_>>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Done {
    begin(fcinfo);
    let reason = given_reason(reason)?;
    Ok(life::unretire_key(parsed(key_id)?, reason.as_deref())?)
}

#[pg_extern(sql = false)]
fn envelope_destroy_key(
    key_id: Option<Uuid>,
    reason: Option<Varlena<'_>>,
    shred: Option<bool>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Done {
    begin(fcinfo);
    let reason = reason_text(&required(reason, "reason")?)?;
    Ok(life::destroy_key(parsed(key_id)?, &reason, required(shred, "shred")?)?)
}

#[pg_extern(sql = false)]
fn envelope_forget_keyring(
    keyring_id: Option<Uuid>,
    reason: Option<Varlena<'_>>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Done {
    begin(fcinfo);
    let keyring_id = required(keyring_id, "keyring_id")?;
    let reason = given_reason(reason)?;
    let keyring_id = uuid::Uuid::from_bytes(*keyring_id.as_bytes());
    Ok(life::forget_keyring(keyring_id, reason.as_deref())?)
}

#[pg_extern(sql = false)]
fn envelope_shred(
    relation: Option<pg_sys::Oid>,
    reason: Option<Varlena<'_>>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> std::result::Result<i32, ErrorReport> {
    begin(fcinfo);
    let reason = reason_text(&required(reason, "reason")?)?;
    let destroyed = life::shred(required(relation, "relation")?, &reason)?;
    Ok(i32::try_from(destroyed).unwrap_or(i32::MAX))
}

fn parsed(key_id: Option<Uuid>) -> Result<KeyId> {
    Ok(KeyId(*required(key_id, "key_id")?.as_bytes()))
}
