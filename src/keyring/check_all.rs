//! Whether every data key can be had from here: after a restore, a move, a change of rights.

use envelope::header::KeyId;
use pgrx::pg_sys;
use uuid::Uuid;

use crate::audit::{self, Action};
use crate::catalog::rows::{self, DataKeyRow, Purpose, State, Verb};
use crate::error::{Error, Result};
use crate::keyring::{kek, rights, unwrap};
use crate::pg::{acl, relation};
use crate::settings;

/// One thing that was looked at, and how it went.
pub struct Finding {
    /// The table that seals with the keyring, or that did as last seen.
    pub table: String,
    pub keyring_id: Uuid,
    pub key_id: Option<KeyId>,
    pub kek: Option<String>,
    pub outcome: Result<()>,
}

/// A finding for every wrapped key, unwrapped past the cache and compared, and for every break in a
/// keyring; for the keyrings that the current role may manage, and all for superusers. One
/// failure does not keep the next from being looked at.
pub fn check_all() -> Result<Vec<Finding>> {
    settings::check_unplanted()?;
    let mut findings = Vec::new();
    for (keyring_id, last_seen) in rows::keyrings()? {
        let sealing = rows::tables_of(keyring_id)?.into_iter().find(|(_, seals)| *seals);
        let table = sealing.map(|(table, _)| table);
        if is_mine(keyring_id, table)? {
            let name = table.map_or(last_seen, relation::display_name);
            if table.is_some() {
                check_grants(keyring_id, &name, &mut findings)?;
            }
            check_keyring(keyring_id, &name, &mut findings)?;
        }
    }
    audit::log(Action::Check, |event| event.count = Some(findings.len() as u64));
    Ok(findings)
}

fn is_mine(keyring_id: Uuid, table: Option<pg_sys::Oid>) -> Result<bool> {
    let role = acl::current_role();
    let owns =
        |table| relation::kind(table) != relation::Kind::Missing && acl::owns_relation(role, table);
    Ok(acl::is_superuser()
        || table.is_some_and(owns)
        || rights::granted(role, keyring_id)?.allow(Verb::Manage))
}

/// Grants that DROP ROLE has left, or a restore where the role is missing. While no table uses the
/// keyring nobody could use or change them either.
fn check_grants(keyring_id: Uuid, table: &str, findings: &mut Vec<Finding>) -> Result<()> {
    for (grantee, verb) in rows::grants(keyring_id)? {
        if !acl::role_exists(grantee) {
            let outcome = Err(Error::GoneGrantee(verb.name()));
            let table = table.to_string();
            findings.push(Finding { table, keyring_id, key_id: None, kek: None, outcome });
        }
    }
    Ok(())
}

fn check_keyring(keyring_id: Uuid, table: &str, findings: &mut Vec<Finding>) -> Result<()> {
    let keys = rows::data_keys(keyring_id)?;
    let mut add = |key_id, kek, outcome| {
        findings.push(Finding { table: table.to_string(), keyring_id, key_id, kek, outcome });
    };
    let is_active = |key: &DataKeyRow| key.purpose == Purpose::Seal && key.state == State::Active;
    if !keys.iter().any(is_active) {
        add(None, None, Err(Error::Corrupt("the keyring has no active key".into())));
    }
    for key in keys.iter().filter(|key| key.state != State::Destroyed) {
        let wraps = rows::wrapped_keys(key.key_id)?;
        if wraps.is_empty() {
            let lost = format!("data key {} has no wrapped key", key.key_id);
            add(Some(key.key_id), None, Err(Error::Corrupt(lost)));
        }
        for wrap in wraps {
            let failed = || format!("unwrap data key {} of table {table}", key.key_id);
            let outcome = unwrap::ask(key.key_id, &wrap, table)
                .map(|_| ())
                .map_err(|error| kek::kms_error(error, failed()));
            add(Some(key.key_id), Some(wrap.kek), outcome);
        }
    }
    Ok(())
}
