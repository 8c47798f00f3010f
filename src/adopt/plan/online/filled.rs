//! The first half: sealed values come to be beside the plaintext, or in its place, and nothing is taken away.

use super::constraints::{checks, not_null, validated};
use super::{has_policy, is_sealing, seen_by_others};
use crate::adopt::plan::facts::{Category, Facts, TriggerKind};
use crate::adopt::plan::in_place::argument;
use crate::adopt::plan::options::Options;
use crate::adopt::plan::step::{BATCHES, EXCLUSIVE, LOOK, NO_CHANGE, NO_LOCK, NO_WRITES, Step};
use crate::adopt::plan::text::{alter_table, literal, raising};
use crate::adopt::plan::wish::{Form, Wish};
use crate::adopt::plan::{carried, obstacles, triggers, values};
use crate::error::Result;

/// The sealed column, filled and kept equal.
pub fn filled(facts: &Facts, wishes: &[&Wish<'_>], options: &Options) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    let new: Vec<_> =
        wishes.iter().filter(|wish| facts.column(&wish.target.plain).is_none()).collect();
    if !new.is_empty() {
        let mut changes: Vec<_> = new
            .iter()
            .map(|wish| {
                format!("ADD COLUMN IF NOT EXISTS {} {}", wish.target.quoted, wish.target_type())
            })
            .collect();
        changes
            .extend(new.iter().flat_map(|wish| carried::storage(wish.column, &wish.target, true)));
        steps.push(Step::run(
            alter_table(&facts.name, &changes),
            EXCLUSIVE,
            "first SET lock_timeout = '2s', and try again if it is met; applications that name no columns (INSERT \
             without a list, SELECT *) see it from here on",
        ));
        for statement in new.iter().flat_map(|wish| carried::rights(facts, wish)) {
            let lock = if statement.starts_with("COMMENT") { NO_CHANGE } else { NO_LOCK };
            steps.push(Step::run(statement, lock, "as on the column that it stands for"));
        }
    }
    for wish in wishes.iter().filter(|wish| !has_policy(facts, wish)) {
        let source = wish.column.to_name();
        steps.push(Step::run(
            wish.set_policy(facts, &wish.target, Some(&source)),
            said(wish),
            "what the column is: all else asks here",
        ));
    }
    let mirrored =
        |wish: &&&Wish<'_>| triggers::with(facts, TriggerKind::Mirror, &argument(wish)).is_some();
    let arguments: Vec<_> = wishes
        .iter()
        .filter(|wish| !mirrored(wish) && !is_sealing(facts, wish))
        .map(|wish| argument(wish))
        .collect();
    if !arguments.is_empty() {
        steps.push(Step::run(
            triggers::create(facts, TriggerKind::Mirror, &arguments)?,
            NO_WRITES,
            &seen_by_others(facts),
        ));
    }
    steps.extend(checks(facts, wishes, "is_sealed"));
    for wish in wishes.iter().filter(|wish| !is_sealing(facts, wish)) {
        steps.push(Step::run(first_fill(facts, wish, options), BATCHES, FILL));
    }
    steps.extend(validated(facts, wishes, "is_sealed"));
    steps.extend(not_null(facts, wishes));
    for wish in wishes.iter().filter(|wish| !is_sealing(facts, wish)) {
        steps.push(compared(facts, wish));
    }
    Ok(steps)
}

/// For columns whose values are sealed where they stand.
pub fn where_they_stand(
    facts: &Facts,
    wishes: &[&Wish<'_>],
    options: &Options,
) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    let retyped: Vec<_> = wishes
        .iter()
        .filter(|wish| wish.form == Form::Sealed && wish.column.category == Category::Bytes)
        .map(|wish| format!("ALTER COLUMN {} TYPE envelope.sealed", wish.target.quoted))
        .collect();
    if !retyped.is_empty() {
        steps.push(Step::run(
            alter_table(&facts.name, &retyped),
            EXCLUSIVE,
            "rewrites nothing; drivers see another type",
        ));
    }
    for wish in wishes.iter().filter(|wish| !has_policy(facts, wish)) {
        steps.push(Step::run(
            wish.set_policy(facts, &wish.target, None),
            said(wish),
            "what the column is: all else asks here",
        ));
    }
    let sealing =
        |wish: &&&Wish<'_>| triggers::with(facts, TriggerKind::Seal, &argument(wish)).is_some();
    let arguments: Vec<_> =
        wishes.iter().filter(|wish| !sealing(wish)).map(|wish| argument(wish)).collect();
    if !arguments.is_empty() {
        steps.push(Step::run(
            triggers::create(facts, TriggerKind::Seal, &arguments)?,
            NO_WRITES,
            &obstacles::and_defaults(
                facts,
                wishes.iter().copied(),
                format!(
                    "from here on new values are sealed, and the application must read both; {}",
                    seen_by_others(facts)
                ),
            ),
        ));
    }
    steps.extend(checks(facts, wishes, "is_sealed"));
    for wish in wishes {
        let is_done = facts.check("is_sealed", &wish.target.plain).is_some_and(|check| check.valid);
        if !is_done {
            steps.push(Step::run(first_fill(facts, wish, options), BATCHES, FILL));
        }
    }
    steps.extend(validated(facts, wishes, "is_sealed"));
    Ok(steps)
}

/// What `envelope.set_policy` takes: that a column has no values yet it looks at while nobody writes any.
fn said(wish: &Wish<'_>) -> &'static str {
    if wish.bind.is_empty() { LOOK } else { NO_WRITES }
}

const FILL: &str = "seals what is there; commits by itself, so outside BEGIN; where it was cut off it goes on; \
                    envelope.progress shows how far it is";

/// Nothing but the trigger keeps indexes that are there, as where the plan is printed anew.
fn first_fill(facts: &Facts, wish: &Wish<'_>, options: &Options) -> String {
    fill(facts, wish, options.batch_size, options.quiet && !wish.is_indexed)
}

pub fn fill(facts: &Facts, wish: &Wish<'_>, batch_size: Option<i64>, quiet: bool) -> String {
    let mut arguments = vec![facts.literal(), literal(&wish.target.plain)];
    if !wish.is_in_place() {
        arguments.push(format!("source => {}", literal(&wish.column.name)));
    }
    if let Some(size) = batch_size {
        arguments.push(format!("batch_size => {size}"));
    }
    if quiet {
        arguments.push("quiet => true".into());
    }
    format!("CALL envelope.seal_column({})", arguments.join(", "))
}

/// Whether both columns are equal.
fn compared(facts: &Facts, wish: &Wish<'_>) -> Step {
    let bound: Vec<_> =
        wish.bind.iter().map(|column| (column.quoted.clone(), column.category)).collect();
    let context = values::context(facts, &wish.known_tag(facts), &bound);
    let opened = values::opened(facts, &wish.target, &wish.value, context.as_deref());
    let (source, target) = (&wish.column.quoted, &wish.target.quoted);
    let condition = format!("({opened})::text IS DISTINCT FROM {source}::text");
    let complaint = format!(
        "rows of table {} say in column {target} something else than in column {source}",
        facts.name
    );
    let hint = format!(
        "A program wrote one of them past the trigger that keeps both the same. Find out which one is right, and set the \
         other: SELECT * FROM {} WHERE {condition}.",
        facts.name
    );
    Step::run(
        raising(&facts.name, &condition, "data_exception", &complaint, &hint),
        "ACCESS SHARE, while the table is read once; reads and writes go on",
        "opens every value and compares it; an error if one differs, so that what follows is not run",
    )
}
