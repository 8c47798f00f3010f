//! PostgreSQL's own catalog, asked as the owner of the schema.

use pgrx::pg_sys;
use pgrx::spi::Spi;

use crate::catalog::schema;
use crate::error::{Error, Result};
use crate::pg::owner::ActingAsOwner;

/// The tables and materialized views of this database, PostgreSQL's own and other sessions' temporary ones left
/// out, that have a column of type bytea or of a domain over it.
pub fn with_bytea_columns() -> Result<Vec<pg_sys::Oid>> {
    let _owner = ActingAsOwner::of_schema(schema()?).ok_or(Error::NotInstalled)?;
    Spi::connect(|client| {
        let rows = client.select(
            "SELECT c.oid FROM pg_class c
             WHERE c.relkind IN ('r', 'm') AND NOT pg_is_other_temp_schema(c.relnamespace) AND c.oid >= 16384
               AND c.relnamespace <> 'envelope'::regnamespace
               AND EXISTS (
                 WITH RECURSIVE bytea (oid) AS (
                   SELECT 'bytea'::regtype::oid
                   UNION SELECT t.oid FROM pg_type t JOIN bytea b ON t.typbasetype = b.oid)
                 SELECT FROM pg_attribute a JOIN bytea b ON a.atttypid = b.oid
                 WHERE a.attrelid = c.oid AND a.attnum > 0)",
            None,
            &[],
        )?;
        rows.filter_map(|row| row.get(1).transpose()).collect::<std::result::Result<_, _>>()
    })
    .map_err(|error: pgrx::spi::Error| Error::Corrupt(format!("catalog read failed: {error}")))
}
