//! Classes of buckets that outgrew the others.

use std::ffi::CStr;

use envelope::search::{Boundaries, Kind, Rule};
use pgrx::pg_sys;

use super::{counts, policy_of, require_coordinator, to_change};
use crate::catalog::rows::{IndexRow, Verb};
use crate::catalog::{self, write};
use crate::error::{IndexError, Result};
use crate::keyring::{self, table};
use crate::life;
use crate::pg::encoding::text;
use crate::pg::relation::display_name;
use crate::pg::{lock, report};
use crate::values::boundaries;

/// A class with so many times the values of the others, on average, is split.
const MUCH: u64 = 4;

/// Splits the intervals of an index of kind buckets that have outgrown the others; how many. What is written from then on
/// gets the new classes; queries ask for the former ones as well until the index is built anew.
pub fn split(relation: pg_sys::Oid, index_column: &CStr) -> Result<i32> {
    to_change(relation)?;
    let (index, rule) = buckets(relation, index_column)?;
    require_coordinator(relation)?;
    let policy = policy_of(relation, &index.column_name)?;
    // Values are opened before anything is locked.
    let mut counts = counts::count(&policy, &rule)?;
    let owner = index.keys_table()?;
    let key_id = life::index_key::ensure(owner)?;
    let owner = table::get(owner)?;
    boundaries::open(&owner, &index, Verb::Manage)?;

    lock::lock_object(catalog::oid_of(c"column_index")?, pg_sys::InvalidOid);
    keyring::look_again();
    // Another session may have split them meanwhile. The key that opens them is in memory by now.
    let (index, _) = buckets(relation, index_column)?;
    let mut set = boundaries::open(&owner, &index, Verb::Manage)?;
    let Some(sample) = &mut counts.sample else { return Ok(0) };
    let outgrown = outgrown(&set, &sample.counts(&set));
    let mut split = 0;
    // From the end on, since what is split moves those behind it.
    for (at, classes) in outgrown.into_iter().rev() {
        split += i32::from(set.split(at, sample, classes));
    }
    if split == 0 {
        return Ok(0);
    }
    let sealed = boundaries::seal(&owner, key_id, &index, &set)?;
    write::indexes::set_boundaries(index.id, &sealed)?;
    let (table, column) = (display_name(relation), text(&index.column_name));
    report::notice(format!(
        "rows keep their former classes, which queries ask for as well, until the index is built anew: CALL \
         envelope.build_index for column \"{column}\" of table {table}"
    ));
    Ok(split)
}

fn buckets(relation: pg_sys::Oid, index_column: &CStr) -> Result<(IndexRow, Rule)> {
    let index = super::index_of(relation, index_column)?;
    let rule = Rule::parse(&index.rule).filter(|rule| rule.kind() == Kind::Buckets);
    match rule {
        Some(rule) => Ok((index, rule)),
        None => Err(IndexError::NoClasses {
            index_column: text(index_column),
            table: display_name(relation),
        }
        .into()),
    }
}

/// The intervals of `set` that have too many of the values, and how many classes each needs.
fn outgrown(set: &Boundaries, values: &[u64]) -> Vec<(usize, u32)> {
    let (all, classes) = (values.iter().sum::<u64>(), set.count() as u64);
    let mean = (all / classes.max(1)).max(1);
    let sizes = set.intervals().zip(values).enumerate();
    sizes
        .filter(|(_, (its, count))| **count > MUCH * mean * its.len() as u64)
        .filter_map(|(at, (_, count))| Some((at, u32::try_from(count / mean).ok()?)))
        .collect()
}
