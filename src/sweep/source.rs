//! Where a column's plaintext comes from, and what its values are bound to, as SQL over its row.

use std::ffi::{CStr, CString};

use pgrx::pg_sys;

use crate::catalog::rows::Form;
use crate::catalog::{self, views};
use crate::error::{Error, Result};
use crate::keyring::table::{self, Binding, Policy};
use crate::pg::column::{base_type, is_virtual};
use crate::pg::quote::Sql;
use crate::pg::relation::{display_name, quoted_cstring};
use crate::pg::{attribute, encoding, spi, types};

/// The context of a column's values, and the one that they had before, if some may have it still.
pub fn contexts(relation: pg_sys::Oid, column: &CStr) -> Result<(Sql, Option<Sql>)> {
    let table = table::get(relation)?;
    let Some(policy) = table.policy(column) else { return Ok((Sql::new("''"), None)) };
    let former = policy.former.as_ref().map(|former| context(relation, former));
    Ok((context(relation, &policy.binding)?, former.transpose()?))
}

fn context(relation: pg_sys::Oid, binding: &Binding) -> Result<Sql> {
    if binding.columns.is_empty() {
        return Ok(Sql::new("''"));
    }
    let unreadable = || Error::Corrupt("a policy's tag cannot be written in this database".into());
    let tag = encoding::from_utf8(binding.tag.as_bytes()).map_err(|_| unreadable())?;
    let tag = CString::new(&*tag).map_err(|_| unreadable())?;
    let mut parts = vec![Sql::new("").literal(&tag)];
    for name in &binding.columns {
        let number = attribute::number(relation, name).ok_or_else(|| missing(relation, name))?;
        let value = Sql::new("").name(name);
        // The casts are PostgreSQL's own, and those of domains are their base types'.
        parts.push(match base_type(attribute::type_of(relation, number).0) {
            Some(pg_sys::BYTEAOID) => {
                Sql::new("pg_catalog.encode(").add(&value).sql("::pg_catalog.bytea, 'hex')")
            }
            _ => value.sql("::pg_catalog.text"),
        });
    }
    let function = Sql::new("").name(&views::functions_schema()?).sql(".envelope_context(");
    Ok(function.joined(&parts, ", ").sql(")"))
}

/// What a column's plaintext is read from beside the column itself.
pub struct From {
    pub expression: Sql,
    /// The column that it is, as it stands there.
    pub column: Option<CString>,
    /// The column to be emptied once its value is sealed.
    pub emptied: Option<CString>,
}

/// What `source` names: a column of the table, or else an expression. Without one, what the column's policy says.
pub fn of(relation: pg_sys::Oid, column: &CStr, source: Option<&CStr>) -> Result<Option<From>> {
    let table = table::get(relation)?;
    let policy = table.policy(column);
    let own = policy.filter(|policy| policy.form == Form::Source);
    let own = own.and_then(|policy| policy.source.as_deref());
    let Some(source) = source.or(own) else { return Ok(None) };
    let Some(number) = attribute::number(relation, source) else {
        let expression = Sql::new("(").quoted(source).sql(")");
        let gone = || Error::NoRelation(display_name(relation));
        let of = quoted_cstring(relation).ok_or_else(gone)?;
        let kind = spi::type_of(expression.as_bytes(), &of).map_err(Error::Corrupt)?;
        let expression = typed(policy, expression, kind)?;
        return Ok(Some(From { expression, column: None, emptied: None }));
    };
    let is_emptied = own == Some(source) && is_emptied(relation, column, source);
    let bare = Sql::new("").name(source);
    let expression = typed(policy, bare.clone(), attribute::type_of(relation, number).0)?;
    // Of a virtual column nothing is stored that could be looked at.
    let is_bare = expression.as_bytes() == bare.as_bytes() && !is_virtual(relation, number);
    Ok(Some(From {
        expression,
        column: is_bare.then(|| source.to_owned()),
        emptied: is_emptied.then(|| source.to_owned()),
    }))
}

/// As a value of the policy's type. Where PostgreSQL's own cast would show what it refuses, ours does not.
fn typed(policy: Option<&Policy>, expression: Sql, kind: pg_sys::Oid) -> Result<Sql> {
    let Some(policy) = policy.filter(|policy| policy.value_type != pg_sys::InvalidOid) else {
        return Ok(expression);
    };
    let wanted = types::quoted(policy.value_type, policy.value_typmod);
    let wanted = wanted.ok_or_else(|| policy.type_is_gone())?;
    if kind == policy.value_type {
        return Ok(expression);
    }
    let cast = Sql::new("::").quoted(&wanted);
    let is_bytes = |kind| base_type(kind) == Some(pg_sys::BYTEAOID);
    let text = match policy.value_type {
        wanted if is_bytes(kind) && !is_bytes(wanted) => "bytea",
        wanted if types::is_string(kind) && !types::is_string(wanted) => "text",
        _ => return Ok(expression.add(&cast)),
    };
    Ok(Sql::new("envelope.read_as(")
        .add(&expression)
        .sql("::pg_catalog.")
        .sql(text)
        .sql(", NULL")
        .add(&cast)
        .sql(")")
        .add(&cast))
}

/// Whether a trigger empties the source once it is sealed. While both are written, none does.
fn is_emptied(relation: pg_sys::Oid, column: &CStr, source: &CStr) -> bool {
    let argument = [column.to_bytes(), b"=", source.to_bytes()].concat();
    let triggers = catalog::sealing_triggers(relation);
    let mut of_both = triggers
        .iter()
        .filter(|trigger| trigger.arguments.iter().any(|given| given.to_bytes() == argument));
    of_both.clone().next().is_some() && of_both.all(|trigger| trigger.empties)
}

fn missing(relation: pg_sys::Oid, name: &CStr) -> Error {
    let column = encoding::to_string(name.to_bytes());
    Error::NoSuchColumn { column, table: display_name(relation) }
}
