//! Whether every data key can be had from here: after a restore, a move, a change of rights.

use envelope::header::KeyId;
use pgrx::pg_sys;
use uuid::Uuid;

use crate::catalog::rows::{self, DataKeyRow, Purpose, State};
use crate::error::{Error, Result};
use crate::keyring::{kek, unwrap};
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
/// keyring; for the keyrings of tables that the current role owns, and all for superusers. One
/// failure does not keep the next from being looked at.
pub fn check_all() -> Result<Vec<Finding>> {
    settings::check_unplanted()?;
    let mut findings = Vec::new();
    for (keyring_id, last_seen) in rows::keyrings()? {
        let sealing = rows::tables_of(keyring_id)?.into_iter().find(|(_, seals)| *seals);
        let table = sealing.map(|(table, _)| table);
        if is_mine(table) {
            let name = table.map_or(last_seen, relation::display_name);
            check_keyring(keyring_id, &name, &mut findings)?;
        }
    }
    Ok(findings)
}

fn is_mine(table: Option<pg_sys::Oid>) -> bool {
    acl::is_superuser()
        || table.is_some_and(|table| {
            relation::kind(table) != relation::Kind::Missing
                && acl::owns_relation(acl::current_role(), table)
        })
}

fn check_keyring(keyring_id: Uuid, table: &str, findings: &mut Vec<Finding>) -> Result<()> {
    let keys = rows::data_keys(keyring_id)?;
    let mut add = |key_id, kek, outcome| {
        findings.push(Finding { table: table.to_string(), keyring_id, key_id, kek, outcome });
    };
    let is_active = |key: &DataKeyRow| key.purpose == Purpose::Seal && key.state == State::Active;
    let is_shredded = !keys.is_empty() && keys.iter().all(|key| key.state == State::Destroyed);
    if !is_shredded && !keys.iter().any(is_active) {
        add(None, None, Err(Error::Corrupt("the keyring has no active key".into())));
    }
    for key in keys {
        let wraps = rows::wrapped_keys(key.key_id)?;
        if key.state == State::Destroyed {
            for wrap in wraps {
                let back = format!("destroyed data key {} has a wrapped key again", key.key_id);
                add(Some(key.key_id), Some(wrap.kek), Err(Error::Corrupt(back)));
            }
            continue;
        }
        if wraps.is_empty() {
            let lost = format!("data key {} has no wrapped key", key.key_id);
            add(Some(key.key_id), None, Err(Error::Corrupt(lost)));
        }
        for wrap in wraps {
            let failed = || format!("unwrap data key {} of table {table}", key.key_id);
            let outcome = unwrap::ask(key.key_id, &wrap)
                .map(|_| ())
                .map_err(|error| kek::kms_error(error, failed()));
            add(Some(key.key_id), Some(wrap.kek), outcome);
        }
    }
    Ok(())
}
