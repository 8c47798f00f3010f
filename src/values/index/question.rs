//! What is asked, and which index of a column answers.

use std::ffi::CStr;

use envelope::search::{self, Kind, Subject};

use crate::catalog;
use crate::error::{Error, Result, SearchError};
use crate::keyring::table::{ColumnIndex, Table};
use crate::pg::{encoding, snapshot};

/// What is asked of a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    /// Does it begin so?
    Prefix,
    /// Does it end so?
    Suffix,
    /// Is this in it?
    Contains,
    /// Are all these words in it?
    Words,
}

impl Op {
    /// The one of that name.
    pub fn named(name: &[u8]) -> Result<Op> {
        Ok(match name {
            b"=" => Op::Equal,
            b"<" => Op::Less,
            b"<=" => Op::LessOrEqual,
            b">" => Op::Greater,
            b">=" => Op::GreaterOrEqual,
            b"prefix" => Op::Prefix,
            b"suffix" => Op::Suffix,
            b"contains" => Op::Contains,
            b"words" => Op::Words,
            _ => return Err(SearchError::NoOp.into()),
        })
    }

    /// As a question of normal forms or of one value; `None` for one of order.
    pub fn of_one(self) -> Option<search::Op> {
        Some(match self {
            Op::Equal => search::Op::Equal,
            Op::Prefix => search::Op::Prefix,
            Op::Suffix => search::Op::Suffix,
            Op::Contains => search::Op::Contains,
            Op::Words => search::Op::Words,
            Op::Less | Op::LessOrEqual | Op::Greater | Op::GreaterOrEqual => return None,
        })
    }

    /// Whether an index of that kind is about such questions. That its terms can answer is another matter: those of
    /// `days` and `steps` answer no question without an end.
    pub fn is_for(self, index: &ColumnIndex) -> bool {
        match index.rule.kind() {
            Kind::Exact => self == Op::Equal,
            Kind::Prefix(_) => matches!(self, Op::Equal | Op::Prefix),
            Kind::Suffix(_) => matches!(self, Op::Equal | Op::Suffix),
            Kind::Words => self == Op::Words,
            Kind::Parts(_) => self.of_one().is_some() && self != Op::Words,
            Kind::Days | Kind::Steps(_) | Kind::Buckets | Kind::Tree(_) => {
                self == Op::Equal || self.of_one().is_none()
            }
        }
    }

    /// Whether the index has terms for it.
    pub fn has_terms_in(self, index: &ColumnIndex) -> bool {
        let needs_end = matches!(index.rule.kind(), Kind::Days | Kind::Steps(_));
        self.is_for(index) && (self.of_one().is_some() || !needs_end)
    }

    /// What an index is asked for where nothing is said: each kind has its own question.
    pub fn of_kind(kind: Kind) -> Op {
        match kind {
            Kind::Prefix(_) => Op::Prefix,
            Kind::Suffix(_) => Op::Suffix,
            Kind::Words => Op::Words,
            Kind::Parts(_) => Op::Contains,
            Kind::Exact | Kind::Days | Kind::Steps(_) | Kind::Buckets | Kind::Tree(_) => Op::Equal,
        }
    }
}

/// How an argument names one of several indexes: by its kind (`exact`, `parts(3)`), its form (`casefold`), its rule, or
/// its column.
pub fn is_named(index: &ColumnIndex, name: &[u8]) -> bool {
    let form = match (index.rule.kind(), index.rule.subject()) {
        (Kind::Exact, Subject::Form(form)) => form.name(),
        _ => "",
    };
    let kind = index.rule.kind();
    name == index.index_column.to_bytes()
        || [kind.name(), &kind.to_string(), form, &(**index).rule]
            .iter()
            .any(|known| known.as_bytes() == name)
}

/// The one index of `column` that `fits`; 42704 when none does, 22023 when several do that are not alike. `argument` is
/// that by which one of them can be named.
pub fn the_one<'a>(
    table: &'a Table,
    column: &CStr,
    argument: &'static str,
    fits: impl Fn(&ColumnIndex) -> bool,
    are_alike: fn(&ColumnIndex, &ColumnIndex) -> bool,
) -> Result<&'a ColumnIndex> {
    let all = table.indexes(column);
    let mut fitting = all.iter().filter(|index| fits(index));
    let Some(first) = fitting.next() else {
        let others = all.iter().map(described).collect();
        let (column, table) = (encoding::to_string(column.to_bytes()), table.name());
        return Err(SearchError::NoIndex { column, table, others }.into());
    };
    if fitting.all(|other| are_alike(first, other)) {
        // While the second column of a unique index is being filled, the first one answers.
        let answers = |index: &&ColumnIndex| index.built && snapshot::sees(index.writer);
        return Ok(all.iter().filter(|index| fits(index)).find(answers).unwrap_or(first));
    }
    let which = all.iter().filter(|index| fits(index)).map(described).collect();
    let (column, table) = (encoding::to_string(column.to_bytes()), table.name());
    Err(SearchError::Several { column, table, which, argument }.into())
}

/// As [`the_one`], by the name of its column.
pub fn in_column<'a>(
    table: &'a Table,
    column: &CStr,
    index_column: &CStr,
) -> Result<&'a ColumnIndex> {
    let is_it = |index: &ColumnIndex| index.index_column.as_c_str() == index_column;
    the_one(table, column, "index_column", is_it, have_same_terms)
}

/// Whether a question has the same terms in both: the second is being filled to take the place of the first.
pub fn have_same_terms(one: &ColumnIndex, other: &ColumnIndex) -> bool {
    !one.rule.is_tokens()
        && one.rule == other.rule
        && one.label == other.label
        && one.term_length == other.term_length
        && one.keys == other.keys
}

/// Whether a question has the same answer by both.
pub fn have_same_answers(one: &ColumnIndex, other: &ColumnIndex) -> bool {
    let are_ordered = [one, other].map(|index| matches!(index.rule.subject(), Subject::Ordered(_)));
    let have_words = [one, other].map(|index| index.rule.kind() == Kind::Words);
    are_ordered == [true; 2]
        || have_words[0] == have_words[1] && one.rule.subject() == other.rule.subject()
}

fn described(index: &ColumnIndex) -> String {
    format!("{} ({})", encoding::to_string(index.index_column.to_bytes()), (**index).rule)
}

/// An error unless every row that the statement sees has its terms.
pub fn require_built(index: &ColumnIndex, table: &Table) -> Result<()> {
    let text = |name: &CStr| encoding::to_string(name.to_bytes());
    if index.built && !snapshot::sees(index.writer) {
        let (index_column, table) = (text(&index.index_column), table.name());
        return Err(SearchError::TooNew { index_column, table }.into());
    }
    if index.built {
        return Ok(());
    }
    let error = SearchError::NotBuilt {
        index_column: text(&index.index_column),
        column: text(&index.column_name),
        table: table.name(),
    };
    Err(Error::from(error))
}

/// How rows are found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// They have one of the terms.
    Terms,
    /// They have all of the tokens.
    AllTokens,
    /// They have one of the tokens.
    AnyToken,
}

/// How an index finds the rows for which a question may be true; `None` when it does not know all of them.
pub fn way(index: &ColumnIndex, op: Op) -> Option<Way> {
    if !index.built || !snapshot::sees(index.writer) || !op.has_terms_in(index) {
        return None;
    }
    Some(match index.rule.kind() {
        Kind::Tree(_) => Way::AnyToken,
        Kind::Words | Kind::Parts(_) => Way::AllTokens,
        _ => Way::Terms,
    })
}

/// The tables of the catalog on which it depends how many index keys a table has.
pub fn catalog_tables_of_keys() -> Result<[pgrx::pg_sys::Oid; 2]> {
    Ok([catalog::oid_of(c"data_key")?, catalog::oid_of(c"keyring_table")?])
}

/// The table of the catalog on which it depends that an index answers.
pub fn catalog_table() -> Result<pgrx::pg_sys::Oid> {
    catalog::oid_of(c"column_index")
}
