//! The register of columns that hold sealed values, for whoever must find all of them: what the
//! sealing trigger names is known without it.

use std::ffi::CStr;

use pgrx::pg_sys;

use crate::audit::Action;
use crate::catalog::rows;
use crate::catalog::write::{columns, events};
use crate::error::{Error, PolicyError, Result};
use crate::keyring::table;
use crate::pg::column::{self, Column};
use crate::pg::relation::{self, display_name};
use crate::pg::{acl, encoding, lock};

/// Registers a column; false when it was already.
pub fn register_column(relation: pg_sys::Oid, column: &CStr) -> Result<bool> {
    table::to_change(relation)?;
    // Or a drop that is not committed yet would leave a row that nothing takes away.
    lock::keep_relation(relation);
    table::require_can_have_keys(relation)?;
    sealable(relation, column)?;
    let column = encoding::to_string(column.to_bytes());
    let is_new = columns::register(relation, &column)?;
    tell(Action::RegisterColumn, relation, column)?;
    Ok(is_new)
}

/// Takes a column off the register, also one that is no longer there; false when it was not in it.
pub fn unregister_column(relation: pg_sys::Oid, column: &CStr) -> Result<bool> {
    table::to_change(relation)?;
    if rows::policy(relation, column)?.is_some() {
        let (column, table) = (encoding::to_string(column.to_bytes()), display_name(relation));
        return Err(PolicyError::Registers { column, table }.into());
    }
    let column = encoding::to_string(column.to_bytes());
    let was_there = columns::unregister(relation, &column)?;
    tell(Action::UnregisterColumn, relation, column)?;
    Ok(was_there)
}

/// Keeps a column what it is to the end of the transaction: stored as such, so that to read it runs no cast or view
/// code of its owner's. Nothing for who may not read it, whom PostgreSQL tells so.
pub fn keep_stored(relation: pg_sys::Oid, column: &CStr) -> Result<()> {
    let number = sealable(relation, column)?;
    if !acl::may_read_column(acl::current_role(), relation, number) {
        return Ok(());
    }
    lock::keep_relation(relation);
    if !relation::stores_rows(relation) {
        return Err(table::no_table(relation));
    }
    let number = sealable(relation, column)?;
    if column::is_virtual(relation, number) {
        let column = encoding::to_string(column.to_bytes());
        return Err(Error::ColumnNotSealable { column, table: display_name(relation) });
    }
    Ok(())
}

fn tell(action: Action, relation: pg_sys::Oid, column: String) -> Result<()> {
    events::tell(action, |event| {
        event.table = Some(display_name(relation));
        event.detail = Some(column);
    })
}

/// The number of a column that may hold sealed values.
pub fn sealable(relation: pg_sys::Oid, column: &CStr) -> Result<i16> {
    let named = || (encoding::to_string(column.to_bytes()), display_name(relation));
    match column::named(relation, column) {
        Column::Sealable(number) => Ok(number),
        Column::Other => {
            let (column, table) = named();
            Err(Error::ColumnNotSealable { column, table })
        }
        Column::Missing => {
            let (column, table) = named();
            Err(table::gone(relation).unwrap_or(Error::NoSuchColumn { column, table }))
        }
    }
}
