//! What the catalog says at one moment: the keyrings, their keys and wraps, and what is broken among
//! them.

use envelope::header::KeyId;
use pgrx::pg_sys;
use uuid::Uuid;

use super::{Finding, Outcome, breaks};
use crate::catalog::rows::{self, DataKeyRow, KeyringTable, State, Verb, WrappedKey};
use crate::catalog::whole::{self, NamedKeyring};
use crate::catalog::{self};
use crate::custody::followed::{self, Brought};
use crate::error::{Error, Result};
use crate::keyring;
use crate::keyring::users;
use crate::keyring::{rights, table, wear};
use crate::memory::OwnLimits;
use crate::pg::{acl, relation};

/// What a survey has come upon.
pub enum Item {
    Found(Finding),
    Wrap(Box<Wrap>),
}

/// A wrapped key that the KMS is to be asked about.
pub struct Wrap {
    pub table: String,
    pub keyring_id: Uuid,
    pub key_id: KeyId,
    pub wrap: WrappedKey,
    /// The KEKs of all of the key's wraps.
    pub keks: Vec<String>,
    /// Whether new values are sealed under the key.
    pub seals: bool,
}

/// A survey whose breaks are real: a second one, of a later moment, has found them, too. The first may
/// have met a table that was being dropped: the catalog's row is of one moment, what PostgreSQL's own
/// caches say of the table is of another.
pub fn confirmed() -> Result<Vec<Item>> {
    let is_broken = |item: &Item| matches!(item, Item::Found(finding) if finding.is_broken());
    let first = take()?;
    if !first.iter().any(is_broken) {
        return Ok(first);
    }
    let was_broken = |finding: &Finding| {
        let said = |item: &Item| matches!(item, Item::Found(before) if before.says_as(finding));
        first.iter().any(said)
    };
    let mut second = take()?;
    second.retain(
        |item| !matches!(item, Item::Found(finding) if finding.is_broken() && !was_broken(finding)),
    );
    Ok(second)
}

fn take() -> Result<Vec<Item>> {
    // What is kept of the catalog from here on may be older than what the caches have been told of.
    keyring::mark_stale();
    catalog::at_one_moment(|| {
        let mut items = Vec::new();
        let mut keyrings = whole::keyrings()?;
        keyrings.sort_by(|one, other| one.table_name.cmp(&other.table_name));
        for keyring in &keyrings {
            let links = rows::tables_of(keyring.id)?;
            if acl::is_superuser() || links.iter().any(is_managed) || is_granted(keyring.id)? {
                survey_keyring(keyring, &links, &mut items);
            }
        }
        let known = keyrings.iter().map(|keyring| keyring.id).collect();
        items.extend(breaks::of_links(&known)?.into_iter().map(Item::Found));
        if acl::is_superuser() {
            items.extend(breaks::strays(&known)?.into_iter().map(Item::Found));
            items.extend(breaks::of_triggers()?.into_iter().map(Item::Found));
            items.extend(breaks::of_owners()?.into_iter().map(Item::Found));
        }
        Ok(items)
    })
}

/// Whether the current role was given the right to manage the keyring, also while no table uses it.
fn is_granted(keyring_id: Uuid) -> Result<bool> {
    Ok(rights::granted(acl::current_role(), keyring_id)?.allow(Verb::Manage))
}

/// Whether the link is to a table by which the current role may manage the keyring.
pub fn is_managed(link: &KeyringTable) -> bool {
    users::living_table(link)
        .and_then(|table| table::as_seen_by(table, acl::current_role()).ok())
        .is_some_and(|table| table.manages(link.keyring_id))
}

fn survey_keyring(keyring: &NamedKeyring, links: &[KeyringTable], items: &mut Vec<Item>) {
    let sealing = users::sealing_table(links);
    let user = sealing.or_else(|| links.iter().find_map(users::living_table));
    let name = user.map_or_else(|| keyring.table_name.clone(), relation::display_name);
    let mut add = |key_id, gone, outcome| {
        let (table, keyring_id) = (Some(name.clone()), Some(keyring.id));
        items.push(Item::Found(Finding { table, keyring_id, key_id, kek: None, gone, outcome }));
    };
    if user.is_none() {
        let orphaned = "no table uses this keyring: envelope.adopt_keyring gives it to one";
        add(None, None, Outcome::Note(orphaned.into()));
    }
    let brought = |table| followed::brought(relation::partition_root(table), Some(keyring.id));
    match sealing.map_or(Ok(None), brought) {
        Ok(Some(Brought::Replicated)) => {
            let followed = "its keys arrive by replication, and are made where they come from";
            add(None, None, Outcome::Note(followed.into()));
        }
        Ok(Some(Brought::Imported)) => {
            let followed =
                "its keys come by envelope.import_keyring, and are made where they come from";
            add(None, None, Outcome::Note(followed.into()));
        }
        Ok(None) => {}
        Err(error) => add(None, None, Outcome::Broken(error)),
    }
    if let Err(error) = read_keyring(keyring.id) {
        add(None, None, Outcome::Broken(error));
    }
    if user.is_some() {
        match gone_grantees(keyring.id) {
            Ok(gone) => {
                for (grantee, error) in gone {
                    add(None, Some(grantee), Outcome::Broken(error));
                }
            }
            Err(error) => add(None, None, Outcome::Broken(error)),
        }
    }
    let keys = rows::data_keys(keyring.id).unwrap_or_else(|error| {
        add(None, None, Outcome::Broken(error));
        Vec::new()
    });
    let active = keys.iter().filter(|key| key.seals()).count();
    let is_shredded = !keys.is_empty() && keys.iter().all(|key| key.state == State::Destroyed);
    if active > 1 || (active == 0 && sealing.is_some() && !is_shredded) {
        let many = if active == 0 { "no active key" } else { "several active keys" };
        let broken = Error::Corrupt(format!("the keyring has {many}"));
        add(None, None, Outcome::Broken(broken));
    }
    if sealing.is_some() && !is_shredded && has_no_active_index_key(&keys) {
        let broken = Error::Corrupt("the keyring has index keys, and no active one".into());
        add(None, None, Outcome::Broken(broken));
    }
    for key in keys.iter().filter(|key| key.state == State::Pending) {
        let pending = "the data key is pending: once it is on all nodes, envelope.activate_key has it take over";
        add(Some(key.key_id), None, Outcome::Note(pending.into()));
    }
    if sealing.is_some()
        && let Some((key_id, overdue)) = past_cryptoperiod(keyring.id, &keys, &name)
    {
        add(Some(key_id), None, Outcome::Broken(overdue));
    }
    // A table that has become a partition seals with its root's keyring, a shard with its table's.
    let is_used = sealing.is_some_and(|table| table::seals_by_itself(table).unwrap_or(true));
    for key in &keys {
        survey_key(key, &name, is_used && key.state == State::Active, items);
    }
}

/// Whether rows cannot be given index terms any more, with keys that make those of queries.
fn has_no_active_index_key(keys: &[DataKeyRow]) -> bool {
    let mut index_keys = keys.iter().filter(|key| key.indexes()).peekable();
    index_keys.peek().is_some() && !index_keys.any(|key| key.state == State::Active)
}

/// Grants that DROP ROLE has left, or a restore where the role is missing. While no table uses the
/// keyring nobody could use or change them either.
fn gone_grantees(keyring_id: Uuid) -> Result<Vec<(pg_sys::Oid, Error)>> {
    let grants = rows::grants(keyring_id)?;
    let gone = grants.into_iter().filter(|(grantee, _)| !acl::role_exists(*grantee));
    Ok(gone.map(|(grantee, verb)| (grantee, Error::GoneGrantee(verb.name()))).collect())
}

/// What of the keyring's own row is not otherwise read here.
fn read_keyring(id: Uuid) -> Result<()> {
    let Some(keyring) = rows::keyring(id)? else { return Ok(()) };
    OwnLimits::parse(&keyring.limits).map(|_| ()).map_err(|_| {
        Error::Corrupt("the keyring's limits cannot be read: the settings alone count".into())
    })
}

/// The active key, when it has been sealing for too long. What cannot be read for that is told of
/// where keyrings and keys are.
fn past_cryptoperiod(keyring_id: Uuid, keys: &[DataKeyRow], table: &str) -> Option<(KeyId, Error)> {
    let key = keys.iter().find(|key| key.seals())?.key_id;
    let days = || -> Result<Option<u64>> {
        let limits = rows::keyring(keyring_id)?.map(|keyring| OwnLimits::stored(&keyring.limits));
        match limits.unwrap_or_default().cryptoperiod() {
            Some(seconds) => wear::days_beyond(key, seconds),
            None => Ok(None),
        }
    };
    let days = days().ok()??;
    Some((key, Error::PastCryptoperiod { key, table: table.to_string(), days }))
}

/// The wraps of the key, and what is wrong with them before any KMS is asked.
fn survey_key(key: &DataKeyRow, table: &str, seals: bool, items: &mut Vec<Item>) {
    let (key_id, keyring_id) = (key.key_id, key.keyring_id);
    let broken = |kek, error| {
        Item::Found(Finding {
            table: Some(table.to_string()),
            keyring_id: Some(keyring_id),
            key_id: Some(key_id),
            kek,
            gone: None,
            outcome: Outcome::Broken(error),
        })
    };
    let wraps = match rows::each_wrapped_key(key_id) {
        Ok(wraps) => wraps,
        Err(error) => return items.push(broken(None, error)),
    };
    let is_destroyed = key.state == State::Destroyed;
    if wraps.is_empty() && !is_destroyed {
        let lost = Error::NoWrap { key: key_id, table: table.to_string() };
        return items.push(broken(None, lost));
    }
    let keks: Vec<String> = wraps.iter().map(|(kek, _)| kek.clone()).collect();
    for (kek, wrap) in wraps {
        items.push(match wrap {
            _ if is_destroyed => {
                let left = Error::Corrupt("a destroyed data key has a wrap left".into());
                broken(Some(kek), left)
            }
            Ok(wrap) => Item::Wrap(Box::new(Wrap {
                table: table.to_string(),
                keyring_id,
                key_id,
                wrap,
                keks: keks.clone(),
                seals,
            })),
            Err(error) => broken(Some(kek), error),
        });
    }
}
