//! The end of keys: retiring, destroying, shredding.

use envelope::header::KeyId;
use pgrx::datum::Uuid;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{pg_extern, pg_sys};

use crate::error::{Error, Result};
use crate::life;
use crate::pg::varlena::Varlena;
use crate::sql::admin::bounded_text;
use crate::sql::{begin, required};

type Done = std::result::Result<(), ErrorReport>;

/// Bytes of a reason: a sentence or two, and a ticket's number.
const LONGEST_REASON: usize = 4096;

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

/// A reason that may be left out.
pub(super) fn given_reason(reason: Option<Varlena<'_>>) -> Result<Option<String>> {
    reason.map(|reason| reason_text(&reason)).transpose()
}

/// What will stand in the catalog for years must say something.
fn reason_text(reason: &[u8]) -> Result<String> {
    let reason = bounded_text(reason, "reason", LONGEST_REASON)?;
    if reason.trim().is_empty() {
        return Err(Error::BadArgument("reason must not be empty".into()));
    }
    Ok(reason)
}
