//! Search indexes as the trigger needs them for every row.

use std::cell::OnceCell;
use std::ops::Deref;

use envelope::search::{Boundaries, Rule};

use super::{Table, get_as};
use crate::catalog::rows::{IndexRow, KeysOf};
use crate::error::{Error, Result};

/// A column that holds the terms or tokens of another one's values.
pub struct ColumnIndex {
    row: IndexRow,
    /// What is computed from a value.
    pub rule: Rule,
    /// The classes of buckets, once they were needed. They are wiped when the table is read anew.
    boundaries: OnceCell<Boundaries>,
}

impl ColumnIndex {
    /// A rule that is not known here is an error: a later release has written it, and its terms cannot be kept.
    pub(super) fn of(row: IndexRow) -> Result<ColumnIndex> {
        let rule = Rule::parse(&row.rule).ok_or_else(|| {
            Error::Corrupt("envelope.column_index.rule holds what cannot be there".into())
        })?;
        Ok(ColumnIndex { row, rule, boundaries: OnceCell::new() })
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
}

impl Deref for ColumnIndex {
    type Target = IndexRow;
    fn deref(&self) -> &IndexRow {
        &self.row
    }
}
