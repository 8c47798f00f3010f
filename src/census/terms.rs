//! Whether an index term, a set of tokens or a boundary set still needs an index key.
//!
//! The indexes of all tables that use its keyring are looked at: a row of the index column is under a key when it begins
//! with the two bytes of the key's id or, of tokens, has the key's marker. Two bytes may be another key's as well: here
//! that is the safe side. What is not looked at is a copy of an index column elsewhere, which no query asks.
//!
//! Tokens are written under every index key that makes terms, so a row that has the marker of the key that is asked as
//! well does not need the other any more.

use std::collections::HashSet;

use envelope::header::{KeyId, peek_key_id};
use envelope::search::TERM_PREFIX_LEN;
use pgrx::pg_sys;
use uuid::Uuid;

use crate::catalog::rows::{self, DataKeyRow, IndexRow, KeysOf, Purpose, State};
use crate::catalog::{shards, tables};
use crate::census::in_use::{is_own, keep_writers_out, kept_family, lock_all};
use crate::census::look;
use crate::error::{IndexError, Place, Result};
use crate::pg::relation::{self, Kind, display_name};
use crate::pg::{attribute, encoding};

/// An error naming the first index that needs `key`, an index key. Writers are kept out of one's own tables that have
/// such indexes, to the end of the transaction.
pub fn require_unused(key: &DataKeyRow) -> Result<()> {
    lock_all(
        || {
            let tables = of_keyring(key.keyring_id)?.into_iter().map(|index| index.relation);
            Ok(tables.filter(|table| is_own(*table)).collect())
        },
        |wanted| {
            keep_writers_out(wanted);
            Ok(())
        },
    )?;
    let active = rows::data_keys(key.keyring_id)?
        .into_iter()
        .find(|other| other.purpose == Purpose::Index && other.state == State::Active)
        .map(|active| active.key_id);
    for index in of_keyring(key.keyring_id)? {
        if let Some((why, place)) = need(&index, key.key_id, active)? {
            return Err(IndexError::KeyNeeded {
                key: key.key_id,
                index_column: encoding::to_string(index.index_column.to_bytes()),
                table: display_name(index.relation),
                why,
                place,
            }
            .into());
        }
    }
    Ok(())
}

/// The indexes whose terms may be under index keys of the keyring, of tables that are there.
fn of_keyring(keyring_id: Uuid) -> Result<Vec<IndexRow>> {
    let mut found = rows::all_indexes()?;
    found.retain(|index| {
        index.relation != pg_sys::InvalidOid && relation::kind(index.relation) != Kind::Missing
    });
    let mut of_it = Vec::new();
    for index in found {
        let uses = match index.keys {
            KeysOf::Own => uses(index.relation, keyring_id)?,
            KeysOf::Table(table) => uses(table, keyring_id)?,
            // Whose it was nobody knows any more.
            KeysOf::Gone => true,
        };
        if uses {
            of_it.push(index);
        }
    }
    Ok(of_it)
}

/// Whether `table`, or the topmost one of its tree, seals or opens with the keyring.
fn uses(table: pg_sys::Oid, keyring_id: Uuid) -> Result<bool> {
    let mut links = rows::keyring_tables(table)?;
    links.extend(rows::keyring_tables(shards::root(table)?)?);
    Ok(links.iter().any(|link| link.keyring_id == keyring_id))
}

/// As many bytes as a value may have.
pub const ALL_BYTES: usize = i32::MAX as usize;

/// Whether what stands in the column of an index, without its length word, may have been made by one of these keys. No
/// bytes, and no tokens, ask for terms to be made.
pub fn is_under_any(index: &IndexRow, stored: &[u8], keys: &[KeyId]) -> bool {
    match index.term_length {
        Some(_) => {
            stored.is_empty()
                || keys.iter().any(|key| stored.starts_with(&key.0[..TERM_PREFIX_LEN]))
        }
        None => {
            let mut any = tokens(stored).peekable();
            let markers: Vec<i64> = keys.iter().map(|key| marker(*key)).collect();
            any.peek().is_none() || any.any(|token| markers.contains(&token))
        }
    }
}

/// Why the index needs the key, if it does.
fn need(
    index: &IndexRow,
    key: KeyId,
    active: Option<KeyId>,
) -> Result<Option<(&'static str, Option<Place>)>> {
    if index.key_id == Some(key) {
        return Ok(Some(("queries ask for its terms", None)));
    }
    if index.boundaries.as_deref().and_then(peek_key_id) == Some(key) {
        return Ok(Some(("its boundaries are sealed under it", None)));
    }
    let asked = index.key_id.or(active).filter(|asked| *asked != key).map(marker);
    let is_under_key = |bytes: &[u8]| match index.term_length {
        Some(_) => bytes.starts_with(&key.0[..TERM_PREFIX_LEN]),
        None => needs_marker(tokens(bytes), marker(key), asked),
    };
    if !is_own(index.relation) {
        kept_family(index.relation)?;
    }
    for member in tables::in_lock_order(&HashSet::from([index.relation]))? {
        let Some(column) = attribute::number(member, &index.index_column) else { continue };
        if let Some(place) = look::find_any(member, column, is_under_key)? {
            return Ok(Some(("a row has a term of it", Some(place))));
        }
    }
    Ok(None)
}

/// The number that says in a set of tokens which key made it.
fn marker(key: KeyId) -> i64 {
    let mut first = [0; 8];
    first.copy_from_slice(&key.0[..8]);
    i64::from_be_bytes(first)
}

/// Whether a set was made under the key of `old`, and not under the one that is `asked`.
fn needs_marker(mut tokens: impl Iterator<Item = i64>, old: i64, asked: Option<i64>) -> bool {
    let (mut has_old, mut has_asked) = (false, false);
    tokens.any(|token| {
        has_old |= token == old;
        has_asked |= Some(token) == asked;
        has_asked
    });
    has_old && !has_asked
}

/// The numbers of an array of int8, from its bytes after the length word (`ArrayType` in utils/array.h): dimensions, the
/// offset of the data where some are NULL, the type, then two numbers a dimension. What cannot be one has none.
fn tokens(array: &[u8]) -> impl Iterator<Item = i64> {
    let number = |at: usize| {
        let four = array.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(i32::from_ne_bytes(four)).ok()
    };
    let start = || match (number(0)?, number(4)?) {
        (dimensions @ 1..=6, 0) => Some((4 + 12 + 8 * dimensions).next_multiple_of(8) - 4),
        (_, offset) => offset.checked_sub(4),
    };
    let data = start().and_then(|start| array.get(start..)).unwrap_or_default();
    data.as_chunks::<8>().0.iter().map(|eight| i64::from_ne_bytes(*eight))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As PostgreSQL stores `values`, without the length word.
    fn array(values: &[i64]) -> Vec<u8> {
        let length = i32::try_from(values.len()).unwrap_or_default();
        let mut bytes: Vec<u8> =
            [1, 0, 20, length, 1].into_iter().flat_map(i32::to_ne_bytes).collect();
        bytes.extend(values.iter().flat_map(|value| value.to_ne_bytes()));
        bytes
    }

    #[test]
    fn reads_what_stands_in_an_array() {
        let read = |bytes: &[u8]| tokens(bytes).collect::<Vec<_>>();
        assert_eq!(read(&array(&[i64::MIN, -1, 0, 7])), [i64::MIN, -1, 0, 7]);
        let empty: Vec<u8> = [0, 0, 20].into_iter().flat_map(i32::to_ne_bytes).collect();
        for none in [&[][..], &[1], &empty, &array(&[]), &array(&[1])[..20]] {
            assert!(read(none).is_empty(), "{none:?}");
        }
    }

    #[test]
    fn a_set_needs_a_key_whose_marker_stands_alone() {
        let needs = |tokens: &[i64]| needs_marker(tokens.iter().copied(), 1, Some(2));
        assert!(needs(&[1]) && needs(&[0, 1, 5]));
        assert!(!needs(&[]) && !needs(&[2]) && !needs(&[5]));
        assert!(!needs(&[1, 2]) && !needs(&[2, 1]) && !needs(&[1, 2, 5]));
        assert!(needs_marker([1, 2].into_iter(), 1, None));
    }

    #[test]
    fn a_marker_is_the_first_bytes_of_the_key_id() {
        let mut id = [0; 16];
        id[..9].copy_from_slice(&[0xFF, 0, 0, 0, 0, 0, 0, 1, 9]);
        assert_eq!(marker(KeyId(id)), i64::from_be_bytes([0xFF, 0, 0, 0, 0, 0, 0, 1]));
    }
}
