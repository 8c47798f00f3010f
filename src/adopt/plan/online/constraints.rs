//! Constraints that no row is read for under a strong lock: made for new rows, then proved of all.

use crate::adopt::plan::carried;
use crate::adopt::plan::facts::Facts;
use crate::adopt::plan::step::{EXCLUSIVE, ONE_READ, Step};
use crate::adopt::plan::text::{Name, alter_table};
use crate::adopt::plan::wish::Wish;

/// The CHECKs that are not there, for new rows.
pub fn checks(facts: &Facts, wishes: &[&Wish<'_>], function: &str) -> Vec<Step> {
    let missing = wishes.iter().filter(|wish| facts.check(function, &wish.target.plain).is_none());
    let added: Vec<String> = missing
        .flat_map(|wish| {
            let name = checked_name(facts, wish, function);
            let mut changes = vec![format!("DROP CONSTRAINT IF EXISTS {}", name.quoted)];
            changes.extend(carried::check_sealed(facts, &wish.target).into_iter().map(not_valid));
            changes
        })
        .collect();
    if added.is_empty() {
        return Vec::new();
    }
    vec![Step::run(
        alter_table(&facts.name, &added),
        EXCLUSIVE,
        "holds for new rows at once: plaintext no longer gets in, by whatever way",
    )]
}

pub fn validated(facts: &Facts, wishes: &[&Wish<'_>], function: &str) -> Vec<Step> {
    let column = |wish: &Wish<'_>| match function {
        "must_be_empty" => wish.column.name.clone(),
        _ => wish.target.plain.clone(),
    };
    let invalid = wishes
        .iter()
        .filter(|wish| !facts.check(function, &column(wish)).is_some_and(|check| check.valid));
    let changes: Vec<_> = invalid
        .map(|wish| format!("VALIDATE CONSTRAINT {}", checked_name(facts, wish, function).quoted))
        .collect();
    if changes.is_empty() {
        return Vec::new();
    }
    vec![Step::run(
        alter_table(&facts.name, &changes),
        ONE_READ,
        "proves it of all rows; not in the transaction of an earlier step",
    )]
}

/// The CHECK that is there, or the name that one gets.
fn checked_name(facts: &Facts, wish: &Wish<'_>, function: &str) -> Name {
    let (column, ending) = match function {
        "must_be_empty" => (&wish.column.name, "_is_empty"),
        _ => (&wish.target.plain, "_is_sealed"),
    };
    match facts.check(function, column) {
        Some(check) => Name { plain: check.name.clone(), quoted: check.quoted.clone() },
        None => facts.name(&carried::free_constraint(facts, column, ending)),
    }
}

pub fn not_valid(change: String) -> String {
    if change.starts_with("ADD CONSTRAINT") { format!("{change} NOT VALID") } else { change }
}

/// NOT NULL without a scan under a strong lock.
pub fn not_null(facts: &Facts, wishes: &[&Wish<'_>]) -> Vec<Step> {
    let is_left = |wish: &&&Wish<'_>| {
        let target = facts.column(&wish.target.plain);
        wish.column.not_null && !target.is_some_and(|target| target.not_null)
    };
    let left: Vec<_> = wishes.iter().filter(is_left).collect();
    if left.is_empty() {
        return Vec::new();
    }
    let (mut add, mut validate, mut set) = (Vec::new(), Vec::new(), Vec::new());
    for wish in left {
        let target = &wish.target;
        let name = facts.name(&carried::free_constraint(facts, &target.plain, "_not_null")).quoted;
        add.push(format!("DROP CONSTRAINT IF EXISTS {name}"));
        add.push(format!("ADD CONSTRAINT {name} CHECK ({} IS NOT NULL) NOT VALID", target.quoted));
        validate.push(format!("VALIDATE CONSTRAINT {name}"));
        set.push(format!("ALTER COLUMN {} SET NOT NULL", target.quoted));
        set.push(format!("DROP CONSTRAINT {name}"));
    }
    vec![
        Step::run(alter_table(&facts.name, &add), EXCLUSIVE, "on the way to NOT NULL"),
        Step::run(alter_table(&facts.name, &validate), ONE_READ, "as above"),
        Step::run(
            alter_table(&facts.name, &set),
            EXCLUSIVE,
            "reads no row: the constraint has proved it",
        ),
    ]
}
