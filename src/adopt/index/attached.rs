//! A partition that comes with rows: what wrote them made no terms, or those of another index.

use pgrx::pg_sys;

use crate::catalog::rows;
use crate::catalog::shards;
use crate::catalog::write;
use crate::error::{Error, IndexError, Result};
use crate::pg::local_settings::{ALL_ROWS, LocalSettings};
use crate::pg::relation::{self, display_name, quoted};
use crate::pg::{attribute, encoding, report, spi};

/// An error where terms were made by index keys that nothing asks for when `partition` is one of `root`.
fn require_no_keys(root: pg_sys::Oid, partition: pg_sys::Oid) -> Result<()> {
    for member in relation::family(partition, pg_sys::NoLock as pg_sys::LOCKMODE) {
        let mut indexes = rows::indexes(member)?;
        indexes.extend(rows::indexes_with_keys_of(member)?);
        if let Some(index) = indexes.first() {
            return Err(IndexError::KeysOfPartition {
                partition: display_name(partition),
                root: display_name(root),
                index_column: encoding::text(&index.index_column),
                table: display_name(index.relation),
            }
            .into());
        }
    }
    Ok(())
}

/// `partition` is about to be attached to `relation`. Unless it has no values, the indexes of those count as not built:
/// questions are errors then, and not answers that lack its rows.
pub fn attached(relation: pg_sys::Oid, partition: pg_sys::Oid) -> Result<()> {
    let root = shards::root(relation)?;
    require_no_keys(root, partition)?;
    let mut indexes = rows::indexes(root)?;
    indexes
        .retain(|index| index.built && attribute::number(partition, &index.column_name).is_some());
    if indexes.is_empty() {
        return Ok(());
    }
    let (table, part) = (display_name(root), display_name(partition));
    // Nothing is known of rows elsewhere.
    let is_foreign = relation::is_foreign(partition);
    if !is_foreign {
        // As PostgreSQL is about to: until then nobody adds a row.
        let lock = format!("LOCK TABLE {part} IN ACCESS EXCLUSIVE MODE");
        spi::run(&lock).map_err(Error::Corrupt)?;
    }
    for index in indexes {
        let column = encoding::to_string(index.column_name.to_bytes());
        let sql = format!(
            "SELECT ''::pg_catalog.bytea WHERE EXISTS (SELECT FROM {part} WHERE {} IS NOT NULL)",
            quoted(&column)
        );
        let has_values = is_foreign || {
            let _all = LocalSettings::of(&[ALL_ROWS]);
            spi::bytes(&sql, &[]).map_err(Error::Corrupt)?.is_some()
        };
        if has_values {
            write::indexes::set_built(index.id, false)?;
            let index_column = encoding::to_string(index.index_column.to_bytes());
            report::warning(
                format!(
                    "the search index in column \"{index_column}\" of table {table} is not built any more: {part} comes with rows"
                ),
                "CALL envelope.build_index: until then queries by it are errors.",
            );
        }
    }
    Ok(())
}
