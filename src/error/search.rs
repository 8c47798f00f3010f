//! Errors of questions to search indexes. None shows the value that was asked for.

use envelope::search::Refused;
use pgrx::PgSqlErrorCode;

use super::{identifier, literal};

/// Why an index gives no answer.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// No index of the column answers the question.
    #[error("column \"{column}\" of table {table} has no search index that answers this question")]
    NoIndex { column: String, table: String, others: Vec<String> },

    /// Several do, and each needs terms of its own.
    #[error(
        "column \"{column}\" of table {table} has several search indexes that answer this question"
    )]
    Several { column: String, table: String, which: Vec<String>, argument: &'static str },

    /// Rows from before the index lack their terms: they would not be found.
    #[error(
        "the search index in column \"{index_column}\" of table {table} has not been built yet"
    )]
    NotBuilt { index_column: String, column: String, table: String },

    /// Rows as they were before it was built lack its terms, and such the transaction sees.
    #[error(
        "the search index in column \"{index_column}\" of table {table} has changed since this transaction began to read"
    )]
    TooNew { index_column: String, table: String },

    /// A value that is none of the column's.
    #[error(
        "values of column \"{column}\" of table {table} are of type {needs}, and this one is of type {is}"
    )]
    OtherType { column: String, table: String, needs: String, is: String },

    /// The index has no terms for such a question.
    #[error("the search index in column \"{index_column}\" of table {table} cannot answer: {why}")]
    Refused { index_column: String, table: String, why: Refused },

    /// No row would match, or every row be opened.
    #[error("argument {argument} is column \"{is}\", {}", other_column(argument, column, table))]
    OtherColumn {
        argument: &'static str,
        is: String,
        column: String,
        table: String,
        indexes: Vec<String>,
    },

    /// A question that nobody knows.
    #[error("op must be one of =, <, <=, >, >=, prefix, suffix, contains, words")]
    NoOp,
}

impl SearchError {
    pub(super) fn sqlstate(&self) -> PgSqlErrorCode {
        use PgSqlErrorCode::*;
        match self {
            SearchError::NoIndex { .. } => ERRCODE_UNDEFINED_OBJECT,
            SearchError::TooNew { .. } => ERRCODE_T_R_SERIALIZATION_FAILURE,
            SearchError::NotBuilt { .. } => ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            SearchError::Several { .. }
            | SearchError::OtherType { .. }
            | SearchError::Refused { .. }
            | SearchError::OtherColumn { .. }
            | SearchError::NoOp => ERRCODE_INVALID_PARAMETER_VALUE,
        }
    }

    pub(super) fn hint(&self) -> Option<String> {
        Some(match self {
            SearchError::NoIndex { column, table, others } if others.is_empty() => format!(
                "To add one: SELECT envelope.add_index({}, {}, kind). envelope.indexes shows which there are.",
                literal(table),
                literal(column)
            ),
            SearchError::NoIndex { column, table, others } => format!(
                "It has: {}. To add one: SELECT envelope.add_index({}, {}, kind).",
                others.join(", "),
                literal(table),
                literal(column)
            ),
            SearchError::Several { which, argument, .. } => {
                format!("They are: {}. Say which: {argument} => '...'.", which.join(", "))
            }
            SearchError::NotBuilt { index_column, column, table } => format!(
                "Rows that were there before it would not be found. CALL envelope.build_index({}, {}, {}).",
                literal(table),
                literal(column),
                literal(index_column)
            ),
            SearchError::OtherType { needs, .. } => {
                format!("Give a value of type {needs}, or text that reads as one.")
            }
            SearchError::Refused { why, .. } => match why {
                Refused::TooShort { .. } => {
                    "Ask for a longer text, or add an index of another kind: one of kind 'exact' finds values of any length."
                }
                Refused::Empty => "The index keeps digits, or letters and digits, alone: ask for a text that has some.",
                Refused::NotEmail => "The index is one of e-mail addresses: ask for a whole address.",
                Refused::TooWide { .. } => {
                    "Ask for a smaller range with both ends, or add an index of kind 'buckets' or 'tree'."
                }
                Refused::NoAnswer => {
                    "An index of kind 'exact' finds equal values, 'prefix' and 'suffix' the starts and ends of texts, 'words' and \
                     'parts' what stands in them, and 'days', 'steps', 'buckets' and 'tree' ranges."
                }
                Refused::NoForm | Refused::NoBoundaries => return None,
            }
            .into(),
            SearchError::TooNew { .. } => "Run the transaction again: it then sees the terms as they are now.".into(),
            SearchError::OtherColumn { argument: "sealed", column, .. } => format!(
                "Give column {} there, or name the column whose values are asked for.",
                identifier(column)
            ),
            SearchError::OtherColumn { indexes, .. } => {
                format!("Columns that hold them: {}.", indexes.join(", "))
            }
            SearchError::NoOp => {
                "For a range use two conditions, '>=' the first value and '<=' the last one, or envelope_search_range.".into()
            }
        })
    }
}

fn other_column(argument: &str, column: &str, table: &str) -> String {
    match argument {
        "sealed" => format!("not column \"{column}\" of table {table}"),
        _ => format!("which holds no terms of column \"{column}\" of table {table}"),
    }
}
