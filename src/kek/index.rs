//! What an index key derives, for whoever makes terms.

use envelope::header::KeyId;
use envelope::search::Hasher;

use super::sealing::require_allowed;
use super::unwrap::into_cache;
use crate::catalog::rows::Verb;
use crate::error::{Error, Result, RowResult};
use crate::keyring::table::{self, IndexKey, Table};
use crate::memory::cache;
use crate::memory::{Hashes, Indexes};
use crate::settings;

/// How often a look-up starts again: unwrapped, read again, and once more since the catalog may change meanwhile.
const ATTEMPTS: usize = 4;

/// Who uses an index key, and for what.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Whoever has that right on the table whose keyring holds the key: [`Verb::Search`] for a query, [`Verb::Manage`]
    /// where an index is added.
    Right(Verb),
    /// Who writes a row, and has been asked for the right to seal on its table. The terms may be under the keys of
    /// another one: whoever added the index may manage those.
    Writer,
    /// Who compares the terms of a row with a value that was opened for it.
    Reader,
}

impl By {
    /// What is written under a key is so that nobody else can read it: its KEKs must be allowed, as in sealing.
    fn writes(self) -> bool {
        !matches!(self, By::Right(Verb::Search) | By::Reader)
    }
}

impl From<Verb> for By {
    fn from(verb: Verb) -> By {
        By::Right(verb)
    }
}

/// Calls `use_hasher` with what makes the terms that are asked for under `key_id`, one of [`Table::index_keys`], for a
/// value of `bytes` bytes. The KMS is asked for the key when it is not in memory. `table` is the one whose keyring holds
/// it.
#[inline]
pub fn with_hasher<T>(
    table: &Table,
    key_id: &KeyId,
    by: impl Into<By>,
    bytes: usize,
    asked: Hashes<'_>,
    use_hasher: impl Fn(&Hasher) -> RowResult<T>,
) -> Result<T> {
    with_keys(table, key_id, by.into(), bytes, |keys| keys.with_hasher(asked, &use_hasher)?)
}

/// As [`with_hasher`], the key that seals boundary sets.
pub fn with_boundaries_key<T>(
    table: &Table,
    key_id: &KeyId,
    by: impl Into<By>,
    bytes: usize,
    use_key: impl Fn(&[u8; 32]) -> RowResult<T>,
) -> Result<T> {
    with_keys(table, key_id, by.into(), bytes, |keys| use_key(keys.keys().boundaries()))
}

#[inline]
fn with_keys<T>(
    table: &Table,
    key_id: &KeyId,
    by: By,
    bytes: usize,
    use_keys: impl Fn(&Indexes) -> RowResult<T>,
) -> Result<T> {
    settings::check_unplanted()?;
    let mut read_again = None;
    for _ in 0..ATTEMPTS {
        let table = read_again.as_ref().unwrap_or(table);
        if let By::Right(verb) = by {
            table.require_right(verb)?;
        }
        let index_key = in_use(table, key_id)?;
        if by.writes() {
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
