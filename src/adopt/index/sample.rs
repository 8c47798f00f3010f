//! Values of a column, opened: all of a small table, some pages of a large one.

use pgrx::pg_sys;

use crate::catalog::citus;
use crate::catalog::rows::PolicyRow;
use crate::error::{Error, Result};
use crate::pg::local_settings::{ALL_ROWS, LocalSettings};
use crate::pg::quote::Sql;
use crate::pg::relation::{self, display_name, quoted_cstring};
use crate::pg::{attribute, column, cursor, encoding};
use crate::sweep::{faults, source};
use crate::values::ValueType;

/// Pages that are read in some tenths of a second.
const MOST_PAGES: u64 = 2_000;
/// Values that are opened.
const MOST_VALUES: u64 = 100_000;

/// What was read.
#[derive(Clone, Copy, Default)]
pub struct Seen {
    /// Values that were opened.
    pub values: u64,
    /// Values that are not sealed, or do not open.
    pub others: u64,
    /// How much of the table was read, in percent of its pages.
    pub percent: f64,
}

impl Seen {
    /// Whether all of the table was read.
    pub fn is_all(&self) -> bool {
        self.percent >= 100.0 && self.values + self.others < MOST_VALUES
    }
}

/// Calls `each` with the canonical form, without what fills it, of values of the policy's column. By the current role's
/// right to open them.
pub fn each_form(
    policy: &PolicyRow,
    value_type: Option<&ValueType>,
    mut each: impl FnMut(&[u8]),
) -> Result<Seen> {
    let relation = policy.relation;
    let mut seen = Seen { percent: percent(relation), ..Seen::default() };
    let number = super::number(relation, &policy.column_name)?;
    if !column::is_sealable(attribute::type_of(relation, number).0) {
        return Ok(seen);
    }
    let sql = query(policy, seen.percent)?.to_cstring();
    let _all = LocalSettings::of(&[ALL_ROWS]);
    let read = cursor::each_row(&sql, |row| -> Result<()> {
        let context = encoding::to_utf8(&row.context);
        let context = context.map_err(|_| Error::Untranslatable("the context"))?;
        let former = row.former.as_ref().map(|former| encoding::to_utf8(former)).transpose();
        let former = former.map_err(|_| Error::Untranslatable("the context"))?;
        let mut contexts: Vec<&[u8]> = vec![&context];
        contexts.extend(former.as_deref());
        match faults::open_bytes(row.table, &contexts, &row.value)? {
            Ok(opened) => {
                let form = opened.as_slice();
                each(value_type.map_or(form, |value_type| value_type.unfilled(form)));
                opened.wipe_and_free();
                seen.values += 1;
            }
            Err(_) => seen.others += 1,
        }
        Ok(())
    });
    read.map_err(Error::Corrupt)??;
    Ok(seen)
}

fn query(policy: &PolicyRow, percent: f64) -> Result<Sql> {
    let gone = || Error::NoRelation(display_name(policy.relation));
    let table = quoted_cstring(policy.relation).ok_or_else(gone)?;
    let (context, former) = source::contexts(policy.relation, &policy.column_name)?;
    let column = Sql::new("").name(&policy.column_name);
    let sample = if percent < 100.0 {
        format!(" TABLESAMPLE pg_catalog.system({percent})")
    } else {
        String::new()
    };
    // What a row of a distributed table says is its table's number on another node.
    let of_row = match citus::is_distributed(policy.relation)? {
        true => format!("{}::pg_catalog.oid", policy.relation.to_u32()),
        false => "tableoid".into(),
    };
    Ok(Sql::new("SELECT ")
        .sql(&of_row)
        .sql(", ")
        .add(&column)
        .sql("::pg_catalog.bytea, ")
        .add(&context)
        .sql("::pg_catalog.text, ")
        .add(&former.unwrap_or_else(|| Sql::new("NULL")))
        .sql("::pg_catalog.text FROM ")
        .quoted(&table)
        .sql(&sample)
        .sql(" WHERE ")
        .add(&column)
        .sql(&format!(" IS NOT NULL LIMIT {MOST_VALUES}")))
}

/// How many of the table's pages are read.
fn percent(relation: pg_sys::Oid) -> f64 {
    let family = relation::family(relation, pg_sys::AccessShareLock as pg_sys::LOCKMODE);
    let pages: u64 =
        family.iter().filter_map(|member| relation::pages(*member)).map(u64::from).sum();
    if pages <= MOST_PAGES { 100.0 } else { 100.0 * MOST_PAGES as f64 / pages as f64 }
}
