//! Keyrings of dropped, copied and moved tables.

use pgrx::datum::Uuid;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{pg_extern, pg_sys};

use crate::adopt::policy;
use crate::custody::{self, How, Resolve};
use crate::error::{Error, Result};
use crate::pg::json::Jsonb;
use crate::pg::varlena::Varlena;
use crate::sql::arguments::{required, too_long};
use crate::sql::begin;

type Answer<T> = std::result::Result<T, ErrorReport>;

#[pg_extern(sql = false)]
fn envelope_adopt_keyring(
    keyring_id: Option<Uuid>,
    relation: Option<pg_sys::Oid>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Answer<()> {
    begin(fcinfo);
    let keyring_id = required(keyring_id, "keyring_id")?;
    let keyring_id = uuid::Uuid::from_bytes(*keyring_id.as_bytes());
    Ok(custody::adopt(keyring_id, required(relation, "relation")?)?)
}

#[pg_extern(sql = false)]
fn envelope_share_keyring(
    from_relation: Option<pg_sys::Oid>,
    to_relation: Option<pg_sys::Oid>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Answer<()> {
    begin(fcinfo);
    let from = required(from_relation, "from_relation")?;
    Ok(custody::share(from, required(to_relation, "to_relation")?)?)
}

#[pg_extern(sql = false)]
fn envelope_unshare_keyring(
    from_relation: Option<pg_sys::Oid>,
    to_relation: Option<pg_sys::Oid>,
    force: Option<bool>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Answer<()> {
    begin(fcinfo);
    let from = required(from_relation, "from_relation")?;
    let to = required(to_relation, "to_relation")?;
    Ok(custody::unshare(from, to, required(force, "force")?)?)
}

#[pg_extern(sql = false)]
fn envelope_export_keyring(
    relation: Option<pg_sys::Oid>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Answer<Jsonb> {
    begin(fcinfo);
    let json = custody::export(required(relation, "relation")?)?;
    let jsonb =
        Jsonb::from_text(&json).map_err(|_| Error::Untranslatable("a name in the keyring"))?;
    Ok(jsonb)
}

#[pg_extern(sql = false)]
fn envelope_take_keyring(
    keyring: Option<Jsonb>,
    relation: Option<pg_sys::Oid>,
    follow: Option<bool>,
    grants: Option<bool>,
    resolve: Option<Varlena<'_>>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Answer<Uuid> {
    begin(fcinfo);
    let how = How {
        follows: required(follow, "follow")?,
        brings_grants: required(grants, "grants")?,
        resolve: resolution(&required(resolve, "resolve")?)?,
    };
    Ok(import(keyring, relation, how)?)
}

/// As every release has it.
pub(super) fn import(
    keyring: Option<Jsonb>,
    relation: Option<pg_sys::Oid>,
    how: How,
) -> Result<Uuid> {
    let longest = custody::longest_import();
    let json = required(keyring, "keyring")?;
    let json = json.text(longest).ok_or_else(|| too_long("a keyring", longest))?;
    let keyring_id = custody::import(&json, relation, how)?;
    Ok(Uuid::from_bytes(*keyring_id.as_bytes()))
}

fn resolution(name: &[u8]) -> Result<Resolve> {
    match name {
        b"error" => Ok(Resolve::Refuse),
        b"keep-both" => Ok(Resolve::KeepBoth),
        _ => Err(Error::BadArgument("resolve must be error or keep-both".into())),
    }
}

/// Event trigger before commands that may drop tables, or change their columns. Most of its work is done by then: to
/// call it PostgreSQL has loaded the library, which watches what is dropped and changed.
#[pg_extern(sql = false)]
fn envelope_watch_drops(fcinfo: pg_sys::FunctionCallInfo) -> Answer<()> {
    // SAFETY: the call's own information.
    Ok(unsafe { policy::before_command(fcinfo) }?)
}
