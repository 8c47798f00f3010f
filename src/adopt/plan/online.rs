//! For a table that is in use: a second column is filled beside the first one, which both versions of an application
//! can go on with, and takes its place when none needs it any more. What is done already is left out.

mod constraints;
mod filled;
mod swapped;
mod switched;

use self::filled::{filled, where_they_stand};
use self::swapped::{emptied, swapped};
use self::switched::{is_view_later, switched, view};
use super::facts::{Facts, Role, TriggerKind};
use super::in_place::argument;
use super::indexes;
use super::options::Options;
use super::step::{NO_LOCK, Step};
use super::text::literal;
use super::triggers;
use super::wish::Wish;
use crate::error::Result;

/// The steps, from what there is now.
pub fn steps(
    facts: &Facts,
    wishes: &[Wish<'_>],
    mut indexes: indexes::Steps,
    options: &Options,
) -> Result<Vec<Step>> {
    let (in_place, beside): (Vec<_>, Vec<_>) = wishes.iter().partition(|wish| wish.is_in_place());
    let mut steps = keys(facts, wishes);
    if !beside.is_empty() {
        let are_sealing = beside.iter().all(|wish| is_sealing(facts, wish));
        if !are_sealing {
            steps.extend(filled(facts, &beside, options)?);
        }
        // Questions are answered by them as soon as the plaintext is gone.
        steps.extend(indexes.take(indexes::Place::Beside));
        if !are_sealing {
            let (mut before, mut after) = (view(facts, options), None);
            if is_view_later(&beside) {
                std::mem::swap(&mut before, &mut after);
            }
            steps.extend(before);
            steps.extend(switched(facts, wishes));
            steps.extend(swapped(facts, &beside, options)?);
            steps.extend(after);
        }
        steps.extend(emptied(facts, &beside, options));
    }
    if !in_place.is_empty() {
        steps.extend(where_they_stand(facts, &in_place, options)?);
        steps.extend(indexes.take(indexes::Place::InPlace));
        if beside.is_empty() {
            steps.extend(view(facts, options));
            steps.extend(switched(facts, wishes));
        }
    }
    steps.push(disk(facts));
    Ok(steps)
}

/// The key, and who may use it.
pub fn keys(facts: &Facts, wishes: &[Wish<'_>]) -> Vec<Step> {
    let mut steps = Vec::new();
    let table = facts.literal();
    if !facts.has_key {
        steps.push(Step::run(
            format!("SELECT envelope.create_key({table})"),
            NO_LOCK,
            "asks the KMS once",
        ));
    }
    for role in &facts.roles {
        let reads =
            role.reads_all || wishes.iter().any(|wish| role.reads.contains(&wish.column.name));
        for (needs, verb, does) in [(role.writes, "encrypt", "writes"), (reads, "decrypt", "reads")]
        {
            if needs {
                steps.push(grant(&table, role, verb, does));
            }
        }
    }
    steps
}

fn grant(table: &str, role: &Role, verb: &str, does: &str) -> Step {
    match &role.name {
        Some(name) => Step::run(
            format!("SELECT envelope.grant_key({table}, {}, {})", literal(name), literal(verb)),
            NO_LOCK,
            &format!("it {does} the table today: leave it out for who shall no longer"),
        ),
        None => Step::wait(format!(
            "PUBLIC {does} the table today, and cannot have {verb}: envelope.grant_key for each role that needs it"
        )),
    }
}

/// What else sees the rows.
pub fn seen_by_others(facts: &Facts) -> String {
    let (before, after) = triggers::others(facts);
    let mut remarks = vec!["new and changed rows are sealed from here on".to_owned()];
    if !before.is_empty() {
        remarks.push(format!("triggers that see the plaintext before: {}", before.join(", ")));
    }
    if !after.is_empty() {
        remarks.push(format!("triggers that see sealed values: {}", after.join(", ")));
    }
    if !facts.published.is_empty() {
        remarks.push(format!(
            "published by {}: subscribers need the column, too",
            facts.published.join(", ")
        ));
    }
    remarks.join("; ")
}

/// What no statement here does.
fn disk(facts: &Facts) -> Step {
    Step::wait(format!(
        "plaintext is still in the pages of the table and of pg_statistic, in WAL and in backups, until they are gone: VACUUM (FULL, ANALYZE) {} \
         (ACCESS EXCLUSIVE, while it is rewritten) or pg_repack; then a new base backup, and the old ones go. Copies in \
         other tables, logs and queues are yours to find",
        facts.name
    ))
}

fn has_policy(facts: &Facts, wish: &Wish<'_>) -> bool {
    facts.policy(&wish.target.plain).is_some_and(|policy| wish.is_as(facts, policy))
}

/// Whether a trigger seals and keeps no plaintext.
fn is_sealing(facts: &Facts, wish: &Wish<'_>) -> bool {
    triggers::with(facts, TriggerKind::Seal, &argument(wish)).is_some()
}
