//! What is told at the end: the values that were left alone.

use std::ffi::CStr;

use pgrx::pg_sys;

use crate::catalog::citus;
use crate::catalog::write::reencryption::{self, Subject, Work};
use crate::error::{Error, Passed, Result};
use crate::keyring::table;
use crate::pg::relation::{self, display_name};
use crate::pg::{encoding, lock, report, table_scan};
use crate::sweep::left::{self, Keys};
use crate::sweep::windows::{value_column, work_on};
use crate::sweep::{distributed, indexing};

/// Tells which values of `column` were left alone in `relation`, by a WARNING; when it is to be `strict`, by an
/// error. Whether none was.
pub fn tell_passed(work: Work, relation: pg_sys::Oid, column: &CStr, strict: bool) -> Result<bool> {
    if citus::is_distributed(relation)? {
        let table = table::get(relation)?;
        return Err(distributed::refused(work, &table, relation, column));
    }
    let (foreign, read): (Vec<_>, Vec<_>) = relation::partitions(relation)
        .into_iter()
        .partition(|member| relation::is_foreign(*member));
    let table = work_on(work, relation)?;
    let mut name = encoding::to_string(column.to_bytes());
    let mut passed =
        Passed { foreign: foreign.into_iter().map(display_name).collect(), ..Passed::default() };
    for member in read.into_iter().filter(|member| relation::pages(*member).is_some()) {
        match passed_in(work, member, column, &name)? {
            Some(of_member) => passed.add(&of_member),
            None if strict => return Err(Error::ChangedMeanwhile(display_name(relation))),
            None => {}
        }
    }
    if work == Work::Index {
        name = encoding::to_string(indexing::index_in(&table, column)?.column_name.to_bytes());
    }
    let (table, column) = (display_name(relation), name);
    if passed.is_none() {
        return Ok(true);
    }
    let hint = passed.hint(&table, &column);
    let detail = passed.to_string();
    let error = Error::PassedBy { table, column, passed: Box::new(passed) };
    if strict {
        return Err(error);
    }
    report::warning_at_length(error.to_string(), detail, hint);
    Ok(false)
}

/// What was left alone in one table: as its own look at the end has found or, where there was none (it was
/// attached since, or another session is at it again), as it is now. `None`: there is more to do.
fn passed_in(
    work: Work,
    relation: pg_sys::Oid,
    column: &CStr,
    name: &str,
) -> Result<Option<Passed>> {
    let table = table::get(relation)?;
    let Some(active_key) = table.active_key() else { return Ok(None) };
    let subject = Subject { work, relation, column: name };
    let brought_to = if work == Work::Index { indexing::key(&table, column)? } else { active_key };
    if let Some(passed) = reencryption::passed(subject, brought_to)? {
        return Ok(Some(passed));
    }
    lock::keep_relation(relation);
    let (number, keys) = (value_column(work, &table, column)?, Keys::of(&table, active_key)?);
    let left =
        table_scan::with_moment(|now| left::look(now, work, &table, number, None, &keys, false))?;
    Ok((!left.is_to_do).then_some(left.passed))
}
