//! Search indexes as the trigger needs them for every row.

use std::cell::{Cell, OnceCell};
use std::ops::Deref;

use envelope::search::{Boundaries, Rule};
use pgrx::pg_sys;

use super::{Table, as_seen_by, get_as};
use crate::catalog::rows::{IndexRow, KeysOf, Verb};
use crate::error::{Error, Result};
use crate::pg::relation;

/// A column that holds the terms or tokens of another one's values.
pub struct ColumnIndex {
    row: IndexRow,
    /// What is computed from a value.
    pub rule: Rule,
    /// The classes of buckets, once they were needed. They are wiped when the table is read anew.
    boundaries: OnceCell<Boundaries>,
    /// Its table's owner was found to have the right to search with the index keys, since this was read.
    is_lent: Cell<bool>,
}

impl ColumnIndex {
    /// A rule that is not known here is an error: a later release has written it, and its terms cannot be kept.
    pub(super) fn of(row: IndexRow) -> Result<ColumnIndex> {
        let rule = Rule::parse(&row.rule).ok_or_else(|| {
            Error::Corrupt("envelope.column_index.rule holds what cannot be there".into())
        })?;
        Ok(ColumnIndex { row, rule, boundaries: OnceCell::new(), is_lent: Cell::new(false) })
    }

    /// The classes of buckets: those that `open` gives, when it is the first time.
    pub fn boundaries(&self, open: impl FnOnce() -> Result<Boundaries>) -> Result<&Boundaries> {
        match self.boundaries.get() {
            Some(boundaries) => Ok(boundaries),
            None => {
                let opened = open()?;
                Ok(self.boundaries.get_or_init(|| opened))
            }
        }
    }

    /// The table whose index keys make the terms, as the role of `table` sees it; `table` has the index. 42704 when it is
    /// gone: those of another key would find nothing.
    pub fn key_owner(&self, table: &Table) -> Result<Table> {
        match self.row.keys {
            KeysOf::Own => Ok(table.clone()),
            _ => get_as(self.row.keys_table()?, table.role()),
        }
    }

    /// Whether another table's index keys make its terms.
    pub fn has_keys_of_another(&self) -> bool {
        self.row.keys != KeysOf::Own
    }

    /// 42501 where the owner of the table may not search with the index keys of another one, or not any more: who writes
    /// a row makes terms without a right on that one's keys, and the owner can read them.
    pub fn require_lent(&self) -> Result<()> {
        if !self.has_keys_of_another() || self.is_lent.get() {
            return Ok(());
        }
        require_lent(self.row.relation, self.row.keys_table()?)?;
        self.is_lent.set(true);
        Ok(())
    }
}

/// 42501 unless the owner of `relation` may search with the index keys of the table `keys`.
pub fn require_lent(relation: pg_sys::Oid, keys: pg_sys::Oid) -> Result<()> {
    let owner = relation::owner(relation)
        .ok_or_else(|| Error::NoRelation(relation::display_name(relation)))?;
    as_seen_by(keys, owner)?.require_right(Verb::Search)
}

impl Deref for ColumnIndex {
    type Target = IndexRow;
    fn deref(&self) -> &IndexRow {
        &self.row
    }
}
