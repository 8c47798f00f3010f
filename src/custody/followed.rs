//! Keyrings whose keys come by replication. They are made and rotated where they come from: of two nodes
//! that each make the next version of a key one has to give way, and until then the replication between
//! them stands.

use pgrx::pg_sys;
use uuid::Uuid;

use crate::audit::{self, Action};
use crate::catalog::write::{events, followed};
use crate::catalog::{rows, tables};
use crate::error::{Error, Result};
use crate::keyring::table::{self, Table};
use crate::keyring::users;
use crate::pg::relation;

/// What the replication origins of PostgreSQL's own subscriptions begin with. Nobody else may make one of
/// that name.
const OF_SUBSCRIPTION: &str = "pg_";

/// Whether the keys of the table `root` come by replication; `keyring_id` is what it seals with, if it
/// has one. A subscription counts as long as it is there, and for each table that it brings; what else
/// has brought a key counts until somebody says otherwise, since nobody else knows.
pub fn is_followed(root: pg_sys::Oid, keyring_id: Option<Uuid>) -> Result<bool> {
    let origin = keyring_id.map_or(Ok(None), rows::followed_origin)?;
    if origin.as_ref().is_some_and(|origin| !origin.starts_with(OF_SUBSCRIPTION)) {
        return Ok(true);
    }
    Ok(tables::keys_are_subscribed()?
        && (origin.is_some() || tables::are_subscribed(relation::partitions(root))?))
}

/// 55000 when they do.
pub fn require_own(table: &Table) -> Result<()> {
    let root = table.root();
    if is_followed(root, rows::sealing_keyring(root)?)? {
        return Err(Error::Followed(table.name()));
    }
    Ok(())
}

/// As [`require_own`], of a keyring whatever table seals with it; `table` is for the message. What is done to
/// its keys here would be undone by what arrives, or stop it. Of an orphaned one nobody could say that nothing
/// arrives any more: there a subscription alone counts.
pub fn require_own_keyring(keyring_id: Uuid, table: &str) -> Result<()> {
    let is_followed = match users::sealing_table(&rows::tables_of(keyring_id)?) {
        Some(sealing) => is_followed(relation::partition_root(sealing), Some(keyring_id))?,
        None => tables::keys_are_subscribed()? && rows::followed_origin(keyring_id)?.is_some(),
    };
    if is_followed { Err(Error::Followed(table.to_string())) } else { Ok(()) }
}

/// The keys of `relation` are this database's own from here on. 55000 while a subscription brings them.
pub fn unfollow(relation: pg_sys::Oid) -> Result<()> {
    let table = table::to_change(relation)?;
    let keyring_id = table.sealing_keyring()?;
    followed::forget(keyring_id)?;
    require_own(&table)?;
    events::tell(Action::Unfollow, |event| {
        event.table = Some(table.name());
        event.keyring_id = audit::keyring(keyring_id);
    })
}
