//! Rights on keys that travel, by the names of roles.

use std::collections::BTreeSet;
use std::ffi::CString;

use pgrx::pg_sys;
use uuid::Uuid;

use crate::audit::{self, Action};
use crate::catalog::rows::{self, Verb};
use crate::catalog::write::{self, events};
use crate::custody::transfer::document::TransferredKeyring;
use crate::error::Result;
use crate::pg::{acl, encoding, report};

/// What roles that are there were granted on a keyring, always in one order.
pub fn read(keyring_id: Uuid) -> Result<Vec<(String, Verb)>> {
    let grants = rows::grants(keyring_id)?.into_iter();
    let living = grants.filter(|(grantee, _)| acl::role_exists(*grantee));
    let mut named: Vec<_> =
        living.map(|(grantee, verb)| (acl::display_role(grantee), verb)).collect();
    named.sort_by_key(|(role, verb)| (role.clone(), verb.name()));
    Ok(named)
}

/// Gives what `imported` has beyond what is here; `table` is for the log. A WARNING names roles that are missing.
/// The keyring's lock is held.
pub fn bring(imported: &TransferredKeyring, table: &str) -> Result<()> {
    if imported.grants.is_empty() {
        return Ok(());
    }
    // As where rights are given one by one: a role's OID may be another role's some day.
    write::delete_grants_to_nobody(imported.id)?;
    let here = rows::grants(imported.id)?;
    let mut missing = BTreeSet::new();
    for (name, verb) in &imported.grants {
        let Some(grantee) = role_called(name) else {
            missing.insert(name.as_str());
            continue;
        };
        if here.contains(&(grantee, *verb)) {
            continue;
        }
        write::insert_grant(imported.id, grantee, *verb)?;
        events::tell(Action::Grant, |event| {
            event.table = Some(table.to_string());
            event.keyring_id = audit::keyring(imported.id);
            event.grantee = audit::role(grantee);
            event.verb = Some(verb.name());
        })?;
    }
    for role in missing {
        report::warning(
            format!(
                "role \"{role}\" does not exist, and has no rights on the keys of keyring {}",
                imported.id
            ),
            "Make it, and import again, or grant it what it needs: envelope.grant_key.",
        );
    }
    Ok(())
}

/// The role of that name, if there is one.
pub fn role_called(name: &str) -> Option<pg_sys::Oid> {
    let name = encoding::from_utf8(name.as_bytes()).ok()?;
    acl::role_called(&CString::new(&*name).ok()?)
}
