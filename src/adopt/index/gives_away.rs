//! What an index would give away, and whether that is too much.

use envelope::search::{Kind, NormalForm, Ordered, Rule, Subject};

use super::counts::{Counts, ENOUGH};
use crate::catalog::rows::{self, IndexRow, PolicyRow};
use crate::error::{IndexError, Result};
use crate::pg::encoding::text;
use crate::pg::relation::display_name;
use crate::pg::report;

/// Distinct values, and the share of the largest class, at which an exact index is refused.
const FEW: u64 = 16;
const LARGE: f64 = 0.2;
/// Those at which there is a warning, if as many values were read.
const SOME: u64 = 1_000;
const RATHER_LARGE: f64 = 0.02;
/// The share of the most frequent value at which a tree is refused.
const SEEN_IN_A_TREE: f64 = 0.001;
/// Digits at the start and at the end of a number that with each other leave little to guess.
const FIRST: u32 = 6;
const LAST: u32 = 4;

/// 55000 for an index that would give too much away, unless it is wanted all the same; a WARNING for one that gives away
/// much.
pub fn check(policy: &PolicyRow, rule: &Rule, counts: &Counts, force: bool) -> Result<()> {
    let beside = beside(policy, rule)?;
    let Said { refused, warned } = of_values(rule, counts);
    let refused = refused.or(beside.refused);
    if let (Some(why), false) = (&refused, force) {
        return Err(IndexError::GivesAway {
            column: text(&policy.column_name),
            table: display_name(policy.relation),
            why: why.clone(),
        }
        .into());
    }
    for why in refused.into_iter().chain(warned).chain(beside.warned) {
        report::warning(
            format!(
                "this index of column \"{}\" of table {} gives away much: {why}",
                text(&policy.column_name),
                display_name(policy.relation)
            ),
            "envelope.index_leakage shows what of the values an observer of the disk learns.",
        );
    }
    let is_of_ends = matches!(rule.kind(), Kind::Prefix(_) | Kind::Suffix(_));
    if is_of_ends && counts.values.total() >= ENOUGH && counts.terms.distinct() == 1 {
        report::warning(
            format!(
                "this index of column \"{}\" of table {} finds every row: all values that were read have the same term",
                text(&policy.column_name),
                display_name(policy.relation)
            ),
            "Take more characters, or the other end of the values. envelope.index_leakage shows how many terms there are.",
        );
    }
    if counts.values.total() < ENOUGH {
        report::notice(format!(
            "column \"{}\" of table {} has too few values that can be read to say what the index will give away: \
             envelope.index_leakage shows it once there are more",
            text(&policy.column_name),
            display_name(policy.relation)
        ));
    }
    Ok(())
}

/// Why an index is refused, and of what there is a warning.
#[derive(Default)]
struct Said {
    refused: Option<String>,
    warned: Option<String>,
}

fn of_values(rule: &Rule, counts: &Counts) -> Said {
    let (total, distinct) = (counts.values.total(), counts.values.distinct());
    if total < ENOUGH {
        return Said::default();
    }
    let share = counts.values.largest() as f64 / total as f64;
    let percent = format!("{:.1} %", share * 100.0);
    let is_repeated = counts.values.largest() > 1;
    match rule.kind() {
        Kind::Exact if distinct <= FEW => {
            Said::refused(format!("there are only {distinct} different values among {total}"))
        }
        Kind::Exact if share >= LARGE => {
            Said::refused(format!("{percent} of the rows have the same value"))
        }
        Kind::Exact if total >= SOME && distinct <= SOME && is_repeated => {
            Said::warned(format!("there are only {distinct} different values among {total}"))
        }
        Kind::Exact if total >= SOME && share >= RATHER_LARGE => {
            Said::warned(format!("{percent} of the rows have the same value"))
        }
        Kind::Tree(_) if is_repeated && share >= SEEN_IN_A_TREE => Said::refused(format!(
            "{percent} of the rows have the same value, which places the others"
        )),
        _ => Said::default(),
    }
}

/// What indexes of the column that are there give away together with this one.
fn beside(policy: &PolicyRow, rule: &Rule) -> Result<Said> {
    let others = rows::indexes(policy.relation)?;
    let mut said = Said::default();
    for other in others.iter().filter(|other| other.column_name == policy.column_name) {
        let Some(its) = Rule::parse(&other.rule) else { continue };
        if its == *rule {
            continue;
        }
        let more = of_both(rule, &its, other);
        said.refused = said.refused.or(more.refused);
        said.warned = said.warned.or(more.warned);
    }
    Ok(said)
}

fn of_both(rule: &Rule, its: &Rule, other: &IndexRow) -> Said {
    let column = text(&other.index_column);
    if is_ordered(rule) && is_ordered(its) && !nests(rule, its) {
        return Said::refused(format!(
            "with the classes in column \"{column}\" it gives the order of the values away"
        ));
    }
    let on_digits = |rule: &Rule| rule.subject() == Subject::Form(NormalForm::Digits);
    if !on_digits(rule) || !on_digits(its) {
        return Said::default();
    }
    match (rule.kind(), its.kind()) {
        (Kind::Prefix(first), Kind::Suffix(last)) | (Kind::Suffix(last), Kind::Prefix(first))
            if first >= FIRST && last >= LAST =>
        {
            Said::refused(format!(
                "with the terms in column \"{column}\" it leaves few digits to guess"
            ))
        }
        (Kind::Prefix(_) | Kind::Suffix(_), Kind::Exact)
        | (Kind::Exact, Kind::Prefix(_) | Kind::Suffix(_)) => Said::warned(format!(
            "with the terms in column \"{column}\" it narrows down which number each is"
        )),
        _ => Said::default(),
    }
}

impl Said {
    fn refused(why: String) -> Said {
        Said { refused: Some(why), warned: None }
    }

    fn warned(why: String) -> Said {
        Said { refused: None, warned: Some(why) }
    }
}

fn is_ordered(rule: &Rule) -> bool {
    matches!(rule.kind(), Kind::Days | Kind::Steps(_) | Kind::Buckets | Kind::Tree(_))
}

/// Whether each step of the one is made of whole steps of the other: together they say no more than the finer one.
fn nests(one: &Rule, other: &Rule) -> bool {
    let width = |rule: &Rule| match (rule.kind(), rule.subject()) {
        (Kind::Days, Subject::Ordered(Ordered::Date)) => Some(1),
        (Kind::Days, _) => Some(86_400),
        (Kind::Steps(width), _) => Some(width),
        _ => None,
    };
    match (width(one), width(other)) {
        (Some(one), Some(other)) => one.max(other) % one.min(other).max(1) == 0,
        _ => false,
    }
}
