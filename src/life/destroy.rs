//! The end of a data key: its wraps are deleted, its row stays with time and reason.
//!
//! A key still in use is not destroyed by accident: see [`in_use`]. Wherever a copy of the catalog
//! has gone (WAL, replicas, backups), the wraps live on; only the KMS can shred those.

use std::collections::HashSet;

use envelope::header::KeyId;
use pgrx::pg_sys;
use uuid::Uuid;

use crate::catalog::rows::{self, Purpose, State};
use crate::catalog::shards;
use crate::catalog::write::{self, wraps};
use crate::census::{in_use, terms};
use crate::custody::{followed, links};
use crate::error::{Error, Result};
use crate::keyring;
use crate::keyring::table;
use crate::keyring::users;
use crate::life::retire::ManagedKey;
use crate::pg::relation::{self, Kind, display_name};
use crate::pg::{lock, report, xact};
use crate::settings;

/// Destroys a key that is not active and under which no value is sealed; with `shred`, whether one
/// is or not.
pub fn destroy_key(key_id: KeyId, reason: &str, shred: bool) -> Result<()> {
    require_read_committed("envelope.destroy_key")?;
    let key = ManagedKey::named(key_id)?;
    // Which tables use it. Another transaction may have let one do so, and has copied values there.
    links::lock_links_of(key.row.keyring_id)?;
    followed::require_own_keyring(key.row.keyring_id, &key.table)?;
    // No table seals with an orphaned keyring, and none can be given another active key.
    let any = shred && users::is_orphaned(key.row.keyring_id)?;
    if !any {
        key.require_not_active("destroyed")?;
    }
    // Then the state: it locks the row, so that a key is destroyed once, and is not brought
    // back or given another wrap meanwhile.
    let from: &[State] = if any { &ALIVE } else { &[State::DecryptOnly, State::Retired] };
    key.change(from, State::Destroyed, Some(reason))?;
    match key.row.purpose {
        _ if shred => in_use::warn_of_unseen([key.row.keyring_id])?,
        Purpose::Seal => in_use::require_unused(&[key_id], key.row.keyring_id, &key.table)?,
        Purpose::Index => terms::require_unused(&key.row)?,
    }
    // Whoever adds a wrap holds this lock, and looks at the state under it.
    write::lock_keyring(key.row.keyring_id, true)?;
    wraps::delete_all(key_id)?;
    let can = match key.row.purpose {
        Purpose::Seal => CAN_OPEN,
        Purpose::Index => "find values by it again",
    };
    tell(format!("data key {key_id} of table {} is destroyed", key.table), can);
    Ok(())
}

/// What a key may be before it is destroyed.
pub(super) const ALIVE: [State; 4] =
    [State::Active, State::Pending, State::DecryptOnly, State::Retired];

/// Destroys every key that `relation` seals or opens with, the active one too: what it holds
/// sealed is lost. How many keys that were.
pub fn shred(relation: pg_sys::Oid, reason: &str) -> Result<usize> {
    settings::check_unplanted()?;
    require_read_committed("envelope.shred")?;
    let table = table::get(relation)?;
    table.require_manage_right()?;
    if table.root() != relation {
        let root = display_name(table.root());
        return Err(Error::IsPartition { table: table.name(), root });
    }
    // No other session makes a key for it now, or has made one that is not seen here; nor lets it use
    // another keyring, or another table one of its own.
    links::keep(relation)?;
    let keyrings = locked_keyrings_of(relation)?;
    require_not_shared(relation, &keyrings)?;
    for keyring_id in &keyrings {
        followed::require_own_keyring(*keyring_id, &table.name())?;
    }
    in_use::warn_of_unseen(keyrings.iter().copied())?;
    let mut destroyed = 0;
    for keyring_id in keyrings {
        destroyed += mark_all(keyring_id, reason)?;
        write::lock_keyring(keyring_id, true)?;
        // What came with an import meanwhile.
        destroyed += mark_all(keyring_id, reason)?;
        for key in rows::data_keys(keyring_id)? {
            wraps::delete_all(key.key_id)?;
        }
    }
    if destroyed == 0 {
        return Err(table.no_key_made("to be destroyed"));
    }
    tell(format!("{destroyed} data key(s) of table {} destroyed", table.name()), CAN_OPEN);
    Ok(destroyed)
}

/// Marks every key of the keyring destroyed; how many were not. First the keys and then the lock, as
/// [`destroy_key`] does, or the two would wait for each other.
fn mark_all(keyring_id: Uuid, reason: &str) -> Result<usize> {
    let mut marked = 0;
    for key in rows::data_keys(keyring_id)? {
        if key.state == State::Destroyed {
            continue;
        }
        match ManagedKey::named(key.key_id)?.change(&ALIVE, State::Destroyed, Some(reason)) {
            Ok(()) => marked += 1,
            // By another session, which was waited for.
            Err(Error::KeyDestroyed { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(marked)
}

/// [`keyrings_of`], under the locks: while they were waited for, others may have come.
fn locked_keyrings_of(root: pg_sys::Oid) -> Result<HashSet<Uuid>> {
    let mut keyrings = keyrings_of(root)?;
    loop {
        links::lock_links_of_all(keyrings.iter().copied())?;
        links::lock_table(root)?;
        let now = keyrings_of(root)?;
        if now.is_subset(&keyrings) {
            return Ok(now);
        }
        keyrings = now;
    }
}

/// The keyrings of `root` and its partitions.
fn keyrings_of(root: pg_sys::Oid) -> Result<HashSet<Uuid>> {
    let family = lock::keep_family(root);
    let mut keyrings = HashSet::new();
    for member in family.iter().filter(|member| relation::partition_root(**member) == root) {
        keyrings.extend(rows::keyring_tables(*member)?.into_iter().map(|row| row.keyring_id));
    }
    Ok(keyrings)
}

/// An error when a table that is neither `root` nor one of its partitions uses one of `keyrings`, too, or the index keys
/// of `root`: its values would be lost, or not found.
fn require_not_shared(root: pg_sys::Oid, keyrings: &HashSet<Uuid>) -> Result<()> {
    for keyring_id in keyrings {
        for user in rows::tables_of(*keyring_id)?.iter().filter_map(users::living_table) {
            if shards::root(user)? != root {
                let (table, other) = (display_name(root), display_name(user));
                return Err(Error::KeyringShared { table, other });
            }
        }
    }
    let others = rows::indexes_with_keys_of(root)?.into_iter().map(|index| index.relation);
    let mut others = others.filter(|other| relation::kind(*other) != Kind::Missing);
    if let Some(other) = others.find(|other| relation::partition_root(*other) != root) {
        let (table, other) = (display_name(root), display_name(other));
        return Err(Error::KeyringShared { table, other });
    }
    Ok(())
}

/// A snapshot of an earlier time would miss values and keys.
pub(super) fn require_read_committed(function: &'static str) -> Result<()> {
    if xact::is_read_committed() { Ok(()) } else { Err(Error::NotReadCommitted(function)) }
}

/// What copies of a wrapped key are good for.
pub(super) const CAN_OPEN: &str = "open values again";

/// Sessions look again; the caller hears what it means, and what whoever has a copy can do.
pub(super) fn tell(message: String, can: &str) {
    keyring::look_again();
    report::notice_at_length(
        message,
        &format!(
            "This database forgets it when the transaction commits. WAL, replicas and backups keep the \
             wrapped key until they expire: whoever has one of them and the KEK can {can}."
        ),
        "VACUUM FULL envelope.wrapped_key takes it out of the table's file. Only deleting the KEK in \
         the KMS shreds the copies.",
    );
}
