//! Views that show the opened values of a table beside its other columns: `envelope.open_view`.
//!
//! All is printed before anything is run, and made from what policies say: [`columns`] says what a view shows, [`ddl`]
//! puts it into words.

mod columns;
mod ddl;

use std::collections::BTreeMap;
use std::ffi::CStr;

use pgrx::pg_sys;

use crate::error::{Error, Result, ViewError};
use crate::keyring::table;
use crate::pg::quote::{self, Sql};
use crate::pg::relation::{self, display_name};
use crate::pg::{acl, row_key, saved_plan, view};

/// What is asked for.
pub struct Wanted<'a> {
    pub relation: pg_sys::Oid,
    /// As SQL writes a name, in the server's encoding.
    pub view: &'a CStr,
    pub write: Write,
    /// By the name under which the view shows the opened value.
    pub masks: BTreeMap<String, Mask>,
}

/// What is written through the view.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Write {
    /// Plain columns and sealed ones, by PostgreSQL itself.
    Table,
    /// The opened values too, by triggers.
    Triggers,
}

/// What a role sees that may not open a value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mask {
    /// NULL.
    Null,
    /// The last four characters of a text.
    Last4,
    /// An error.
    Error,
}

impl Write {
    /// As SQL says it.
    pub fn named(name: &str) -> Result<Write> {
        match name {
            "table" => Ok(Write::Table),
            "triggers" => Ok(Write::Triggers),
            _ => Err(Error::BadArgument("write must be 'table' or 'triggers'".into())),
        }
    }
}

impl Mask {
    /// As SQL says it.
    pub fn named(name: &str) -> Result<Mask> {
        match name {
            "null" => Ok(Mask::Null),
            "last4" => Ok(Mask::Last4),
            "error" => Ok(Mask::Error),
            _ => Err(Error::BadArgument("a mask is 'null', 'last4' or 'error'".into())),
        }
    }
}

/// The statements that make the view, in their order.
pub fn open_view(wanted: &Wanted<'_>) -> Result<Vec<Sql>> {
    let relation = wanted.relation;
    table::require_can_have_keys(relation)?;
    if !acl::may_read_some(acl::current_role(), relation) {
        return Err(Error::NotReadable(display_name(relation)));
    }
    if !view::HAS_SECURITY_INVOKER && relation::has_row_security(relation) {
        return Err(ViewError::HidesNoRows { table: display_name(relation) }.into());
    }
    if wanted.write == Write::Triggers && row_key::of(relation).is_none() {
        return Err(ViewError::NoRowKey { table: display_name(relation) }.into());
    }
    let (schema, name) = quote::new_relation(wanted.view);
    let view = quote::qualified(&schema, &name);
    let shown = columns::shown(relation, &wanted.masks)?;
    ddl::statements(relation, &view, wanted.write, &shown)
}

/// Runs them as the current role, in the current transaction.
pub fn run(statements: &[Sql]) -> Result<()> {
    for statement in statements {
        let ran = saved_plan::run_once(&statement.to_cstring());
        ran.map_err(|why| Error::Corrupt(format!("a statement could not be run: {why}")))?;
    }
    Ok(())
}
