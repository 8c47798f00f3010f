//! Values that are left under the row context that a column had before.

use std::ffi::CStr;

use pgrx::pg_sys;

use crate::error::{Error, Result};
use crate::pg::local_settings::{ALL_ROWS, LocalSettings};
use crate::pg::quote::Sql;
use crate::pg::relation::{display_name, quoted_cstring};
use crate::pg::{encoding, spi};
use crate::sweep::source;

/// How many there are, in all rows of the table and of its partitions, each of which is opened; `None` when the column
/// has no former context. The current role reads the table: it needs the right to, and rows that are hidden from it
/// are an error. Damaged values open under no context, and do not count.
pub fn under_former_context(relation: pg_sys::Oid, column: &CStr) -> Result<Option<u64>> {
    let (now, Some(former)) = source::contexts(relation, column)? else { return Ok(None) };
    let gone = || Error::NoRelation(display_name(relation));
    let table = quoted_cstring(relation).ok_or_else(gone)?;
    let value = Sql::new("").name(column).sql("::pg_catalog.bytea");
    let arguments = [
        Sql::new("tableoid"),
        value.clone(),
        now,
        former,
        Sql::new("").literal(column),
        Sql::new("ctid"),
    ];
    // Plaintext is bound to nothing.
    let query = Sql::new(
        "SELECT pg_catalog.convert_to(pg_catalog.count(*)::pg_catalog.text, 'UTF8') FROM ",
    )
    .quoted(&table)
    .sql(" WHERE CASE WHEN envelope.is_unsealed(")
    .joined(&arguments, ", ")
    .sql(") THEN envelope.is_sealed(")
    .add(&value)
    .sql(") ELSE false END");
    let _all = LocalSettings::of(&[ALL_ROWS]);
    let count = spi::bytes(&encoding::to_string(query.as_bytes()), &[]).map_err(Error::Corrupt)?;
    let count = count.and_then(|count| String::from_utf8(count).ok()?.parse().ok());
    count.map(Some).ok_or_else(|| Error::Corrupt("values could not be counted".into()))
}
