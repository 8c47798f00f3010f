//! Rows of the catalog that hang on nothing, and triggers that are not what they were: what no
//! foreign key watches over, so that a restore can load the tables in any order.

use std::collections::HashSet;

use envelope::header::KeyId;
use pgrx::pg_sys;
use uuid::Uuid;

use super::survey::is_managed;
use super::{Finding, Outcome};
use crate::catalog::rows::State;
use crate::catalog::{self, whole};
use crate::error::{Error, Result};
use crate::keyring::users;
use crate::pg::{acl, enabled, encoding, owner, relation};

/// Links to a keyring that is not there, as far as the current role may know of their tables, and
/// for superusers links to a table that went unseen.
pub fn of_links(known: &HashSet<Uuid>) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for link in whole::keyring_tables()? {
        let table = users::living_table(&link);
        let broken = if !known.contains(&link.keyring_id) {
            format!("keyring {}, which the table uses, is not there", link.keyring_id)
        } else if table.is_none() && link.relation != pg_sys::InvalidOid {
            "the table was dropped unseen: an UPDATE of envelope.keyring_table must let go of it"
                .into()
        } else {
            continue;
        };
        if acl::is_superuser() || is_managed(&link) {
            findings.push(Finding {
                table: table.map(relation::display_name),
                keyring_id: Some(link.keyring_id),
                gone: Some(link.relation),
                outcome: Outcome::Broken(Error::Corrupt(broken)),
                ..Finding::default()
            });
        }
    }
    Ok(findings)
}

/// Data keys and wraps that belong to nothing, and so to no table and no owner.
pub fn strays(known: &HashSet<Uuid>) -> Result<Vec<Finding>> {
    let stray = |keyring_id, key_id: KeyId, kek, what: &str| {
        let broken = Error::Corrupt(format!("the {what} of data key {key_id} is not there"));
        let outcome = Outcome::Broken(broken);
        Finding { keyring_id, key_id: Some(key_id), kek, outcome, ..Finding::default() }
    };
    let keys = whole::data_keys()?;
    let mut findings = Vec::new();
    // What is left of a forgotten keyring is meant to be left.
    let living = keys.iter().filter(|key| key.state != State::Destroyed);
    for key in living.filter(|key| !known.contains(&key.keyring_id)) {
        findings.push(stray(Some(key.keyring_id), key.key_id, None, "keyring"));
    }
    let keys: HashSet<KeyId> = keys.into_iter().map(|key| key.key_id).collect();
    for (key_id, kek) in whole::wraps()?.into_iter().filter(|(key_id, _)| !keys.contains(key_id)) {
        findings.push(stray(None, key_id, Some(kek), "row"));
    }
    Ok(findings)
}

/// Tables of the catalog that are not the schema's owner's, as whom the extension writes: what writes to
/// them fails.
pub fn of_owners() -> Result<Vec<Finding>> {
    let Some(owner) = owner::schema_owner(catalog::schema()?) else { return Ok(Vec::new()) };
    let mut findings = Vec::new();
    for table in catalog::tables() {
        // One that an older catalog lacks is told of with the triggers.
        let Ok(relation) = catalog::oid_of(table) else { continue };
        if relation::owner(relation).is_none_or(|its| its == owner) {
            continue;
        }
        let table = format!("envelope.{}", table.to_string_lossy());
        let Some(owner) = acl::quoted_role(owner) else { continue };
        let owner = encoding::to_string(owner.to_bytes());
        let outcome = Outcome::Broken(Error::Corrupt(format!(
            "the table is not its schema's owner's, as whom the extension writes: ALTER TABLE {table} \
             OWNER TO {owner}"
        )));
        findings.push(Finding { table: Some(table), outcome, ..Finding::default() });
    }
    Ok(findings)
}

/// Triggers that are missing or do not fire always: those by which sessions learn of a change
/// and by which others are kept out (`pg_restore --disable-triggers` leaves them ordinary ones), and
/// the one that keeps what is dropped.
pub fn of_triggers() -> Result<Vec<Finding>> {
    // An older catalog has the triggers of its own release.
    if let Some(error) = catalog::tables().find_map(|table| catalog::oid_of(table).err()) {
        return Ok(vec![Finding { outcome: Outcome::Broken(error), ..Finding::default() }]);
    }
    let mut findings = Vec::new();
    let mut add = |table: Option<String>, broken: String| {
        let outcome = Outcome::Broken(Error::Corrupt(broken));
        findings.push(Finding { table, outcome, ..Finding::default() });
    };
    let unseen = "sessions do not learn of every change";
    let of_each = [
        (c"invalidate", unseen),
        (c"invalidate_truncate", unseen),
        (c"keep_out_before", catalog::KEPT_OUT),
    ];
    let of_tables = catalog::TABLES
        .into_iter()
        .chain(catalog::LATER_TABLES)
        .flat_map(|table| of_each.map(|(trigger, what)| (table, trigger, what)));
    for (table, trigger, what) in of_tables.chain(catalog::TRIGGERS) {
        if !enabled::trigger_fires_always(catalog::oid_of(table)?, trigger) {
            let (name, trigger) = (table.to_string_lossy(), trigger.to_string_lossy());
            add(
                Some(format!("envelope.{name}")),
                format!("{what}: ALTER TABLE envelope.{name} ENABLE ALWAYS TRIGGER {trigger}"),
            );
        }
    }
    if !enabled::event_trigger_fires_always(catalog::DROPS) {
        let name = catalog::DROPS.to_string_lossy();
        add(None, format!("drops may go unseen: ALTER EVENT TRIGGER {name} ENABLE ALWAYS"));
    }
    Ok(findings)
}
