//! What stands in the way: what depends on a column and cannot be carried over.

use super::facts::{Column, Facts, Use};
use super::wish::{Form, Wish};
use crate::error::{Error, Result};

/// One thing, and the statement that takes it away, if one does.
struct Obstacle {
    what: String,
    remove: String,
    /// It goes on working, in another way, if the column is replaced while the table is in use: it can be dropped when
    /// the application no longer needs it.
    is_late: bool,
    /// It is an object of its own.
    is_object: bool,
}

/// An error that names all that stands in the way of all `wishes`.
pub fn check(facts: &Facts, wishes: &[Wish<'_>], online: bool) -> Result<()> {
    let mut obstacles = of_table(facts);
    for wish in wishes {
        obstacles.extend(of_column(facts, wish));
        obstacles.extend(used(facts, wish));
    }
    obstacles.retain(|obstacle| !(online && obstacle.is_late));
    if obstacles.is_empty() {
        return Ok(());
    }
    let mut remedies: Vec<String> = Vec::new();
    for obstacle in &obstacles {
        if !obstacle.remove.is_empty() && !remedies.contains(&obstacle.remove) {
            remedies.push(obstacle.remove.clone());
        }
    }
    let columns: Vec<_> = wishes.iter().map(|wish| wish.column.quoted.as_str()).collect();
    Err(Error::InTheWay {
        table: facts.name.clone(),
        columns: columns.join(", "),
        is_used: obstacles.iter().any(|obstacle| obstacle.is_object),
        obstacles: obstacles.into_iter().map(|obstacle| obstacle.what).collect(),
        remedies,
    })
}

/// What goes only when the application no longer needs it.
pub fn late<'a>(facts: &'a Facts, wishes: &[Wish<'_>]) -> Vec<&'a Use> {
    let mut late: Vec<&Use> = Vec::new();
    for used in &facts.uses {
        let is_ours =
            wishes.iter().any(|wish| wish.column.name == used.column && is_late(wish, used));
        let is_known =
            late.iter().any(|known| (&known.kind, &known.name) == (&used.kind, &used.name));
        if is_ours && !is_known {
            late.push(used);
        }
    }
    late
}

/// What is to be said of a DEFAULT, which stays: rows that are given no value shall have it as before.
pub fn default_stays(facts: &Facts, column: &Column) -> Option<String> {
    let default = column.default.as_deref().filter(|_| !column.generated)?;
    let is_null = default == "NULL" || default.starts_with("NULL::");
    (!is_null).then(|| {
        format!(
            "the DEFAULT of column {0} stays, in clear in the catalog and in dumps; without it: ALTER TABLE {1} ALTER COLUMN \
             {0} DROP DEFAULT",
            column.quoted, facts.name
        )
    })
}

/// A remark, and what is to be said of the defaults of columns that keep theirs.
pub fn and_defaults<'a>(
    facts: &Facts,
    wishes: impl IntoIterator<Item = &'a Wish<'a>>,
    remark: String,
) -> String {
    let kept = wishes.into_iter().filter(|wish| wish.form != Form::Source);
    let said = kept.filter_map(|wish| default_stays(facts, wish.column));
    std::iter::once(remark).chain(said).collect::<Vec<_>>().join("; ")
}

fn of_table(facts: &Facts) -> Vec<Obstacle> {
    let mut obstacles = Vec::new();
    for heir in &facts.heirs {
        obstacles.push(Obstacle {
            what: format!("table {heir} inherits from it, and would not have its trigger"),
            remove: format!("ALTER TABLE {heir} NO INHERIT {}", facts.name),
            is_late: false,
            is_object: true,
        });
    }
    for column in &facts.row_type_in {
        obstacles.push(Obstacle {
            what: format!("column {column} is of its row type, and holds plaintext, too"),
            remove: String::new(),
            is_late: false,
            is_object: true,
        });
    }
    obstacles
}

fn of_column(facts: &Facts, wish: &Wish<'_>) -> Vec<Obstacle> {
    let Column { quoted, .. } = wish.column;
    let alter = |change: &str| format!("ALTER TABLE {} ALTER COLUMN {quoted} {change}", facts.name);
    let mut obstacles = Vec::new();
    let mut add = |what: String, remove: String| {
        obstacles.push(Obstacle { what, remove, is_late: false, is_object: false });
    };
    if wish.column.inherited {
        let parents = facts.parents.join(", ");
        add(format!("column {quoted} is inherited: protect that of {parents}"), String::new());
    }
    for name in [&wish.column.name, &wish.target.plain] {
        if name.contains('=') {
            let what = "has a sign in its name by which the trigger's arguments are parted";
            add(format!("column {} {what}", (facts.quote)(name)), String::new());
        }
    }
    if wish.column.generated {
        add(format!("column {quoted} is generated"), alter("DROP EXPRESSION"));
    }
    if wish.column.identity {
        add(format!("column {quoted} is an identity column"), alter("DROP IDENTITY"));
    }
    if wish.form == Form::Source && wish.column.default.is_some() && !wish.column.generated {
        let why = "which would win over a value that is given";
        add(format!("column {quoted} has a DEFAULT, {why}"), alter("DROP DEFAULT"));
    }
    if wish.form == Form::Source && wish.column.domain_not_null {
        let why = "which is NOT NULL, and the column is emptied";
        add(format!("column {quoted} is of domain {}, {why}", wish.column.kind), String::new());
    }
    obstacles
}

fn used(facts: &Facts, wish: &Wish<'_>) -> Vec<Obstacle> {
    let uses = facts.uses.iter().filter(|used| used.column == wish.column.name);
    uses.map(|used| Obstacle {
        what: format!("{} {} uses column {}", used.kind, used.name, wish.column.quoted),
        remove: used.remove.clone(),
        is_late: is_late(wish, used),
        is_object: used.kind != "partition key",
    })
    .collect()
}

/// What reads a column and can be made anew over another one, or without which queries are slower at most; what keeps it
/// unique, where a search index does so by then.
fn is_late(wish: &Wish<'_>, used: &Use) -> bool {
    let kinds = ["view", "materialized view", "index", "extended statistics", "function"];
    let is_one = kinds.contains(&used.kind.as_str()) || used.is_only_unique && wish.stays_unique;
    is_one && !wish.is_in_place()
}
