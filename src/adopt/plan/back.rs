//! The way back: plaintext again, in the column and type of before.

use super::facts::{Category, Column, Facts, Policy};
use super::text::{alter_table, joined, literal};
use super::wish::ValueType;
use super::{carried, triggers, values};
use crate::error::{PolicyError, Result};

/// The statements, which must be one transaction. `to` is the type that is asked for; `any` tells whether some row
/// is so.
pub fn statements(
    facts: &Facts,
    column: &str,
    to: Option<ValueType>,
    any: &dyn Fn(&str) -> Result<bool>,
) -> Result<Vec<String>> {
    let Some(policy) = facts.policy_about(column) else {
        return begun(facts, column, any);
    };
    if policy.is_rebinding {
        let (column, table) = (policy.column.clone(), facts.name.clone());
        return Err(PolicyError::BeingBound { column, table }.into());
    }
    let target = facts.column(&policy.column);
    let source = policy.source.as_deref().and_then(|source| facts.column(source));
    match (target, source) {
        (Some(target), Some(source)) => beside(facts, policy, target, source, to, any),
        (Some(target), None) => Ok(in_place(facts, policy, target, to)),
        (None, _) => Ok(vec![dropped(facts, policy), unregistered(facts, policy)]),
    }
}

/// Of an adoption of which nothing is there but an empty column of the name that [`super::wish`] gives it.
fn begun(facts: &Facts, column: &str, any: &dyn Fn(&str) -> Result<bool>) -> Result<Vec<String>> {
    let none = || {
        let (column, table) = (column.to_owned(), facts.name.clone());
        Err(PolicyError::None { column, table }.into())
    };
    let target = joined(column, "_sealed");
    let Some(target) = facts.column(&target).filter(|target| target.category == Category::Sealed)
    else {
        return none();
    };
    let names_it =
        |one: &String| one == &target.name || one.split('=').next() == Some(&target.name);
    let is_used = facts.policy(&target.name).is_some()
        || facts.column(column).is_none()
        || facts.triggers.iter().any(|trigger| trigger.arguments.iter().any(names_it));
    if is_used || any(&format!("{} IS NOT NULL", target.quoted))? {
        return none();
    }
    Ok(vec![alter_table(&facts.name, &[format!("DROP COLUMN {}", target.quoted)])])
}

/// With a source column, which is emptied or mirrored.
fn beside(
    facts: &Facts,
    policy: &Policy,
    target: &Column,
    source: &Column,
    to: Option<ValueType>,
    any: &dyn Fn(&str) -> Result<bool>,
) -> Result<Vec<String>> {
    let mut statements =
        triggers::remove(facts, &[format!("{}={}", target.name, source.name), target.name.clone()]);
    statements.push(dropped(facts, policy));
    let is_sealed_only = format!("{} IS NULL AND {} IS NOT NULL", source.quoted, target.quoted);
    let mut changes = Vec::new();
    if let Some(check) = facts.check("must_be_empty", &source.name) {
        changes.push(format!("DROP CONSTRAINT {}", check.quoted));
    }
    let name = &source.quoted;
    let collation = match (&to, &source.collation) {
        (None, Some(collation)) => format!(" COLLATE {collation}"),
        _ => String::new(),
    };
    let is = ValueType { name: source.kind.clone(), category: source.category };
    let kind = to.as_ref().map_or(&source.kind, |to| &to.name);
    let given = |value: &str| values::cast(value, &is, to.as_ref().unwrap_or(&is));
    if any(&is_sealed_only)? {
        let opened = values::cast(&opened(facts, policy, target), &value_type(policy), &is);
        changes.push(format!(
            "ALTER COLUMN {name} TYPE {kind}{collation} USING {}",
            given(&format!("(CASE WHEN {name} IS NULL THEN {opened} ELSE {name} END)"))
        ));
    } else if to.is_some() {
        changes.push(format!("ALTER COLUMN {name} TYPE {kind} USING {}", given(name)));
    }
    if to.is_none() && !changes.is_empty() {
        changes.extend(carried::storage(source, &source.to_name(), false));
    }
    if target.not_null && !source.not_null {
        changes.push(format!("ALTER COLUMN {name} SET NOT NULL"));
    }
    if !changes.is_empty() {
        statements.push(alter_table(&facts.name, &changes));
    }
    statements.push(alter_table(&facts.name, &[format!("DROP COLUMN {}", target.quoted)]));
    statements.push(unregistered(facts, policy));
    Ok(statements)
}

/// Of values that stand where plaintext stood.
fn in_place(facts: &Facts, policy: &Policy, target: &Column, to: Option<ValueType>) -> Vec<String> {
    let mut statements = triggers::remove(facts, std::slice::from_ref(&target.name));
    statements.push(dropped(facts, policy));
    let value = value_type(policy);
    let to = to.unwrap_or_else(|| value.clone());
    let kind = &to.name;
    let name = &target.quoted;
    let mut changes = Vec::new();
    let check = facts.check("is_sealed", &target.name);
    changes.extend(check.map(|check| format!("DROP CONSTRAINT {}", check.quoted)));
    let plain = match (target.category, value.category) {
        // It was never made one of sealed values.
        (Category::Text | Category::Other, _) => name.clone(),
        (Category::Bytes, Category::Bytes) => name.clone(),
        (Category::Sealed, Category::Bytes) => format!("{name}::bytea"),
        _ => values::cast(&format!("{name}::bytea"), &values::bytes(), &value),
    };
    let opened = match target.category {
        Category::Text | Category::Other => plain,
        // What nothing has sealed yet.
        _ if check.is_none_or(|check| !check.valid) => format!(
            "CASE WHEN envelope.is_sealed({name}) THEN {} ELSE {plain} END",
            opened(facts, policy, target)
        ),
        _ => opened(facts, policy, target),
    };
    let cast = values::cast(&opened, &value, &to);
    if target.default.is_some() && target.kind != *kind {
        changes.push(format!("ALTER COLUMN {name} DROP DEFAULT"));
    }
    changes.push(format!("ALTER COLUMN {name} TYPE {kind} USING {cast}"));
    if let (Some(default), true) = (&target.default, target.kind != *kind) {
        changes.push(format!(
            "ALTER COLUMN {name} SET DEFAULT {}",
            plain_default(default, target, kind)
        ));
    }
    if matches!(value.category, Category::Text | Category::Bytes) {
        changes.extend(carried::storage(target, &target.to_name(), false));
    }
    statements.push(alter_table(&facts.name, &changes));
    statements.push(unregistered(facts, policy));
    statements
}

/// A DEFAULT that was cast to the sealed column's type.
fn plain_default(default: &str, target: &Column, kind: &str) -> String {
    match target.category {
        // Whatever type it is of: PostgreSQL does not show the cast that it has made.
        Category::Sealed if kind == "bytea" => format!("(({default})::envelope.sealed)::bytea"),
        Category::Bytes => format!("pg_catalog.convert_from(({default})::bytea, 'UTF8')::{kind}"),
        _ if kind == "text" => format!("({default})::text"),
        _ => format!("(({default})::text)::{kind}"),
    }
}

fn opened(facts: &Facts, policy: &Policy, target: &Column) -> String {
    let bound: Vec<_> = policy
        .bound
        .iter()
        .map(|name| {
            let category = facts.column(name).map_or(Category::Other, |column| column.category);
            ((facts.quote)(name), category)
        })
        .collect();
    let context = values::context(facts, &policy.tag, &bound);
    values::opened(facts, &target.to_name(), &value_type(policy), context.as_deref())
}

fn value_type(policy: &Policy) -> ValueType {
    let name = policy.value_type.clone().unwrap_or_else(|| "bytea".into());
    ValueType { name, category: policy.category }
}

fn dropped(facts: &Facts, policy: &Policy) -> String {
    format!("SELECT envelope.drop_policy({}, {})", facts.literal(), literal(&policy.column))
}

/// It holds no sealed values any more.
fn unregistered(facts: &Facts, policy: &Policy) -> String {
    format!("SELECT envelope.unregister_column({}, {})", facts.literal(), literal(&policy.column))
}
