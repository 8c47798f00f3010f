//! Whether every data key can be had from here: after a restore, a move, a change of rights.

use envelope::header::KeyId;
use pgrx::pg_sys;
use uuid::Uuid;

use crate::catalog::rows::{self, DataKeyRow, State};
use crate::error::{Error, Result};
use crate::keyring::limits::OwnLimits;
use crate::keyring::{kek, unwrap, wear};
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
            if table.is_some() {
                findings.extend(past_cryptoperiod(keyring_id, &name)?);
            }
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
    if !keys.iter().any(DataKeyRow::seals) {
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
            let outcome = unwrap::ask(key.key_id, &wrap)
                .map(|_| ())
                .map_err(|error| kek::kms_error(error, failed()));
            add(Some(key.key_id), Some(wrap.kek), outcome);
        }
    }
    Ok(())
}

/// What is to be said of a keyring whose active key has been sealing for too long.
fn past_cryptoperiod(keyring_id: Uuid, table: &str) -> Result<Option<Finding>> {
    let limits = rows::keyring(keyring_id)?.map(|keyring| OwnLimits::stored(&keyring.limits));
    let active = rows::data_keys(keyring_id)?.into_iter().find(DataKeyRow::seals);
    let (Some(seconds), Some(key)) = (limits.unwrap_or_default().cryptoperiod(), active) else {
        return Ok(None);
    };
    let table = table.to_string();
    Ok(wear::days_beyond(key.key_id, seconds)?.map(|days| {
        let overdue = Error::PastCryptoperiod { key: key.key_id, table: table.clone(), days };
        let (key_id, kek) = (Some(key.key_id), None);
        Finding { table, keyring_id, key_id, kek, outcome: Err(overdue) }
    }))
}
