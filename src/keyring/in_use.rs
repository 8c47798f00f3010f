//! Whether any value is still sealed under a data key.
//!
//! Of every table that uses the key's keyring, with all partitions, every bytea column is read
//! from end to end, under a lock that keeps writers out until the transaction ends. So is every
//! registered column elsewhere; another owner's table is not locked, since nobody has lent us
//! that. Of all other tables of the database a sample is read: it finds the copies and the
//! detached partitions that nobody has thought of.
//!
//! What cannot be seen: values in other databases, in files and foreign tables, in columns of
//! other types, and those that a client or a transaction holds in its hands.

use std::collections::HashSet;
use std::ffi::CString;

use envelope::header::{HEADER_LEN, KeyId, peek_key_id};
use pgrx::pg_sys;
use uuid::Uuid;

use crate::catalog::tables::with_bytea_columns;
use crate::catalog::{rows, whole};
use crate::error::{Error, Result};
use crate::keyring::orphans;
use crate::pg::column::{self, Column};
use crate::pg::relation::{self, Kind, display_name};
use crate::pg::table_scan::{self, Extent};
use crate::pg::{acl, lock};

/// An error naming the first column found with a value under `key_id`, a key of `keyring_id`;
/// `table` is for messages. The locks stay to the end of the transaction.
pub fn require_unused(key_id: KeyId, keyring_id: Uuid, table: &str) -> Result<()> {
    let search = Search { key_id, table };
    let mut read = HashSet::new();
    for member in locked_family(keyring_id)? {
        search.whole(member, &column::all_bytea(member))?;
        read.insert(member);
    }
    for (relation, name) in whole::sealed_columns()? {
        if !read.contains(&relation) {
            search.registered(relation, &name)?;
        }
    }
    for relation in with_bytea_columns()? {
        if !read.contains(&relation) {
            search.sample(relation)?;
        }
    }
    Ok(())
}

/// An error naming the first column of `relation`, its partitions and its heirs where a value stands
/// under any key of `keyring_id`, the keyring that `table` seals with. Another owner's table is not
/// locked: what is written there meanwhile is not found.
pub fn require_unused_in(relation: pg_sys::Oid, keyring_id: Uuid, table: &str) -> Result<()> {
    let keys = rows::data_keys(keyring_id)?;
    let is_of_keyring = |header: &[u8]| {
        peek_key_id(header).is_some_and(|key_id| keys.iter().any(|key| key.key_id == key_id))
    };
    for member in family(relation)? {
        let columns = column::all_bytea(member);
        require_readable(member, &columns)?;
        let found = table_scan::find(member, &columns, HEADER_LEN, Extent::Whole, is_of_keyring);
        if let Some(number) = found {
            let column = column::name(member, number).unwrap_or_default();
            return Err(Error::ValuesLent {
                table: table.to_string(),
                column,
                found_in: display_name(member),
            });
        }
    }
    Ok(())
}

/// `relation`, its partitions and its heirs, kept: one's own locked against writers. Another owner
/// could keep us waiting for ever, and with us who writes to the keyring's tables.
fn family(relation: pg_sys::Oid) -> Result<Vec<pg_sys::Oid>> {
    if acl::owns_relation(acl::current_role(), relation) {
        return Ok(lock::lock_family(relation, true));
    }
    lock::try_keep_family(relation).ok_or_else(|| Error::TableLocked(display_name(relation)))
}

/// An error when `relation` has such columns and its rows cannot be read from here.
fn require_readable(relation: pg_sys::Oid, columns: &[i16]) -> Result<()> {
    let Some(first) = columns.first() else { return Ok(()) };
    let what = if relation::is_foreign(relation) {
        "foreign table"
    } else if relation::is_other_sessions(relation) {
        "another session's temporary table"
    } else {
        return Ok(());
    };
    let column = column::name(relation, *first).unwrap_or_default();
    Err(Error::CannotLook { column, what, table: display_name(relation) })
}

/// The tables that use the keyring, each with the whole tree of partitions that it stands in,
/// locked against writers. While one is waited for, others may have come: looks until none has.
fn locked_family(keyring_id: Uuid) -> Result<HashSet<pg_sys::Oid>> {
    let mut locked = HashSet::new();
    loop {
        let mut roots: Vec<_> = rows::tables_of(keyring_id)?
            .iter()
            .filter_map(orphans::living_table)
            .map(relation::partition_root)
            .filter(|root| !locked.contains(root))
            .collect();
        // One order for all, so that two sessions do not wait for each other.
        roots.sort_unstable_by_key(|root| root.to_u32());
        let Some(root) = roots.first() else { return Ok(locked) };
        locked.extend(lock::lock_family(*root, true));
    }
}

struct Search<'a> {
    key_id: KeyId,
    table: &'a str,
}

impl Search<'_> {
    fn registered(&self, relation: pg_sys::Oid, name: &CString) -> Result<()> {
        if relation::kind(relation) == Kind::Missing {
            return Ok(());
        }
        for member in family(relation)? {
            match column::named(member, name) {
                Column::Bytea(number) => self.whole(member, &[number])?,
                // Renamed since it was registered.
                Column::Other | Column::Missing => {
                    self.whole(member, &column::all_bytea(member))?;
                }
            }
        }
        Ok(())
    }

    fn whole(&self, relation: pg_sys::Oid, columns: &[i16]) -> Result<()> {
        require_readable(relation, columns)?;
        self.find(relation, columns, Extent::Whole)
    }

    fn sample(&self, relation: pg_sys::Oid) -> Result<()> {
        self.find(relation, &column::all_bytea(relation), Extent::Sample)
    }

    fn find(&self, relation: pg_sys::Oid, columns: &[i16], extent: Extent) -> Result<()> {
        let is_under_key = |header: &[u8]| peek_key_id(header) == Some(self.key_id);
        match table_scan::find(relation, columns, HEADER_LEN, extent, is_under_key) {
            Some(column) => Err(self.in_use(relation, column)),
            None => Ok(()),
        }
    }

    fn in_use(&self, relation: pg_sys::Oid, column: i16) -> Error {
        Error::KeyInUse {
            key: self.key_id,
            table: self.table.to_string(),
            column: column::name(relation, column).unwrap_or_default(),
            found_in: display_name(relation),
        }
    }
}
