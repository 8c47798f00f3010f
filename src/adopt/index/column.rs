//! The column of an index: one that is there and only the trigger sets, or one that is made.

use std::ffi::{CStr, CString};

use pgrx::pg_sys;

use crate::adopt::plan::text::joined;
use crate::catalog;
use crate::catalog::rows::{self, PolicyRow};
use crate::error::{Error, IndexError, Result};
use crate::pg::local_settings::{ALL_ROWS, LocalSettings};
use crate::pg::relation::{display_name, quoted};
use crate::pg::{acl, attribute, encoding, spi, types};

/// The column of an index that is being added.
pub struct IndexColumn {
    pub name: CString,
    pub is_new: bool,
    needs: &'static str,
}

impl IndexColumn {
    /// The column that is named, or one that can be made.
    pub fn find(
        policy: &PolicyRow,
        named: Option<&CStr>,
        kind: &str,
        is_tokens: bool,
    ) -> Result<IndexColumn> {
        let needs = if is_tokens { "bigint[]" } else { "bytea" };
        let relation = policy.relation;
        let name = match named {
            Some(name) => name.to_owned(),
            None => free(policy, kind)?,
        };
        let is_new = attribute::number(relation, &name).is_none();
        let column = IndexColumn { name, is_new, needs };
        encoding::to_exact_string(column.name.to_bytes())
            .map_err(|why| Error::NotUtf8 { untranslatable: why.is_untranslatable() })?;
        if !column.is_new {
            require_ours_alone(relation, &column)?;
        }
        Ok(column)
    }

    /// For messages and SQL.
    pub fn plain(&self) -> String {
        encoding::to_string(self.name.to_bytes())
    }

    /// Makes it, if it is not there, as the current role.
    pub fn make(&self, relation: pg_sys::Oid) -> Result<()> {
        if !self.is_new {
            return Ok(());
        }
        let (table, column) = (display_name(relation), quoted(&self.plain()));
        let sql =
            format!("ALTER TABLE {table} ADD COLUMN {column} pg_catalog.{}", self.type_name());
        spi::run(&sql).map_err(Error::Corrupt)
    }

    /// 55000 when it holds values, which building the index would overwrite.
    pub fn require_empty(&self, relation: pg_sys::Oid) -> Result<()> {
        if self.is_new {
            return Ok(());
        }
        let (table, index_column) = (display_name(relation), self.plain());
        let sql = format!(
            "SELECT ''::pg_catalog.bytea WHERE EXISTS (SELECT FROM {table} WHERE {} IS NOT NULL)",
            quoted(&index_column)
        );
        let _all = LocalSettings::of(&[ALL_ROWS]);
        match spi::bytes(&sql, &[]).map_err(Error::Corrupt)? {
            None => Ok(()),
            Some(_) => Err(IndexError::HoldsValues { index_column, table }.into()),
        }
    }

    fn type_name(&self) -> &'static str {
        if self.needs == "bytea" { "bytea" } else { "int8[]" }
    }
}

/// A name that no column of the table bears.
fn free(policy: &PolicyRow, kind: &str) -> Result<CString> {
    let column = encoding::to_string(policy.column_name.to_bytes());
    for suffix in ["_ix".to_owned(), format!("_{kind}")] {
        let name = encoding::from_utf8(joined(&column, &suffix).as_bytes())
            .ok()
            .and_then(|name| CString::new(&*name).ok())
            .ok_or(Error::Untranslatable("the name of the index column"))?;
        if attribute::number(policy.relation, &name).is_none() {
            return Ok(name);
        }
    }
    Err(IndexError::NoName { column, table: display_name(policy.relation) }.into())
}

/// Whoever may only manage keys must not have the trigger write to any column of the table.
fn require_ours_alone(relation: pg_sys::Oid, column: &IndexColumn) -> Result<()> {
    let (index_column, table) = (column.plain(), display_name(relation));
    if !acl::owns_relation(acl::current_role(), relation) {
        return Err(IndexError::NotOwner { index_column, table }.into());
    }
    let number = super::number(relation, &column.name)?;
    let not_the_triggers = |is| {
        let (index_column, table) = (column.plain(), display_name(relation));
        Err(IndexError::NotTheTriggers { index_column, table, is }.into())
    };
    if attribute::is_made(relation, number) {
        return not_the_triggers("is generated");
    }
    let is_sealed = catalog::sealing_triggers(relation).iter().any(|trigger| {
        let arguments = trigger.arguments.iter();
        arguments.map(|argument| crate::adopt::policy::parts(argument)).any(|(target, source)| {
            target == column.name.to_bytes() || source == Some(column.name.to_bytes())
        })
    });
    for policy in rows::nearest_policies(relation)? {
        let name = column.plain();
        let former = policy.former.iter().flat_map(|former| &former.bound_columns);
        if policy.column_name == column.name
            || policy.source.as_ref() == Some(&column.name)
            || policy.bound_columns.iter().chain(former).any(|bound| *bound == name)
        {
            return not_the_triggers("is one of a policy");
        }
    }
    if is_sealed {
        return not_the_triggers("is sealed by a trigger");
    }
    let (kind, modifier) = attribute::type_of(relation, number);
    let right = if column.needs == "bytea" { pg_sys::BYTEAOID } else { pg_sys::INT8ARRAYOID };
    if kind != right {
        let is = types::display_name(kind, modifier);
        let needs = column.needs;
        return Err(IndexError::WrongColumn { index_column, table, is, needs }.into());
    }
    if attribute::is_not_null(relation, number) {
        return not_the_triggers("is NOT NULL");
    }
    if attribute::has_default(relation, number) {
        return not_the_triggers("has a default");
    }
    Ok(())
}

/// Whether a valid unique index stands on that column alone.
pub fn has_unique_index(relation: pg_sys::Oid, column: &CStr) -> Result<bool> {
    let number = super::number(relation, column)?;
    let sql = format!(
        "SELECT ''::pg_catalog.bytea FROM pg_catalog.pg_index i
         WHERE i.indrelid OPERATOR(pg_catalog.=) {}::pg_catalog.oid AND i.indisunique AND i.indisvalid AND i.indpred IS NULL
           AND {number}::pg_catalog.int2 OPERATOR(pg_catalog.=) ANY (i.indkey::pg_catalog.int2[])",
        relation.to_u32()
    );
    Ok(spi::bytes(&sql, &[]).map_err(Error::Corrupt)?.is_some())
}
