//! What stands on a column and is carried over to the one that takes its place.

use super::facts::{Category, Column, Facts};
use super::text::{Name, joined, literal};
use super::wish::{Form, Wish};

/// The CHECK that a column holds nothing but sealed values, as a change of ALTER TABLE.
pub fn check_sealed(facts: &Facts, column: &Name) -> Vec<String> {
    check(facts, "is_sealed", column, "_is_sealed")
}

/// The CHECK that a column is empty.
pub fn check_empty(facts: &Facts, column: &Name) -> Vec<String> {
    check(facts, "must_be_empty", column, "_is_empty")
}

fn check(facts: &Facts, function: &str, column: &Name, ending: &str) -> Vec<String> {
    let add = |quoted: &str| {
        format!("ADD CONSTRAINT {quoted} CHECK (envelope.{function}({}))", column.quoted)
    };
    if let Some(check) = facts.check(function, &column.plain) {
        return vec![format!("DROP CONSTRAINT {}", check.quoted), add(&check.quoted)];
    }
    vec![add(&(facts.quote)(&free_constraint(facts, &column.plain, ending)))]
}

/// A name for a constraint that none of the table bears.
pub fn free_constraint(facts: &Facts, head: &str, ending: &str) -> String {
    let is_free = |name: &String| !facts.constraints.contains(name);
    let numbered = (1..).map(|number| joined(head, &format!("{ending}{number}")));
    let mut names = std::iter::once(joined(head, ending)).chain(numbered);
    names.find(is_free).unwrap_or_default()
}

/// Changes that keep how a column is stored, which ALTER COLUMN TYPE sets back, or the new column `name` does not have.
pub fn storage(column: &Column, name: &Name, is_new: bool) -> Vec<String> {
    let alter = |what: String| format!("ALTER COLUMN {} {what}", name.quoted);
    let mut changes = Vec::new();
    if let Some(storage) = &column.storage {
        changes.push(alter(format!("SET STORAGE {storage}")));
    }
    if let Some(compression) = &column.compression {
        changes.push(alter(format!("SET COMPRESSION {compression}")));
    }
    if let (true, Some(target)) = (is_new, column.statistics) {
        changes.push(alter(format!("SET STATISTICS {target}")));
    }
    changes
}

/// The DEFAULT of the wish's column as one of its new type; none where PostgreSQL's own casts make it one.
pub fn default(wish: &Wish<'_>) -> Option<String> {
    let default = wish.column.default.as_ref()?;
    let needs_bytes = wish.form == Form::Bytea && wish.column.category == Category::Text;
    needs_bytes.then(|| format!("pg_catalog.convert_to(({default})::text, 'UTF8')"))
}

/// Statements that give a new column the rights and the comment of the one that it stands for.
pub fn rights(facts: &Facts, wish: &Wish<'_>) -> Vec<String> {
    let target = &wish.target.quoted;
    let mut statements: Vec<_> = wish
        .column
        .grants
        .iter()
        .map(|grant| {
            let option = if grant.grantable { " WITH GRANT OPTION" } else { "" };
            format!(
                "GRANT {} ({target}) ON {} TO {}{option}",
                grant.privilege, facts.name, grant.to
            )
        })
        .collect();
    if let Some(comment) = &wish.column.comment {
        let on = format!("{}.{target}", facts.name);
        statements.push(format!("COMMENT ON COLUMN {on} IS {}", literal(comment)));
    }
    statements
}
