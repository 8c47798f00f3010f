//! What an index key derives, for whoever makes terms.

use envelope::header::KeyId;
use envelope::index_key::IndexKeys;

use super::sealing::require_allowed;
use super::unwrap::into_cache;
use crate::catalog::rows::Verb;
use crate::error::{Error, Result, RowResult};
use crate::keyring::table::{self, IndexKey, Table};
use crate::memory::cache;
use crate::settings;

/// How often a look-up starts again: unwrapped, read again, and once more since the catalog may change meanwhile.
const ATTEMPTS: usize = 4;

/// Calls `use_key` with the key that makes terms under `key_id`, one of [`Table::index_keys`], for a value of `bytes`
/// bytes. The KMS is asked for it when it is not in memory.
///
/// `verb` is what the current role does, and must have the right to on `table`, whose keyring holds the key (of an
/// index with the keys of another table, that one): [`Verb::Search`] for a query; [`Verb::Encrypt`] where a row's terms
/// are written; [`Verb::Manage`] where an index is built. What writes terms asks that the KEKs of the key are allowed,
/// as sealing does.
pub fn with_index_key<T>(
    table: &Table,
    key_id: &KeyId,
    verb: Verb,
    bytes: usize,
    use_key: impl Fn(&[u8; 32]) -> RowResult<T>,
) -> Result<T> {
    with_keys(table, key_id, verb, bytes, |keys| use_key(keys.terms()))
}

/// As [`with_index_key`], the key that seals boundary sets.
pub fn with_boundaries_key<T>(
    table: &Table,
    key_id: &KeyId,
    verb: Verb,
    bytes: usize,
    use_key: impl Fn(&[u8; 32]) -> RowResult<T>,
) -> Result<T> {
    with_keys(table, key_id, verb, bytes, |keys| use_key(keys.boundaries()))
}

#[inline]
fn with_keys<T>(
    table: &Table,
    key_id: &KeyId,
    verb: Verb,
    bytes: usize,
    use_keys: impl Fn(&IndexKeys) -> RowResult<T>,
) -> Result<T> {
    settings::check_unplanted()?;
    let mut read_again = None;
    for _ in 0..ATTEMPTS {
        let table = read_again.as_ref().unwrap_or(table);
        table.require_right(verb)?;
        let index_key = in_use(table, key_id)?;
        if verb != Verb::Search {
            require_allowed(*key_id, &index_key.holders, table)?;
        }
        let place = &index_key.place;
        match cache::with_key(key_id, place, bytes, |key, _| use_keys(key.index_keys()?))? {
            Some(done) => return Ok(done),
            None => into_cache(*key_id, table)?,
        }
        read_again = Some(table::get_as(table.relation(), table.role())?);
    }
    Err(Error::NotKept(*key_id))
}

/// 42704 when it is none of the table's, or makes no terms any more.
fn in_use<'a>(table: &'a Table, key_id: &KeyId) -> Result<&'a IndexKey> {
    let found = table.index_keys().iter().find(|key| key.key_id == *key_id);
    found.ok_or_else(|| Error::NoIndexKey { table: table.name(), key: Some(*key_id) })
}
