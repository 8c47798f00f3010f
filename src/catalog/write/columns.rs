//! The register of columns that hold sealed values.

use pgrx::pg_sys;

use super::{pg_uuid, random_uuid, touch};
use crate::error::Result;

/// Registers a column as holding sealed values; false when it was already.
pub fn register(relation: pg_sys::Oid, column: &str) -> Result<bool> {
    let rows = touch(
        "INSERT INTO envelope.sealed_column (id, relation, column_name, tag)
         VALUES ($1, $2::regclass, convert_from($3, 'UTF8')::name, convert_from($3, 'UTF8'))
         ON CONFLICT DO NOTHING",
        &[pg_uuid(random_uuid()?), relation.into(), column.as_bytes().into()],
    )?;
    Ok(rows == 1)
}

/// Takes a column off the register; false when it was not there.
pub fn unregister(relation: pg_sys::Oid, column: &str) -> Result<bool> {
    let rows = touch(
        "DELETE FROM envelope.sealed_column
         WHERE relation::oid = $1 AND column_name = convert_from($2, 'UTF8')::name",
        &[relation.into(), column.as_bytes().into()],
    )?;
    Ok(rows > 0)
}
