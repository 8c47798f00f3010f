//! Keyrings whose keys come from elsewhere, by replication or by import. They are made and rotated where they come
//! from: of two nodes that each make the next version of a key one has to give way, and until then the replication
//! between them stands.

use pgrx::pg_sys;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::audit::{self, Action};
use crate::catalog::write::{events, followed};
use crate::catalog::{rows, tables};
use crate::error::{Error, Result};
use crate::keyring::table::{self, Table};
use crate::keyring::users;
use crate::pg::{relation, report};

/// What the replication origins of PostgreSQL's own subscriptions begin with. Nobody else may make one of
/// that name.
const OF_SUBSCRIPTION: &str = "pg_";

/// What stands for an origin where imports bring the keys.
const IMPORTED: &str = "";

/// How keys come from elsewhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Brought {
    Replicated,
    Imported,
}

/// How the keys of the table `root` come from elsewhere, if they do; `keyring_id` is what it seals with, if it
/// has one. A subscription counts as long as it is there, and for each table that it brings; what else
/// has brought a key counts until somebody says otherwise, since nobody else knows.
pub fn brought(root: pg_sys::Oid, keyring_id: Option<Uuid>) -> Result<Option<Brought>> {
    let origin = keyring_id.map_or(Ok(None), rows::followed_origin)?;
    brought_by(root, origin, tables::keys_are_subscribed)
}

/// As [`brought`], of a keyring whose mark is known; `keys_are_subscribed` is asked where it matters.
pub fn brought_by(
    root: pg_sys::Oid,
    origin: Option<String>,
    keys_are_subscribed: impl FnOnce() -> Result<bool>,
) -> Result<Option<Brought>> {
    let is_imported = origin.as_deref() == Some(IMPORTED);
    let is_replicated = match origin.filter(|_| !is_imported) {
        Some(origin) if !origin.starts_with(OF_SUBSCRIPTION) => true,
        origin => {
            keys_are_subscribed()?
                && (origin.is_some() || tables::are_subscribed(relation::partitions(root))?)
        }
    };
    Ok(match (is_replicated, is_imported) {
        (true, _) => Some(Brought::Replicated),
        (false, true) => Some(Brought::Imported),
        (false, false) => None,
    })
}

/// 55000 when they do: no key is made here.
pub fn require_own(table: &Table) -> Result<()> {
    let root = table.root();
    match brought(root, rows::sealing_keyring(root)?)? {
        Some(Brought::Replicated) => Err(Error::Followed(table.name())),
        Some(Brought::Imported) => Err(Error::FollowedByImport(table.name())),
        None => Ok(()),
    }
}

/// 55000 when they come by replication: what an import changes would be undone by what arrives, or stop it.
pub fn require_not_replicated(table: &Table) -> Result<()> {
    let root = table.root();
    match brought(root, rows::sealing_keyring(root)?)? {
        Some(Brought::Replicated) => Err(Error::Followed(table.name())),
        _ => Ok(()),
    }
}

/// As [`require_not_replicated`], of a keyring whatever table seals with it; `table` is for the message. What is
/// done to its keys here would be undone by what arrives, or stop it. Of an orphaned one nobody could say that
/// nothing arrives any more: there a subscription alone counts.
pub fn require_own_keyring(keyring_id: Uuid, table: &str) -> Result<()> {
    let is_replicated = match users::sealing_table(&rows::tables_of(keyring_id)?) {
        Some(sealing) => {
            let root = relation::partition_root(sealing);
            brought(root, Some(keyring_id))? == Some(Brought::Replicated)
        }
        None => {
            let origin = rows::followed_origin(keyring_id)?;
            tables::keys_are_subscribed()? && origin.is_some_and(|origin| origin != IMPORTED)
        }
    };
    if is_replicated { Err(Error::Followed(table.to_string())) } else { Ok(()) }
}

/// From now on imports bring the keys of the keyring, which `table` seals or opens with. The keyring's lock is held.
pub fn follow(keyring_id: Uuid, table: &str) -> Result<()> {
    if rows::followed_origin(keyring_id)?.as_deref() == Some(IMPORTED) {
        return Ok(());
    }
    followed::mark(keyring_id, IMPORTED)?;
    events::tell(Action::Follow, |event| {
        event.table = Some(table.to_string());
        event.keyring_id = audit::keyring(keyring_id);
    })
}

/// The keys of `relation` are this database's own from here on; a NOTICE where they are already. 55000 while a subscription
/// brings them.
pub fn unfollow(relation: pg_sys::Oid) -> Result<()> {
    let table = table::to_change(relation)?;
    let keyring_id = table.sealing_keyring()?;
    let was_followed = followed::forget(keyring_id)?;
    require_own(&table)?;
    if !was_followed {
        report::notice(format!("the keys of table {} are made here already", table.name()));
        return Ok(());
    }
    events::tell(Action::Unfollow, |event| {
        event.table = Some(table.name());
        event.keyring_id = audit::keyring(keyring_id);
    })
}
