//! What columns are: the rows of `envelope.sealed_column` that are policies.

use std::ffi::{CStr, CString};

use pgrx::pg_sys;
use uuid::Uuid;

use super::{collect, required};
use crate::catalog::scan::{self, Key, Row};
use crate::catalog::shards;
use crate::error::{Error, PolicyError, Result};
use crate::pg::encoding;
use crate::pg::relation::display_name;

/// What a column is.
#[derive(Clone)]
pub struct PolicyRow {
    pub id: Uuid,
    /// The table, or the topmost one of a partition tree.
    pub relation: pg_sys::Oid,
    /// In the server's encoding.
    pub column_name: CString,
    /// Its name in row contexts, frozen.
    pub tag: String,
    /// Names, in the order of the row context.
    pub bound_columns: Vec<String>,
    pub form: Form,
    /// 0 when what is sealed has no type.
    pub value_type: pg_sys::Oid,
    /// -1 for none.
    pub value_typmod: i32,
    /// Where plaintext comes in, in the server's encoding.
    pub source: Option<CString>,
    /// `None`: as the type has it.
    pub block: Option<i32>,
    pub mask: Option<String>,
    /// The row context that some values may still have.
    pub former: Option<Former>,
}

impl PolicyRow {
    /// The error of a policy whose type was dropped.
    #[cold]
    pub fn type_is_gone(&self) -> Error {
        let column = encoding::to_string(self.column_name.to_bytes());
        PolicyError::TypeGone { column, table: display_name(self.relation) }.into()
    }
}

/// A row context of before.
#[derive(Clone, PartialEq, Eq)]
pub struct Former {
    pub tag: String,
    /// None: the empty context.
    pub bound_columns: Vec<String>,
}

/// How plaintext comes in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// In a column of type envelope.sealed.
    Sealed,
    /// In a column of its own.
    Source,
    /// In a bytea column, as bytes.
    Bytea,
}

impl Form {
    const ALL: [Form; 3] = [Form::Sealed, Form::Source, Form::Bytea];

    /// As it stands in the catalog and in SQL.
    pub fn name(self) -> &'static str {
        match self {
            Form::Sealed => "sealed",
            Form::Source => "source",
            Form::Bytea => "bytea",
        }
    }

    /// [`Self::name`] back.
    pub fn named(name: &str) -> Option<Form> {
        Self::ALL.into_iter().find(|form| form.name() == name)
    }
}

/// The policies of the columns of `relation` itself.
pub fn policies(relation: pg_sys::Oid) -> Result<Vec<PolicyRow>> {
    let key = Key::Oid(relation);
    let rows = collect(c"sealed_column", c"sealed_column_relation", 2, &key, policy_row)?;
    Ok(rows.into_iter().flatten().collect())
}

/// The policies of the columns of `relation`; of a partition, each by the nearest table that has one for the column: one
/// that was sealed by itself may have been attached. Of a shard likewise.
pub fn nearest_policies(relation: pg_sys::Oid) -> Result<Vec<PolicyRow>> {
    let mut found = policies(relation)?;
    for table in shards::above(relation)? {
        for policy in policies(table)? {
            if !found.iter().any(|nearer| nearer.column_name == policy.column_name) {
                found.push(policy);
            }
        }
    }
    Ok(found)
}

/// The policies of all tables.
pub fn all_policies() -> Result<Vec<PolicyRow>> {
    let mut found = Vec::new();
    scan::all(c"sealed_column", |row| {
        found.extend(policy_row(row)?);
        Ok(true)
    })?;
    Ok(found)
}

/// The policy of that column of `relation` itself.
pub fn policy(relation: pg_sys::Oid, column: &CStr) -> Result<Option<PolicyRow>> {
    Ok(policies(relation)?.into_iter().find(|policy| policy.column_name.as_c_str() == column))
}

/// The row context that the policy of a column gave before it ended, if that bound its values.
pub fn ended_context(relation: pg_sys::Oid, column: &CStr) -> Result<Option<Former>> {
    let key = Key::Oid(relation);
    let rows = collect(c"sealed_column", c"sealed_column_relation", 2, &key, |row| {
        let name = required(row.name(3), "sealed_column.column_name")?;
        if row.text(7).is_some() || name.as_c_str() != column {
            return Ok(None);
        }
        let tag = required(row.text(4), "sealed_column.tag")?;
        let bound_columns = required(row.texts(5), "sealed_column.bound_columns")?;
        Ok((!bound_columns.is_empty()).then_some(Former { tag, bound_columns }))
    })?;
    Ok(rows.into_iter().flatten().next())
}

/// `None` for a column that is registered only. A form that is not known here is an error: a later release has
/// written it, and what it asks for is not known.
fn policy_row(row: &Row) -> Result<Option<PolicyRow>> {
    let Some(form) = row.text(7) else { return Ok(None) };
    let former = match row.texts(14) {
        None => None,
        Some(bound_columns) => {
            let tag = required(row.text(13), "sealed_column.former_tag")?;
            Some(Former { tag, bound_columns })
        }
    };
    Ok(Some(PolicyRow {
        id: Uuid::from_bytes(required(row.uuid(1), "sealed_column.id")?),
        relation: required(row.oid(2), "sealed_column.relation")?,
        column_name: required(row.name(3), "sealed_column.column_name")?,
        tag: required(row.text(4), "sealed_column.tag")?,
        bound_columns: required(row.texts(5), "sealed_column.bound_columns")?,
        form: required(Form::named(&form), "sealed_column.form")?,
        value_type: required(row.oid(8), "sealed_column.value_type")?,
        value_typmod: required(row.i32(9), "sealed_column.value_typmod")?,
        source: row.name(10),
        block: row.i32(11),
        mask: row.text(12),
        former,
    }))
}
