//! Errors about views that show opened values, and about what is written through them.

use pgrx::PgSqlErrorCode;

use super::literal;

/// What stands against a view, or against a write.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// Two columns of the view would have one name.
    #[error("a view of table {table} would have two columns \"{column}\"")]
    TwoColumns { column: String, table: String },

    /// A view of this major hides nothing from its readers that its owner may see.
    #[error(
        "a view of table {table} would show rows that its row security policies hide: views have \
         security_invoker from PostgreSQL 15 on"
    )]
    HidesNoRows { table: String },

    /// Rows cannot be told apart.
    #[error(
        "table {table} has no key by which a row that is written through a view could be found"
    )]
    NoRowKey { table: String },

    /// The table has no columns that are sealed, as far as is known.
    #[error("no column of table {table} is known to be sealed")]
    NothingSealed { table: String },

    /// A mask shows part of a text.
    #[error("column \"{column}\" of table {table} is no text, and cannot be shown in part")]
    NoText { column: String, table: String },

    /// A mask that the column's policy does not allow.
    #[error(
        "column \"{column}\" of table {table} has no policy that lets part of its values be shown"
    )]
    NoMask { column: String, table: String },

    /// `write_through` stands where it cannot do its work.
    #[error("trigger function envelope.write_through() {0}")]
    Misuse(&'static str),

    /// Another session has changed the row since the statement read it.
    #[error(
        "could not write through view {view} due to concurrent change of the row in table {table}"
    )]
    NotAsRead { view: String, table: String },

    /// The statement itself has changed the row before.
    #[error(
        "row of table {table} was changed earlier by the statement that writes it through view {view}"
    )]
    ChangedBefore { view: String, table: String },

    /// More than one row has the key of the one that is written.
    #[error(
        "several rows of table {table} have the key of the row that is written through view {view}"
    )]
    SeveralRows { view: String, table: String },

    /// Both the value and the sealed value are given.
    #[error("columns \"{opened}\" and \"{input}\" of view {view} are both given")]
    BothGiven { opened: String, input: String, view: String },

    /// A role that does not see a value changes it.
    #[error(
        "permission denied to change column \"{opened}\" of view {view}, which is not shown to the current role"
    )]
    Masked { opened: String, input: String, view: String },
}

impl ViewError {
    pub(super) fn sqlstate(&self) -> PgSqlErrorCode {
        use PgSqlErrorCode::*;
        match self {
            ViewError::TwoColumns { .. } => ERRCODE_DUPLICATE_COLUMN,
            ViewError::HidesNoRows { .. } => ERRCODE_FEATURE_NOT_SUPPORTED,
            ViewError::NoRowKey { .. } | ViewError::SeveralRows { .. } => {
                ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE
            }
            ViewError::NothingSealed { .. } => ERRCODE_UNDEFINED_OBJECT,
            ViewError::NoText { .. } | ViewError::BothGiven { .. } => {
                ERRCODE_INVALID_PARAMETER_VALUE
            }
            ViewError::NoMask { .. } | ViewError::Masked { .. } => ERRCODE_INSUFFICIENT_PRIVILEGE,
            ViewError::Misuse(_) => ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED,
            ViewError::NotAsRead { .. } => ERRCODE_T_R_SERIALIZATION_FAILURE,
            ViewError::ChangedBefore { .. } => ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION,
        }
    }

    pub(super) fn hint(&self) -> Option<String> {
        Some(match self {
            ViewError::TwoColumns { .. } => {
                "Rename the table's column, or write the view by hand: envelope.open_view prints a start.".into()
            }
            ViewError::HidesNoRows { .. } => {
                "Read the table itself: SELECT envelope_decrypt_text_or_null(...).".into()
            }
            ViewError::NoRowKey { .. } => {
                "Give the table a primary key, or write => 'table', which needs none.".into()
            }
            ViewError::NothingSealed { table } => format!(
                "Say what its columns are: SELECT envelope.set_policy({}, column_name), or create the sealing trigger.",
                literal(table)
            ),
            ViewError::NoMask { table, column } => format!(
                "Whoever may manage the table's keys can say so: SELECT envelope.set_policy({}, {}, ..., mask => 'last4').",
                literal(table),
                literal(column)
            ),
            ViewError::Misuse(_) => {
                "Have the view and its trigger made by envelope.open_view(..., write => 'triggers').".into()
            }
            ViewError::NotAsRead { .. } => "Try the transaction again.".into(),
            ViewError::ChangedBefore { .. } => {
                "Change each row once: it is named more than once in FROM, USING or a data-changing WITH.".into()
            }
            ViewError::Masked { input, .. } => format!(
                "Without the right to decrypt, give the new value to column \"{input}\", or have it granted: \
                 envelope.grant_key."
            ),
            _ => return None,
        })
    }
}
