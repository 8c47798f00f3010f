//! Errors about search indexes: what may be one, and what it needs.

use pgrx::PgSqlErrorCode;

/// What is wrong with a search index.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The table whose index keys it uses was dropped, or was not restored.
    #[error(
        "the index keys of column \"{index_column}\" of table {table} are those of a table that does not exist"
    )]
    KeysGone { index_column: String, table: String },
}

impl IndexError {
    pub(super) fn sqlstate(&self) -> PgSqlErrorCode {
        use PgSqlErrorCode::*;
        match self {
            IndexError::KeysGone { .. } => ERRCODE_UNDEFINED_OBJECT,
        }
    }

    pub(super) fn hint(&self) -> Option<String> {
        Some(match self {
            IndexError::KeysGone { .. } => {
                "If that table is only missing here, restore it with its keyring. If it is gone for good, end the index: \
                 envelope.drop_index. Then add one with the table's own keys."
                    .into()
            }
        })
    }
}
