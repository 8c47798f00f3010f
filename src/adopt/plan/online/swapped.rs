//! The second half: the application has changed, and the plaintext goes.

use super::constraints::{not_valid, validated};
use super::filled::fill;
use super::is_sealing;
use super::switched::is_view_later;
use crate::adopt::plan::facts::{Facts, TriggerKind};
use crate::adopt::plan::in_place::argument;
use crate::adopt::plan::options::Options;
use crate::adopt::plan::step::{BATCHES, SWAP, Step};
use crate::adopt::plan::text::{alter_table, as_one, literal};
use crate::adopt::plan::wish::Wish;
use crate::adopt::plan::{carried, obstacles, triggers};
use crate::error::Result;

/// From here on no plaintext is kept.
pub fn swapped(facts: &Facts, wishes: &[&Wish<'_>], options: &Options) -> Result<Vec<Step>> {
    let mut statements = Vec::new();
    let sealing: Vec<_> = wishes.iter().filter(|wish| !is_sealing(facts, wish)).collect();
    let mirrored: Vec<_> = sealing.iter().map(|wish| argument(wish)).collect();
    // Rows that are hidden from its owner are rows of the table, too: the look at them is an error then.
    statements.push("SELECT pg_catalog.set_config('row_security', 'off', true)".into());
    statements.extend(sealing.iter().map(|wish| require_filled(facts, wish)));
    statements.push(triggers::take_back(facts, TriggerKind::Mirror, &mirrored)?);
    let mut changes = Vec::new();
    let is_later = is_view_later(wishes);
    for wish in &sealing {
        let (source, target) = (&wish.column.quoted, &wish.target.quoted);
        if wish.is_renamed() {
            // Which then follows the column to its new name: the row context of its values stays what it is.
            statements.push(wish.set_policy(facts, &wish.target, None));
            statements.push(alter_table(&facts.name, &[format!("DROP COLUMN {source}")]));
            statements
                .push(alter_table(&facts.name, &[format!("RENAME COLUMN {target} TO {source}")]));
            if let Some(default) = &wish.column.default {
                let default = carried::default(wish).unwrap_or_else(|| default.clone());
                changes.push(format!("ALTER COLUMN {source} SET DEFAULT {default}"));
            }
            continue;
        }
        if wish.column.not_null {
            changes.push(format!("ALTER COLUMN {source} DROP NOT NULL"));
        }
        // Where the view comes after, none may read it.
        if let Some(view) = options.view.as_ref().filter(|_| !is_later) {
            statements.push(require_unread(facts, wish, view));
        } else {
            // To its own type: that fails while anything reads the column.
            let collation = wish.column.collation.as_ref().map(|name| format!(" COLLATE {name}"));
            let (kind, collation) = (&wish.column.kind, collation.unwrap_or_default());
            changes.push(format!("ALTER COLUMN {source} TYPE {kind}{collation}"));
        }
        changes.extend(carried::storage(wish.column, &wish.column.to_name(), false));
        changes
            .extend(carried::check_empty(facts, &wish.column.to_name()).into_iter().map(not_valid));
    }
    let arguments: Vec<_> = sealing
        .iter()
        .map(|wish| if wish.is_renamed() { wish.column.name.clone() } else { argument(wish) })
        .collect();
    if !changes.is_empty() {
        statements.push(alter_table(&facts.name, &changes));
    }
    statements.push(triggers::create(facts, TriggerKind::Seal, &arguments)?);
    let is_kept = sealing.iter().any(|wish| !wish.is_renamed());
    let remark = match is_kept {
        true => "one transaction; fails while a view or function still reads the plaintext",
        false => "one transaction; the way back is envelope.unprotect from here on",
    };
    let remark = obstacles::and_defaults(facts, sealing.iter().map(|wish| **wish), remark.into());
    Ok(vec![Step::run(as_one(&statements), SWAP, &remark)])
}

/// Fails while a value has no sealed one beside it. Who runs the steps one after the other may not have seen that the one
/// that fills the column has failed.
fn require_filled(facts: &Facts, wish: &Wish<'_>) -> String {
    let (source, target) = (&wish.column.quoted, &wish.target.quoted);
    let message = literal(&format!(
        "table {} has values in column {source} that are not sealed in column {target} yet",
        facts.name
    ));
    let hint = literal(&format!("Nothing has changed. First: {}.", fill(facts, wish, None, false)));
    format!(
        "IF EXISTS (SELECT FROM {} WHERE {source} IS NOT NULL AND {target} IS NULL) THEN
    RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = {message}, HINT = {hint};
  END IF",
        facts.name
    )
}

/// Fails while a view, a function or a row policy reads the plaintext; the one view that is to write it does not count.
fn require_unread(facts: &Facts, wish: &Wish<'_>, view: &str) -> String {
    let (table, column, view) = (facts.literal(), literal(&wish.column.name), literal(view));
    let message =
        literal(&format!("something but the view still reads column {}", wish.column.quoted));
    format!(
        "IF EXISTS (
    SELECT FROM pg_catalog.pg_depend d
    JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
    LEFT JOIN pg_catalog.pg_rewrite r ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND r.oid = d.objid
    WHERE d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = {table}::regclass AND a.attname = {column}
      AND (r.ev_class <> {view}::regclass OR d.classid IN ('pg_catalog.pg_proc'::regclass, 'pg_catalog.pg_policy'::regclass)))
  THEN
    RAISE EXCEPTION USING ERRCODE = 'dependent_objects_still_exist', MESSAGE = {message};
  END IF"
    )
}

/// The plaintext that is left in columns that stay. What has search indexes is not sealed without its trigger.
pub fn emptied(facts: &Facts, wishes: &[&Wish<'_>], options: &Options) -> Vec<Step> {
    let kept: Vec<_> = wishes.iter().copied().filter(|wish| !wish.is_renamed()).collect();
    let mut steps = Vec::new();
    for wish in &kept {
        if facts.check("must_be_empty", &wish.column.name).is_some_and(|check| check.valid) {
            continue;
        }
        let quiet = options.quiet && !wish.gets_indexed;
        steps.push(Step::run(fill(facts, wish, options.batch_size, quiet), BATCHES, EMPTY));
    }
    let proved = validated(facts, &kept, "must_be_empty");
    if !proved.is_empty() {
        let columns: Vec<_> = kept.iter().map(|wish| wish.column.quoted.as_str()).collect();
        steps.extend(proved);
        steps.push(Step::run(
            format!("ANALYZE {} ({})", facts.name, columns.join(", ")),
            "SHARE UPDATE EXCLUSIVE, while the table is sampled; reads and writes go on",
            "what statistics had sampled of the plaintext goes",
        ));
    }
    steps
}

const EMPTY: &str = "empties the column that plaintext came in by; as above";
