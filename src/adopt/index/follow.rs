//! Indexes follow what becomes of their columns: renames, drops, other types.

use std::ffi::{CStr, CString};

use pgrx::pg_sys;

use crate::catalog::{rows, write};
use crate::error::{IndexError, Result};
use crate::pg::encoding::{self, text};
use crate::pg::relation::display_name;

/// An index ends with its column, or with the column of its values.
pub fn dropped(relation: pg_sys::Oid, name: &CStr) -> Result<()> {
    for index in rows::indexes(relation)? {
        if index.index_column.as_c_str() == name || index.column_name.as_c_str() == name {
            write::indexes::delete(index.id)?;
        }
    }
    Ok(())
}

/// A column has a new name. 0A000 when it holds terms, and becomes one of another type.
pub fn altered(
    relation: pg_sys::Oid,
    name: &CStr,
    new_name: &CStr,
    is_retyped: bool,
) -> Result<()> {
    for index in rows::indexes(relation)? {
        let is_index = index.index_column.as_c_str() == name;
        if is_index && is_retyped {
            return Err(IndexError::Retyped {
                index_column: text(name),
                table: display_name(relation),
                column: text(&index.column_name),
            }
            .into());
        }
        let renamed = |of: &CStr| if of == name { new_name.to_owned() } else { of.to_owned() };
        if name != new_name && (is_index || index.column_name.as_c_str() == name) {
            let (column, index_column) =
                (renamed(&index.column_name), renamed(&index.index_column));
            write::indexes::rename(index.id, &column, &index_column)?;
        }
    }
    Ok(())
}

/// 55000 while a column has indexes: they need its policy as it is.
pub fn require_none(relation: pg_sys::Oid, column: &CStr) -> Result<()> {
    let indexes = rows::indexes(relation)?;
    let of_it = indexes.iter().filter(|index| index.column_name.as_c_str() == column);
    let index_columns: Vec<String> = of_it.map(|index| text(&index.index_column)).collect();
    if index_columns.is_empty() {
        return Ok(());
    }
    let (column, table) = (text(column), display_name(relation));
    Err(IndexError::Needs { column, table, index_columns }.into())
}

/// As [`require_none`], for a name in UTF-8.
pub fn require_none_of(relation: pg_sys::Oid, column: &str) -> Result<()> {
    let name = encoding::from_utf8(column.as_bytes()).ok();
    match name.and_then(|name| CString::new(&*name).ok()) {
        Some(name) => require_none(relation, &name),
        None => Ok(()),
    }
}
