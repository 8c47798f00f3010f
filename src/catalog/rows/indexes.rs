//! Search indexes: the rows of `envelope.column_index`.

use std::ffi::{CStr, CString};

use envelope::header::KeyId;
use pgrx::pg_sys;
use uuid::Uuid;

use super::{collect, required};
use crate::catalog;
use crate::catalog::scan::{self, Key, Row};
use crate::catalog::shards;
use crate::error::{Error, IndexError, Result};
use crate::pg::encoding;
use crate::pg::relation::display_name;

/// A column that holds the terms or tokens of a column's sealed values.
#[derive(Clone)]
pub struct IndexRow {
    pub id: Uuid,
    /// The table, or the topmost one of a partition tree.
    pub relation: pg_sys::Oid,
    /// The column of the values, in the server's encoding.
    pub column_name: CString,
    /// The column of the terms, in the server's encoding.
    pub index_column: CString,
    /// What is computed, as text.
    pub rule: String,
    /// Its name in the terms.
    pub label: String,
    /// Bytes of a term after those of the key id; `None`: the column holds tokens.
    pub term_length: Option<u8>,
    /// Whose index keys are used.
    pub keys: KeysOf,
    /// The index key that terms are pinned to, or that queries ask tokens of; `None`: the active one.
    pub key_id: Option<KeyId>,
    pub is_unique: bool,
    /// Sealed, for buckets.
    pub boundaries: Option<Vec<u8>>,
    /// Every row has its terms.
    pub built: bool,
    /// The transaction that has said all that: whose snapshot is older does not see the terms that were made before.
    pub writer: pg_sys::TransactionId,
}

impl IndexRow {
    /// Whether both are of one column of one table, and under one index key have the same terms but for their length.
    pub fn is_made_as(&self, other: &IndexRow) -> bool {
        self.relation == other.relation
            && self.column_name == other.column_name
            && self.rule == other.rule
            && self.label == other.label
            && self.keys == other.keys
    }

    /// The table whose index keys make the terms. 42704 when it is gone: those of another key would find nothing.
    pub fn keys_table(&self) -> Result<pg_sys::Oid> {
        match self.keys {
            KeysOf::Own => Ok(self.relation),
            KeysOf::Table(table) => Ok(table),
            KeysOf::Gone => Err(IndexError::KeysGone {
                index_column: encoding::to_string(self.index_column.to_bytes()),
                table: display_name(self.relation),
            }
            .into()),
        }
    }
}

/// Whose index keys make the terms.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeysOf {
    /// The table's own.
    Own,
    /// Those of that table.
    Table(pg_sys::Oid),
    /// Those of a table that is not there any more.
    Gone,
}

/// The indexes of the columns of `relation` itself. None in the catalog of a release that had none.
pub fn indexes(relation: pg_sys::Oid) -> Result<Vec<IndexRow>> {
    by(relation, c"column_index_relation", 2)
}

/// The indexes of the columns of `relation`; of a partition, each by the nearest table that has one for the column of
/// values: as with its policy.
pub fn nearest_indexes(relation: pg_sys::Oid) -> Result<Vec<IndexRow>> {
    let mut found = indexes(relation)?;
    for table in shards::above(relation)? {
        let further = indexes(table)?.into_iter();
        let further: Vec<IndexRow> = further
            .filter(|index| !found.iter().any(|nearer| nearer.column_name == index.column_name))
            .collect();
        found.extend(further);
    }
    Ok(found)
}

/// The indexes of other tables that use the index keys of `relation`.
pub fn indexes_with_keys_of(relation: pg_sys::Oid) -> Result<Vec<IndexRow>> {
    by(relation, c"column_index_keys_of", 8)
}

/// The indexes of all tables, and those of tables that are gone.
pub fn all_indexes() -> Result<Vec<IndexRow>> {
    let mut found = Vec::new();
    if is_there()? {
        scan::all(c"column_index", |row| {
            found.push(index_row(row)?);
            Ok(true)
        })?;
    }
    Ok(found)
}

fn by(relation: pg_sys::Oid, index: &CStr, column: i16) -> Result<Vec<IndexRow>> {
    if is_there()? {
        collect(c"column_index", index, column, &Key::Oid(relation), index_row)
    } else {
        Ok(Vec::new())
    }
}

/// The catalog of an earlier release lacks the table, and so does one that is being dropped: what is else there goes on.
fn is_there() -> Result<bool> {
    for name in [c"column_index", c"column_index_relation", c"column_index_keys_of"] {
        match catalog::oid_of(name) {
            Ok(_) => {}
            Err(Error::Outdated) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

fn index_row(row: &Row) -> Result<IndexRow> {
    Ok(IndexRow {
        id: Uuid::from_bytes(required(row.uuid(1), "column_index.id")?),
        relation: required(row.oid(2), "column_index.relation")?,
        column_name: required(row.name(3), "column_index.column_name")?,
        index_column: required(row.name(4), "column_index.index_column")?,
        rule: required(row.text(5), "column_index.rule")?,
        label: required(row.text(6), "column_index.label")?,
        term_length: match row.i32(7) {
            None => None,
            Some(length) => Some(required(u8::try_from(length).ok(), "column_index.term_length")?),
        },
        keys: match row.oid(8) {
            None => KeysOf::Own,
            Some(pg_sys::InvalidOid) => KeysOf::Gone,
            Some(table) => KeysOf::Table(table),
        },
        key_id: row.uuid(9).map(KeyId),
        is_unique: required(row.bool(10), "column_index.is_unique")?,
        boundaries: row.bytes(11),
        built: required(row.bool(12), "column_index.built")?,
        writer: row.writer(),
    })
}
