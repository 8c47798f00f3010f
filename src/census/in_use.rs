//! Whether any value is still sealed under a data key.
//!
//! Of every table that uses the key's keyring, with all partitions, every column of a type
//! that holds sealed values (bytea, `envelope.sealed`, domains over them) is read from end to end, under a lock that keeps writers out until the transaction ends. So is every
//! registered column elsewhere; another owner's table is not locked, since nobody has lent us
//! that. Of all other tables of the database a sample is read: it finds the copies and the
//! detached partitions that nobody has thought of.
//!
//! What cannot be seen: values in other databases, in files and foreign tables, in columns of
//! other types, and those that a client or a transaction holds in its hands.

use std::collections::HashSet;
use std::ffi::CString;

use envelope::header::{KeyId, peek_key_id};
use pgrx::pg_sys;
use uuid::Uuid;

use crate::catalog::tables::{self, with_sealable_columns};
use crate::catalog::{citus, rows, shards, whole};
use crate::census::look;
use crate::error::{Error, Place, Remedy, Result};
use crate::keyring::users;
use crate::pg::column::{self, Column};
use crate::pg::relation::{self, Kind, display_name};
use crate::pg::table_scan::Extent;
use crate::pg::{acl, lock, report};

/// An error naming the first value found under any of `keys`, keys of `keyring_id`; `table` is for messages.
/// The locks stay to the end of the transaction.
pub fn require_unused(keys: &[KeyId], keyring_id: Uuid, table: &str) -> Result<()> {
    let search = Search { keys, keyring_id, table };
    let users = lock_haystack(keyring_id)?;
    let mut read = HashSet::new();
    for member in tables::in_lock_order(&users)? {
        search.look(member, &column::all_sealable(member), Extent::Whole)?;
        read.insert(member);
    }
    for (relation, name) in whole::sealed_columns()? {
        if !read.contains(&relation) {
            search.registered(relation, &name)?;
        }
    }
    for relation in with_sealable_columns()? {
        if !read.contains(&relation) {
            search.look(relation, &column::all_sealable(relation), Extent::Sample)?;
        }
    }
    Ok(())
}

/// How often all tables are tried at once before they are waited for one by one.
const ROUNDS: usize = 8;

/// Keeps writers out of the tables that use the keyring, each with the whole tree that it stands in, and
/// of one's own among those that have registered columns. The tables that use the keyring.
fn lock_haystack(keyring_id: Uuid) -> Result<HashSet<pg_sys::Oid>> {
    let tops = || {
        let registered = whole::sealed_columns()?.into_iter().map(|(relation, _)| relation);
        Ok(users(keyring_id)?.into_iter().chain(registered.filter(|it| is_own(*it))).collect())
    };
    lock_all(tops, |wanted| {
        keep_writers_out(wanted);
        Ok(())
    })?;
    users(keyring_id)
}

/// Has `lock` lock `tops`, their partitions and their heirs. While it waits others may come: until none has.
pub(super) fn lock_all(
    tops: impl Fn() -> Result<HashSet<pg_sys::Oid>>,
    lock: impl Fn(&[pg_sys::Oid]) -> Result<()>,
) -> Result<()> {
    let mut locked = HashSet::new();
    loop {
        let mut wanted = tables::in_lock_order(&tops()?)?;
        wanted.retain(|member| !locked.contains(member));
        if wanted.is_empty() {
            return Ok(());
        }
        lock(&wanted)?;
        locked.extend(wanted);
    }
}

/// Keeps writers out of all of them, to the end of the transaction. Whoever waits for one table and holds
/// another is in the way of a transaction that writes to both, and one of the two would be ended as a
/// deadlock: so one is waited for with none held, and the others are taken if nobody writes to them now.
/// Where somebody always does, they are waited for in the one order of [`tables::in_lock_order`].
pub(super) fn keep_writers_out(relations: &[pg_sys::Oid]) {
    let mut first = None;
    for _ in 0..ROUNDS {
        let mut held: Vec<pg_sys::Oid> = first.into_iter().collect();
        held.iter().for_each(|relation| lock::keep_writers_out(*relation));
        let others = relations.iter().copied().filter(|relation| first != Some(*relation));
        let busy = others.into_iter().find(|relation| {
            let is_held = lock::try_keep_writers_out(*relation);
            if is_held {
                held.push(*relation);
            }
            !is_held
        });
        if busy.is_none() {
            return;
        }
        held.iter().for_each(|relation| lock::let_writers_in(*relation));
        first = busy;
    }
    relations.iter().for_each(|relation| lock::keep_writers_out(*relation));
}

/// The tables that use the keyring; of a partition, the topmost table.
fn users(keyring_id: Uuid) -> Result<HashSet<pg_sys::Oid>> {
    let links = rows::tables_of(keyring_id)?;
    let living = links.iter().filter_map(users::living_table);
    Ok(living.map(relation::partition_root).collect())
}

/// Not everybody's for a superuser: its owner could keep a destruction waiting, and others behind it.
pub(super) fn is_own(relation: pg_sys::Oid) -> bool {
    let role = acl::current_role();
    relation::owner(relation).is_some_and(|owner| acl::is_or_inherits(role, owner))
}

/// Tells which tables that use the keyring have rows that nobody has looked at, since they stand on other
/// nodes.
pub fn warn_of_unseen(keyring_ids: impl IntoIterator<Item = Uuid>) -> Result<()> {
    let mut tops = HashSet::new();
    for keyring_id in keyring_ids {
        tops.extend(users(keyring_id)?);
    }
    warn_of_unseen_in(&tops)
}

/// As [`warn_of_unseen`], of these tables.
pub fn warn_of_unseen_in(tops: &HashSet<pg_sys::Oid>) -> Result<()> {
    let mut unseen = Vec::new();
    for member in tables::in_lock_order(tops)? {
        if citus::is_distributed(member)? {
            unseen.push(display_name(member));
        }
    }
    if !unseen.is_empty() {
        report::warning(
            format!("values of {} on other nodes were not looked at", unseen.join(", ")),
            "These tables are distributed. Values on their shards under these keys no longer open. Nodes that have \
             copies of the keys keep them until they are destroyed there: run_command_on_all_nodes.",
        );
    }
    Ok(())
}

/// An error naming the first value of `relation`, its partitions and its heirs that is under any key of
/// `keyring_id`, the keyring that `table` seals with; 55P03 when another owner's table is being written to,
/// since its owner could keep us waiting for ever.
pub fn require_unused_in(relation: pg_sys::Oid, keyring_id: Uuid, table: &str) -> Result<()> {
    let keys = rows::data_keys(keyring_id)?;
    let is_of_keyring = |header: &[u8]| {
        peek_key_id(header).is_some_and(|key_id| keys.iter().any(|key| key.key_id == key_id))
    };
    let top = HashSet::from([relation]);
    let is_own = is_own(relation);
    lock_all(
        || Ok(top.clone()),
        |wanted| {
            if is_own {
                keep_writers_out(wanted);
            } else if !wanted.iter().all(|member| lock::try_keep_writers_out(*member)) {
                return Err(Error::TableLocked(display_name(relation)));
            }
            Ok(())
        },
    )?;
    for member in tables::in_lock_order(&top)? {
        let columns = column::all_sealable(member);
        if let Some(place) = look::find_anywhere(member, &columns, Extent::Whole, is_of_keyring)? {
            return Err(Error::ValuesLent { table: table.to_string(), place: Box::new(place) });
        }
    }
    Ok(())
}

/// `relation`, its partitions and its heirs, kept from being dropped. Another owner could keep us waiting
/// for ever, and with us who writes to the keyring's tables.
pub(super) fn kept_family(relation: pg_sys::Oid) -> Result<Vec<pg_sys::Oid>> {
    lock::try_keep_family(relation).ok_or_else(|| Error::TableLocked(display_name(relation)))
}

struct Search<'a> {
    keys: &'a [KeyId],
    keyring_id: Uuid,
    table: &'a str,
}

impl Search<'_> {
    fn registered(&self, relation: pg_sys::Oid, name: &CString) -> Result<()> {
        // One's own are locked against writers by now, and this waits for nothing.
        for member in kept_family(relation)? {
            let columns = match column::named(member, name) {
                Column::Sealable(number) => vec![number],
                // Renamed since it was registered.
                Column::Other | Column::Missing => column::all_sealable(member),
            };
            self.look(member, &columns, Extent::Whole)?;
        }
        Ok(())
    }

    fn look(&self, relation: pg_sys::Oid, columns: &[i16], extent: Extent) -> Result<()> {
        let is_under_key =
            |header: &[u8]| peek_key_id(header).is_some_and(|key_id| self.keys.contains(&key_id));
        match look::find_anywhere(relation, columns, extent, is_under_key)? {
            Some(Place { key: None, .. }) | None => Ok(()),
            Some(place @ Place { key: Some(key), .. }) => Err(self.in_use(relation, key, place)?),
        }
    }

    fn in_use(&self, relation: pg_sys::Oid, key: KeyId, place: Place) -> Result<Error> {
        let (table, remedy) = (self.table.to_string(), self.remedy(relation, key)?);
        Ok(Error::KeyInUse { key, table, place: Box::new(place), remedy })
    }

    /// How the values of `relation` come to another key.
    fn remedy(&self, relation: pg_sys::Oid, key: KeyId) -> Result<Remedy> {
        let mut users = rows::keyring_tables(relation)?;
        let root = shards::root(relation)?;
        if root != relation {
            users.extend(rows::keyring_tables(root)?);
        }
        let uses = users.iter().any(|link| link.keyring_id == self.keyring_id);
        Ok(if relation::is_foreign(relation) {
            Remedy::Update(key)
        } else if relation::kind(relation) != Kind::Table {
            Remedy::Refresh
        } else if !uses && users::is_orphaned(self.keyring_id)? {
            Remedy::Adopt(self.keyring_id)
        } else if !uses {
            Remedy::Share { key, makes_key: rows::sealing_keyring(root)?.is_none() }
        } else if rows::sealing_keyring(root)?.is_none() {
            Remedy::MakeKey
        } else {
            Remedy::Reencrypt
        })
    }
}
