//! Giving a table a keyring beside its own, or one whose table is gone.
//!
//! Locks that no user can take keep two from doing so at once: first the keyring's, then the
//! table's, under which a first key is made, too. Neither is held while a KMS is asked.

use std::collections::{BTreeSet, HashSet};

use pgrx::pg_sys;
use uuid::Uuid;

use crate::audit::{self, Action};
use crate::catalog::rows::{self, KeyringTable};
use crate::catalog::{self, shards, write, write::events};
use crate::census::in_use;
use crate::custody::orphans;
use crate::error::{Error, Result};
use crate::keyring;
use crate::keyring::table::{self, plain_name};
use crate::keyring::users;
use crate::pg::{lock, relation};
use crate::settings;

/// Makes an orphaned keyring the one that `relation` seals with, or if it has one already, one
/// that it opens with. For superusers, and for those with the rights of the role that owned the
/// dropped table, if they may manage the keys of `relation`, too.
pub fn adopt(keyring_id: Uuid, relation: pg_sys::Oid) -> Result<()> {
    settings::check_unplanted()?;
    table::get(relation)?.require_manage_right()?;
    keep(relation)?;
    lock_links_of(keyring_id)?;
    lock_table(relation)?;
    if rows::keyring(keyring_id)?.is_none() {
        return Err(Error::UnknownKeyring(keyring_id));
    }
    let links = rows::tables_of(keyring_id)?;
    if let Some(user) = users::sealing_table(&links) {
        let table = relation::display_name(user);
        return Err(Error::KeyringInUse { keyring: keyring_id, table });
    }
    orphans::require_former_owner(keyring_id, &links, "adopt")?;
    link(keyring_id, relation)?;
    events::tell(Action::Adopt, |event| {
        event.table = Some(relation::display_name(relation));
        event.keyring_id = audit::keyring(keyring_id);
    })?;
    Ok(())
}

/// Lets `to` open with the keyring that `from` seals with; of a partition also with the one that
/// it sealed with before it was attached. For those who may manage both. What a table seals with
/// does not change.
pub fn share(from: pg_sys::Oid, to: pg_sys::Oid) -> Result<()> {
    settings::check_unplanted()?;
    let source = table::get(from)?;
    let shared = source.managed_keyrings()?;
    table::get(to)?.require_manage_right()?;
    if shared.is_empty() {
        return Err(source.no_key());
    }
    keep(to)?;
    lock_links_of_all(shared.iter().copied())?;
    lock_table(to)?;
    for keyring_id in shared {
        let_open(keyring_id, to)?;
        events::tell(Action::Share, |event| {
            event.table = Some(relation::display_name(to));
            event.keyring_id = audit::keyring(keyring_id);
            event.detail = Some(format!("of {}", source.name()));
        })?;
    }
    keyring::look_again();
    Ok(())
}

/// Takes [`share`] back. For those who may manage what `from` seals with, whoever may manage `to` now.
/// Refuses while a value is found in `to` that would no longer open, unless it is `forced`.
pub fn unshare(from: pg_sys::Oid, to: pg_sys::Oid, forced: bool) -> Result<()> {
    settings::check_unplanted()?;
    table::require_writable()?;
    let source = table::get(from)?;
    let shared = source.managed_keyrings()?;
    let name = relation::display_name(to);
    // No lock of the other table's is waited for: its owner could hold it for ever.
    if !forced && !lock::try_keep_relation(to) {
        return Err(Error::TableLocked(name));
    }
    lock_links_of_all(shared.iter().copied())?;
    let links = rows::keyring_tables(to)?;
    let lent = links.iter().filter(|link| !link.seals && shared.contains(&link.keyring_id));
    let lent: Vec<&KeyringTable> = lent.collect();
    if lent.is_empty() {
        table::require_can_have_keys(to)?;
        return Err(Error::NotShared { table: source.name(), other: name });
    }
    for link in lent {
        if opens_by_its_root(to, link.keyring_id)? {
            // Nothing of its values changes.
        } else if forced {
            in_use::warn_of_unseen_in(&HashSet::from([to]))?;
        } else {
            in_use::require_unused_in(to, link.keyring_id, &source.name())?;
        }
        write::links::delete(link.id)?;
        events::tell(Action::Unshare, |event| {
            event.table = Some(name.clone());
            event.keyring_id = audit::keyring(link.keyring_id);
            event.detail = Some(format!("of {}", source.name()));
        })?;
    }
    keyring::look_again();
    Ok(())
}

/// Whether `relation` is a partition whose root has the keyring anyway.
fn opens_by_its_root(relation: pg_sys::Oid, keyring_id: Uuid) -> Result<bool> {
    let root = shards::root(relation)?;
    let is_of_root = |link: &KeyringTable| link.keyring_id == keyring_id;
    Ok(root != relation && rows::keyring_tables(root)?.iter().any(is_of_root))
}

/// Lets `relation` use the keyring: seal, if it has nothing to seal with and no other table seals
/// with this one, else open; whether it seals. A partition seals with its root's, a shard with its
/// table's. To be called under the locks.
pub fn link(keyring_id: Uuid, relation: pg_sys::Oid) -> Result<bool> {
    let links = rows::tables_of(keyring_id)?;
    let own = rows::keyring_tables(relation)?;
    let seals = shards::root(relation)? == relation
        && !own.iter().any(|link| link.seals)
        && users::sealing_table(&links).is_none();
    if seals {
        match own.iter().find(|link| link.keyring_id == keyring_id) {
            None => write::links::insert(keyring_id, relation, true)?,
            Some(link) => write::links::let_seal(link.id)?,
        }
        write::links::last_seen(keyring_id, &plain_name(relation)?)?;
        // Its table is the new one from here on, and nobody else's claim.
        for link in links.iter().filter(|link| users::living_table(link).is_none()) {
            write::links::delete(link.id)?;
        }
    } else {
        let_open(keyring_id, relation)?;
    }
    keyring::look_again();
    Ok(seals)
}

/// Lets `relation` open with the keyring, beside what it uses already.
pub fn let_open(keyring_id: Uuid, relation: pg_sys::Oid) -> Result<()> {
    if rows::keyring_tables(relation)?.iter().any(|link| link.keyring_id == keyring_id) {
        return Ok(());
    }
    write::links::insert(keyring_id, relation, false)
}

/// Keeps `relation` from being dropped. An error unless it can have keys.
pub fn keep(relation: pg_sys::Oid) -> Result<()> {
    table::require_writable()?;
    lock::keep_relation(relation);
    table::require_can_have_keys(relation)
}

/// [`lock_links_of`] each, in one order for all.
pub fn lock_links_of_all(keyring_ids: impl IntoIterator<Item = Uuid>) -> Result<()> {
    BTreeSet::from_iter(keyring_ids).into_iter().try_for_each(lock_links_of)
}

/// Keeps others from changing who uses the keyring, to the end of the transaction, and waits for who
/// has begun to. Two keyrings that begin alike share a lock, which does no harm.
pub fn lock_links_of(keyring_id: Uuid) -> Result<()> {
    let [a, b, c, d, ..] = *keyring_id.as_bytes();
    let object = pg_sys::Oid::from(u32::from_be_bytes([a, b, c, d]));
    lock::lock_object(catalog::oid_of(c"keyring_table")?, object);
    Ok(())
}

/// Keeps others from giving `relation` a keyring, or its first key, to the end of the transaction.
pub fn lock_table(relation: pg_sys::Oid) -> Result<()> {
    lock::lock_object(catalog::oid_of(c"keyring")?, shards::root(relation)?);
    Ok(())
}
