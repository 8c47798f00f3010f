//! Which of many values an error is about.

use std::fmt;

use envelope::header::KeyId;
use pgrx::pg_sys;

use crate::pg::column;
use crate::pg::relation::display_name;
use crate::pg::tid::Tid;

/// Where a value stands.
#[derive(Debug)]
pub struct Place {
    pub table: String,
    /// Empty where it is not known.
    pub column: String,
    /// `None`: in a row that is not stored yet, or on another server.
    pub row: Option<Tid>,
    /// What its header names, if it was read.
    pub key: Option<KeyId>,
}

impl Place {
    /// In that column of that row.
    pub fn of(relation: pg_sys::Oid, column: i16, row: Tid) -> Place {
        Place {
            table: display_name(relation),
            column: column::name(relation, column).unwrap_or_default(),
            row: Some(row),
            key: None,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Table {}", self.table)?;
        if !self.column.is_empty() {
            write!(f, ", column \"{}\"", self.column)?;
        }
        if let Some(row) = &self.row {
            write!(f, ", row with ctid {row}")?;
        }
        match &self.key {
            Some(key) => write!(f, ", under data key {key}."),
            None => write!(f, "."),
        }
    }
}
