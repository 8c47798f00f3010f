//! For a table that may be locked: all at once, in one rewrite.

use super::carried;
use super::facts::{Category, Facts, TriggerKind};
use super::text::{alter_table, literal};
use super::wish::{Form, ValueType, Wish};
use super::{triggers, values};
use crate::error::Result;

/// The statements, which must be one transaction.
pub fn statements(facts: &Facts, wishes: &[Wish<'_>]) -> Result<Vec<String>> {
    let mut statements = Vec::new();
    let added: Vec<_> = wishes
        .iter()
        .filter(|wish| !wish.is_in_place() && facts.column(&wish.target.plain).is_none())
        .map(|wish| format!("ADD COLUMN {} {}", wish.target.quoted, wish.target_type()))
        .collect();
    if !added.is_empty() {
        statements.push(alter_table(&facts.name, &added));
    }
    let prepared: Vec<_> = wishes.iter().flat_map(prepared).collect();
    if !prepared.is_empty() {
        statements.push(alter_table(&facts.name, &prepared));
    }
    statements.extend(wishes.iter().map(|wish| {
        let source = (!wish.is_in_place()).then(|| wish.column.to_name());
        wish.set_policy(facts, &wish.target, source.as_ref())
    }));
    let changes: Vec<_> = wishes.iter().flat_map(|wish| changes(facts, wish)).collect();
    statements.push(alter_table(&facts.name, &changes));
    // All values were sealed under it just now.
    statements.extend(wishes.iter().filter(|wish| !wish.bind.is_empty()).map(|wish| {
        let target = literal(&wish.target.plain);
        format!("SELECT envelope.binding_done({}, {target})", facts.literal())
    }));
    statements.extend(former_mirrors(facts, wishes));
    let arguments: Vec<_> = wishes.iter().map(argument).collect();
    statements.push(triggers::create(facts, TriggerKind::Seal, &arguments)?);
    for wish in wishes.iter().filter(|wish| !wish.is_in_place()) {
        statements.extend(carried::rights(facts, wish));
    }
    Ok(statements)
}

/// Changes that make a column one that can have the policy.
fn prepared(wish: &Wish<'_>) -> Vec<String> {
    let (is, column) = (wish.became(), &wish.column.quoted);
    if is.name == wish.column.kind {
        return Vec::new();
    }
    let own = ValueType { name: wish.column.kind.clone(), category: wish.column.category };
    let cast = values::cast(column, &own, &is);
    let mut changes = vec![format!("ALTER COLUMN {column} TYPE {} USING {cast}", is.name)];
    if let Some(default) = &wish.column.default {
        changes.insert(0, format!("ALTER COLUMN {column} DROP DEFAULT"));
        changes.push(format!("ALTER COLUMN {column} SET DEFAULT ({default})::{}", is.name));
    }
    changes
}

/// What the sealing trigger is told of a column.
pub fn argument(wish: &Wish<'_>) -> String {
    match wish.is_in_place() {
        true => wish.target.plain.clone(),
        false => format!("{}={}", wish.target.plain, wish.column.name),
    }
}

/// Of an adoption that was begun online.
fn former_mirrors(facts: &Facts, wishes: &[Wish<'_>]) -> Vec<String> {
    let arguments: Vec<_> = wishes.iter().map(argument).collect();
    let is_there =
        |argument: &String| triggers::with(facts, TriggerKind::Mirror, argument).is_some();
    match arguments.iter().any(is_there) {
        true => triggers::remove(facts, &arguments),
        false => Vec::new(),
    }
}

fn changes(facts: &Facts, wish: &Wish<'_>) -> Vec<String> {
    let (column, target) = (wish.column, &wish.target.quoted);
    let sealed = values::sealed(facts, wish);
    let mut changes = Vec::new();
    if wish.form == Form::Source {
        let source = &column.quoted;
        if column.not_null {
            changes.push(format!("ALTER COLUMN {source} DROP NOT NULL"));
            changes.push(format!("ALTER COLUMN {target} SET NOT NULL"));
        }
        let kind = facts.column(&wish.target.plain).map_or(wish.target_type(), |there| &there.kind);
        changes.push(format!(
            "ALTER COLUMN {target} TYPE {kind} USING CASE WHEN {source} IS NULL THEN {target} ELSE \
             {sealed}::{kind} END"
        ));
        let collation = column.collation.as_ref().map(|name| format!(" COLLATE {name}"));
        changes.push(format!(
            "ALTER COLUMN {source} TYPE {0}{1} USING NULL::{0}",
            column.kind,
            collation.unwrap_or_default()
        ));
        changes.extend(carried::storage(column, &column.to_name(), false));
        changes.extend(carried::check_empty(facts, &column.to_name()));
    } else {
        let default = carried::default(wish);
        if default.is_some() {
            changes.push(format!("ALTER COLUMN {target} DROP DEFAULT"));
        }
        let cast = match wish.form {
            Form::Sealed => format!("({sealed})::envelope.sealed"),
            _ => sealed,
        };
        changes.push(format!("ALTER COLUMN {target} TYPE {} USING {cast}", wish.target_type()));
        if let Some(default) = default {
            changes.push(format!("ALTER COLUMN {target} SET DEFAULT {default}"));
        }
    }
    if !(wish.form == Form::Bytea && column.category == Category::Bytes) {
        changes.extend(carried::storage(column, &wish.target, wish.form == Form::Source));
    }
    changes.extend(carried::check_sealed(facts, &wish.target));
    changes
}
