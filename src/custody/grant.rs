//! Giving rights on a table's keys, taking them back, asking for them.

use std::ffi::CStr;

use pgrx::pg_sys;
use uuid::Uuid;

use crate::audit::{self, Action};
use crate::catalog::rows::Verb;
use crate::catalog::write::{self, events};
use crate::error::{Error, Result};
use crate::keyring;
use crate::keyring::{rights, table};
use crate::pg::relation::{self, Kind};
use crate::pg::{acl, encoding};
use crate::settings;

/// PostgreSQL's name for everybody; no role can bear it.
const PUBLIC: &CStr = c"public";

/// Lets `role` do `verbs` with the keys of `relation`, on the keyring that it seals with (a
/// partition's root's) and, of a partition, on the one that it sealed with before it was attached:
/// as far as the current role may manage them.
pub fn grant(relation: pg_sys::Oid, role: &CStr, verbs: &str) -> Result<()> {
    change(relation, role, verbs, Action::Grant, write::insert_grant)
}

/// Takes them from `role`. What it has by membership or as owner stays.
pub fn revoke(relation: pg_sys::Oid, role: &CStr, verbs: &str) -> Result<()> {
    change(relation, role, verbs, Action::Revoke, write::delete_grant)
}

fn change(
    relation: pg_sys::Oid,
    role: &CStr,
    verbs: &str,
    action: Action,
    write_one: impl Fn(Uuid, pg_sys::Oid, Verb) -> Result<()>,
) -> Result<()> {
    settings::check_unplanted()?;
    let mut locked = table::get(relation)?.managed_keyrings()?;
    let verbs = rights::verbs(verbs)?;
    let grantee = grantee(role)?;
    locked.sort_unstable();
    for keyring_id in &locked {
        write::lock_keyring(*keyring_id, true)?;
    }
    // Who could, until another transaction took the right back, cannot any more.
    keyring::look_again();
    let table = table::get(relation)?;
    let mut keyrings = table.managed_keyrings()?;
    keyrings.retain(|keyring_id| locked.contains(keyring_id));
    if keyrings.is_empty() {
        return Err(table.no_key());
    }
    for keyring_id in keyrings {
        // A role's OID may be another role's some day, and DROP ROLE tells nobody. So what a gone
        // role has left goes whenever the keyring's rights change.
        write::delete_grants_to_nobody(keyring_id)?;
        for verb in &verbs {
            write_one(keyring_id, grantee, *verb)?;
            events::tell(action, |event| {
                event.table = Some(table.name());
                event.keyring_id = audit::keyring(keyring_id);
                event.grantee = audit::role(grantee);
                event.verb = Some(verb.name());
            })?;
        }
    }
    keyring::look_again();
    Ok(())
}

fn grantee(role: &CStr) -> Result<pg_sys::Oid> {
    if role == PUBLIC {
        return Err(Error::PublicGrantee);
    }
    role_called(role)
}

/// The role of that name; 42704 when there is none.
fn role_called(role: &CStr) -> Result<pg_sys::Oid> {
    let missing = || Error::NoRole(encoding::to_string(role.to_bytes()));
    acl::role_called(role).ok_or_else(missing)
}

/// Whose rights are asked for.
pub enum Who<'a> {
    Current,
    Named(&'a CStr),
    Numbered(pg_sys::Oid),
}

/// Whether a role may do one of `verbs` with the keys of `relation`; `None` when the relation is
/// gone. PUBLIC may do nothing, and so may a role that is gone.
pub fn has_privilege(who: &Who<'_>, relation: pg_sys::Oid, verbs: &str) -> Result<Option<bool>> {
    let verbs = rights::verbs(verbs)?;
    let role = match who {
        Who::Current => acl::current_role(),
        Who::Named(name) if *name == PUBLIC => pg_sys::InvalidOid,
        Who::Named(name) => role_called(name)?,
        Who::Numbered(role) => *role,
    };
    if relation::kind(relation) == Kind::Missing {
        return Ok(None);
    }
    if !acl::role_exists(role) {
        return Ok(Some(false));
    }
    let table = table::as_seen_by(relation, role)?;
    Ok(Some(verbs.into_iter().any(|verb| table.allows(verb))))
}
