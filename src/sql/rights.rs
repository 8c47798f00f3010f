//! Rights on keys: giving, taking, asking.

use std::ffi::CStr;

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{pg_extern, pg_sys};

use crate::custody::{self, Who};
use crate::error::Result;
use crate::pg::varlena::Varlena;
use crate::sql::arguments::{bounded_text, required};
use crate::sql::begin;

type Answer = std::result::Result<Option<bool>, ErrorReport>;

/// Bytes of a list of verbs: all of them, and much space between.
const LONGEST_VERBS: usize = 256;

// A `name` datum points to its bytes, ended by a zero, as a cstring does.

#[pg_extern(sql = false)]
fn envelope_grant_key(
    relation: Option<pg_sys::Oid>,
    role: Option<&CStr>,
    verb: Option<Varlena<'_>>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> std::result::Result<(), ErrorReport> {
    Ok(change(relation, role, verb, fcinfo, custody::grant)?)
}

#[pg_extern(sql = false)]
fn envelope_revoke_key(
    relation: Option<pg_sys::Oid>,
    role: Option<&CStr>,
    verb: Option<Varlena<'_>>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> std::result::Result<(), ErrorReport> {
    Ok(change(relation, role, verb, fcinfo, custody::revoke)?)
}

fn change(
    relation: Option<pg_sys::Oid>,
    role: Option<&CStr>,
    verb: Option<Varlena<'_>>,
    fcinfo: pg_sys::FunctionCallInfo,
    apply: impl Fn(pg_sys::Oid, &CStr, &str) -> Result<()>,
) -> Result<()> {
    begin(fcinfo);
    let (relation, role) = (required(relation, "relation")?, required(role, "role")?);
    apply(relation, role, &verbs_text(&required(verb, "verb")?)?)
}

#[pg_extern(sql = false)]
fn envelope_has_key_privilege(
    relation: pg_sys::Oid,
    verb: Varlena<'_>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Answer {
    has_privilege(&Who::Current, relation, &verb, fcinfo)
}

#[pg_extern(sql = false)]
fn envelope_has_key_privilege_by_name(
    role: &CStr,
    relation: pg_sys::Oid,
    verb: Varlena<'_>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Answer {
    has_privilege(&Who::Named(role), relation, &verb, fcinfo)
}

#[pg_extern(sql = false)]
fn envelope_has_key_privilege_by_oid(
    role: pg_sys::Oid,
    relation: pg_sys::Oid,
    verb: Varlena<'_>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Answer {
    has_privilege(&Who::Numbered(role), relation, &verb, fcinfo)
}

fn has_privilege(
    who: &Who<'_>,
    relation: pg_sys::Oid,
    verb: &[u8],
    fcinfo: pg_sys::FunctionCallInfo,
) -> Answer {
    begin(fcinfo);
    Ok(custody::has_privilege(who, relation, &verbs_text(verb)?)?)
}

/// Any role may ask, and what is too long for Rust's memory ends the server, not the statement.
fn verbs_text(verbs: &[u8]) -> Result<String> {
    bounded_text(verbs, "verb", LONGEST_VERBS)
}
