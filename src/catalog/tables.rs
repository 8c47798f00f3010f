//! PostgreSQL's own catalog, asked as the owner of the schema.

use pgrx::pg_sys;
use pgrx::spi::Spi;

use crate::catalog::{oid_of, schema};
use crate::error::{Error, Result};
use crate::pg::owner::ActingAsOwner;

/// The tables and materialized views of this database, PostgreSQL's own and other sessions' temporary
/// ones left out, that have a column of type bytea or of a domain over it.
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
    .map_err(unread)
}

/// Whether a subscription brings the data keys of this database from another.
pub fn keys_are_subscribed() -> Result<bool> {
    let _owner = ActingAsOwner::of_schema(schema()?).ok_or(Error::NotInstalled)?;
    Spi::connect(|client| {
        let sql = "SELECT FROM pg_subscription_rel WHERE srrelid = $1";
        client
            .select(sql, Some(1), &[oid_of(c"data_key")?.into()])
            .map(|rows| !rows.is_empty())
            .map_err(unread)
    })
}

fn unread(error: pgrx::spi::Error) -> Error {
    Error::Corrupt(format!("catalog read failed: {error}"))
}
