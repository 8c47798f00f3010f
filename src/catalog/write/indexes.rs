//! Search indexes: which columns hold the terms of which.

use std::ffi::CStr;

use envelope::header::KeyId;
use pgrx::pg_sys;
use uuid::Uuid;

use super::{execute, pg_uuid, table_ref, touch};
use crate::catalog::rows::{IndexRow, KeysOf};
use crate::error::Result;
use crate::pg::encoding::text;

/// A new index.
pub fn insert(index: &IndexRow) -> Result<()> {
    let keys_of = match index.keys {
        KeysOf::Own => None,
        KeysOf::Table(table) => Some(table),
        KeysOf::Gone => Some(pg_sys::InvalidOid),
    };
    execute(
        "INSERT INTO envelope.column_index
           (id, relation, column_name, index_column, rule, label, term_length, keys_of, key_id, is_unique,
            boundaries, built)
         VALUES ($1, $2, convert_from($3, 'UTF8')::name, convert_from($4, 'UTF8')::name,
                 convert_from($5, 'UTF8'), convert_from($6, 'UTF8'), $7, CASE WHEN $8 THEN $9 END, $10, $11, $12,
                 $13)",
        &[
            pg_uuid(index.id),
            table_ref(index.relation)?,
            text(&index.column_name).as_bytes().into(),
            text(&index.index_column).as_bytes().into(),
            index.rule.as_bytes().into(),
            index.label.as_bytes().into(),
            index.term_length.map(i32::from).into(),
            keys_of.is_some().into(),
            table_ref(keys_of.unwrap_or(pg_sys::InvalidOid))?,
            index.key_id.map(key_uuid).into(),
            index.is_unique.into(),
            index.boundaries.as_deref().into(),
            index.built.into(),
        ],
    )
}

/// Other names of its columns.
pub fn rename(id: Uuid, column: &CStr, index_column: &CStr) -> Result<()> {
    execute(
        "UPDATE envelope.column_index SET column_name = convert_from($2, 'UTF8')::name,
                                          index_column = convert_from($3, 'UTF8')::name
         WHERE id = $1",
        &[pg_uuid(id), text(column).as_bytes().into(), text(index_column).as_bytes().into()],
    )
}

/// Every row has its terms, or not any more.
pub fn set_built(id: Uuid, built: bool) -> Result<()> {
    execute(
        "UPDATE envelope.column_index SET built = $2 WHERE id = $1",
        &[pg_uuid(id), built.into()],
    )
}

/// The index key that terms are pinned to, or that queries ask tokens of.
pub fn set_key(id: Uuid, key_id: Option<KeyId>) -> Result<()> {
    execute(
        "UPDATE envelope.column_index SET key_id = $2 WHERE id = $1",
        &[pg_uuid(id), key_id.map(key_uuid).into()],
    )
}

/// Other boundaries, sealed.
pub fn set_boundaries(id: Uuid, boundaries: &[u8]) -> Result<()> {
    execute(
        "UPDATE envelope.column_index SET boundaries = $2 WHERE id = $1",
        &[pg_uuid(id), boundaries.into()],
    )
}

/// The index ends.
pub fn delete(id: Uuid) -> Result<()> {
    execute("DELETE FROM envelope.column_index WHERE id = $1", &[pg_uuid(id)])
}

/// `relation` is being dropped: its indexes are those of no table, and those that use its index keys have none.
pub fn forget_table(relation: pg_sys::Oid) -> Result<()> {
    touch(
        "UPDATE envelope.column_index SET relation = $2 WHERE relation::oid = $1",
        &[relation.into(), table_ref(pg_sys::InvalidOid)?],
    )?;
    touch(
        "UPDATE envelope.column_index SET keys_of = $2 WHERE keys_of::oid = $1",
        &[relation.into(), table_ref(pg_sys::InvalidOid)?],
    )
    .map(|_| ())
}

fn key_uuid(key_id: KeyId) -> pgrx::datum::Uuid {
    pgrx::datum::Uuid::from_bytes(key_id.0)
}
