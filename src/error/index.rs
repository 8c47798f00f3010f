//! Errors about search indexes: what may be one, and what it needs.

use pgrx::PgSqlErrorCode;

use envelope::header::KeyId;
use envelope::search::Refused;

use super::{Place, identifier, literal};

/// What is wrong with a search index.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The table whose index keys it uses was dropped, or was not restored.
    #[error(
        "the index keys of column \"{index_column}\" of table {table} are those of a table that does not exist"
    )]
    KeysGone { index_column: String, table: String },

    /// A type whose values nothing hides that can be searched for, or whose equality is not that of their text.
    #[error("values of type {is} in column \"{column}\" of table {table} cannot be indexed: {why}")]
    Never { column: String, table: String, is: String, why: &'static str },

    /// Classes are found in the values, and all nodes need the same.
    #[error("classes of an index of distributed table {table} are made on the coordinator alone")]
    ClassesElsewhere { table: String },

    /// A kind that there is not.
    #[error(
        "kind must be exact, prefix(n), suffix(n), words, parts(n), days, steps(n), buckets or tree"
    )]
    NoKind,

    /// A normal form that there is not, or of values that have none.
    #[error("{0}")]
    BadForm(&'static str),

    /// Another kind of index is for such values.
    #[error(
        "values of type {is} in column \"{column}\" of table {table} take no index of kind '{kind}'"
    )]
    WrongKind { kind: &'static str, column: String, table: String, is: String, takes: &'static str },

    /// The column of terms is not of the type that they are.
    #[error(
        "column \"{index_column}\" of table {table} is of type {is}, and terms of this kind need {needs}"
    )]
    WrongColumn { index_column: String, table: String, is: String, needs: &'static str },

    /// Others than the trigger would set it.
    #[error("column \"{index_column}\" of table {table} {is}, and only the trigger may set it")]
    NotTheTriggers { index_column: String, table: String, is: &'static str },

    /// Only the owner says what of a table the trigger writes.
    #[error(
        "permission denied to have the trigger write to column \"{index_column}\" of table {table}"
    )]
    NotOwner { index_column: String, table: String },

    /// It would be written over.
    #[error("column \"{index_column}\" of table {table} holds values")]
    HoldsValues { index_column: String, table: String },

    /// There is such an index.
    #[error(
        "column \"{column}\" of table {table} has this index already, in column \"{index_column}\""
    )]
    Twice { column: String, table: String, index_column: String },

    /// A column has one use.
    #[error(
        "column \"{index_column}\" of table {table} holds the terms of column \"{column}\" already"
    )]
    Taken { index_column: String, table: String, column: String },

    /// Another column's terms could be compared with its.
    #[error(
        "label \"{label}\" is that of column \"{column}\" of table {table}, which has the same index keys"
    )]
    LabelTaken { label: String, column: String, table: String },

    /// To share a label is to have the same terms.
    #[error(
        "label \"{label}\" is that of column \"{column}\" of table {table}, whose terms are other ones"
    )]
    LabelDiffers {
        label: String,
        column: String,
        table: String,
        rule: String,
        term_length: Option<u8>,
    },

    /// What it would give away.
    #[error("this index of column \"{column}\" of table {table} would give too much away: {why}")]
    GivesAway { column: String, table: String, why: String },

    /// There is none.
    #[error("column \"{index_column}\" of table {table} holds no terms{}", of_column(column))]
    None { index_column: String, table: String, column: Option<String> },

    /// What is to take an index's place is not the same.
    #[error("column \"{new}\" of table {table} cannot take the place of column \"{old}\": {why}")]
    NoSwap { old: String, new: String, table: String, why: String, hint: String },

    /// It would be read on, under another name.
    #[error("column \"{index_column}\" of table {table} cannot end: it is needed by {by}")]
    StillRead { index_column: String, table: String, by: String },

    /// An index needs the policy as it is.
    #[error(
        "column \"{column}\" of table {table} has search indexes, which need its policy as it is"
    )]
    Needs { column: String, table: String, index_columns: Vec<String> },

    /// Terms would become something else.
    #[error(
        "cannot change the type of column \"{index_column}\" of table {table}, which holds the terms of column \
         \"{column}\""
    )]
    Retyped { index_column: String, table: String, column: String },

    /// What is under an index key would no longer be found.
    #[error("index key {key} is still needed by column \"{index_column}\" of table {table}: {why}")]
    KeyNeeded {
        key: KeyId,
        index_column: String,
        table: String,
        why: &'static str,
        /// The first row that is under it, where that is why.
        place: Option<Place>,
    },

    /// A statement sets it.
    #[error(
        "column \"{index_column}\" of table {table} holds the terms of column \"{column}\", and only the sealing trigger sets it"
    )]
    SetByStatement { index_column: String, table: String, column: String },

    /// The value has no terms of that kind.
    #[error(
        "column \"{column}\" of table {table} has a search index in column \"{index_column}\", which cannot take the value: {why}"
    )]
    Unindexable { column: String, table: String, index_column: String, why: Refused },

    /// Nothing would make the terms.
    #[error(
        "column \"{column}\" of table {table} has no sealing trigger, which makes the terms of its values"
    )]
    NoTrigger { column: String, table: String },

    /// Nothing goes through rows that another server has.
    #[error(
        "rows of foreign partition {partition} have no terms in column \"{index_column}\", or former ones"
    )]
    LeftElsewhere {
        index_column: String,
        partition: String,
        /// What the trigger takes for no terms.
        none: &'static str,
    },

    /// What a row holds is not what its value has.
    #[error("column \"{index_column}\" of table {table} {what}")]
    OtherTerms { index_column: String, table: String, what: &'static str },

    /// They are missing, or do not open.
    #[error(
        "the boundaries of the search index in column \"{index_column}\" of table {table} cannot be read"
    )]
    NoBoundaries { index_column: String, table: String },

    /// It has no classes.
    #[error(
        "the search index in column \"{index_column}\" of table {table} is not of kind buckets"
    )]
    NoClasses { index_column: String, table: String },

    /// From then on other index keys are used, and its terms are those of no question.
    #[error(
        "table {partition} cannot become a partition of {root}: the search index in column \"{index_column}\" of table {table} \
         uses its index keys"
    )]
    KeysOfPartition { partition: String, root: String, index_column: String, table: String },

    /// PostgreSQL has no unique index over all partitions.
    #[error(
        "values of column \"{column}\" of table {table} cannot be unique: the table is partitioned by an expression"
    )]
    NotUnique { column: String, table: String },

    /// No name is left for the column.
    #[error(
        "table {table} has columns of the names that an index of column \"{column}\" would get"
    )]
    NoName { column: String, table: String },

    /// Boundaries are taken from values.
    #[error(
        "column \"{column}\" of table {table} has {values} values that can be read, too few to divide them into classes"
    )]
    TooFew { column: String, table: String, values: u64, needs: u64 },
}

impl IndexError {
    pub(super) fn sqlstate(&self) -> PgSqlErrorCode {
        use PgSqlErrorCode::*;
        match self {
            IndexError::KeysGone { .. } | IndexError::None { .. } => ERRCODE_UNDEFINED_OBJECT,
            IndexError::Never { .. } | IndexError::ClassesElsewhere { .. } => {
                ERRCODE_FEATURE_NOT_SUPPORTED
            }
            IndexError::Retyped { .. } | IndexError::NotUnique { .. } => {
                ERRCODE_FEATURE_NOT_SUPPORTED
            }
            IndexError::WrongKind { .. } | IndexError::WrongColumn { .. } => {
                ERRCODE_DATATYPE_MISMATCH
            }
            IndexError::NoBoundaries { .. } => ERRCODE_DATA_CORRUPTED,
            IndexError::OtherTerms { .. } => ERRCODE_INDEX_CORRUPTED,
            IndexError::SetByStatement { .. }
            | IndexError::Unindexable { .. }
            | IndexError::NoKind
            | IndexError::BadForm(_) => ERRCODE_INVALID_PARAMETER_VALUE,
            IndexError::NoClasses { .. } => ERRCODE_WRONG_OBJECT_TYPE,
            IndexError::NoName { .. } => ERRCODE_DUPLICATE_COLUMN,
            IndexError::Twice { .. } | IndexError::Taken { .. } | IndexError::LabelTaken { .. } => {
                ERRCODE_DUPLICATE_OBJECT
            }
            IndexError::KeyNeeded { .. } => ERRCODE_OBJECT_IN_USE,
            IndexError::StillRead { .. } => ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST,
            IndexError::NotOwner { .. } => ERRCODE_INSUFFICIENT_PRIVILEGE,
            IndexError::LabelDiffers { .. } => ERRCODE_INVALID_PARAMETER_VALUE,
            IndexError::NotTheTriggers { .. }
            | IndexError::NoTrigger { .. }
            | IndexError::HoldsValues { .. }
            | IndexError::GivesAway { .. }
            | IndexError::NoSwap { .. }
            | IndexError::KeysOfPartition { .. }
            | IndexError::Needs { .. }
            | IndexError::LeftElsewhere { .. }
            | IndexError::TooFew { .. } => ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        }
    }

    pub(super) fn detail(&self) -> Option<String> {
        match self {
            IndexError::KeyNeeded { place, .. } => place.as_ref().map(Place::to_string),
            _ => None,
        }
    }

    pub(super) fn hint(&self) -> Option<String> {
        Some(match self {
            IndexError::KeysGone { .. } => {
                "If that table is only missing here, restore it with its keyring. If it is gone for good, end the index: \
                 envelope.drop_index. Then add one with the table's own keys."
                    .into()
            }
            IndexError::ClassesElsewhere { .. } => {
                "Make them there. What brings the keys to this node has to bring them, too: table envelope.column_index."
                    .into()
            }
            IndexError::NoKind => {
                "The normal form is no part of the kind: give form => 'digits' to envelope.add_index, and options => \
                 '{\"form\": \"digits\"}' to envelope.index_leakage."
                    .into()
            }
            IndexError::BadForm(_) => {
                "Forms are of text: envelope.add_index has them as form => '...', and envelope.index_leakage as options => \
                 '{\"form\": \"...\"}'. Values of other types are indexed as they are: leave the form out."
                    .into()
            }
            IndexError::WrongKind { takes, .. } => format!("Such values take: {takes}."),
            IndexError::WrongColumn { needs, .. } => {
                format!("Name a column of type {needs}, or one that does not exist: it is made.")
            }
            IndexError::NotTheTriggers { .. } => {
                "Name an ordinary column, or one that does not exist: it is made.".into()
            }
            IndexError::HoldsValues { .. } => {
                "They would be overwritten. If they may be, as terms of an index that was dropped: force => true. Else name \
                 another column, or one that does not exist: it is made."
                    .into()
            }
            IndexError::Twice { .. } => {
                "A second column with the same terms is for a unique index whose index key was rotated: \
                 envelope.rotate_index_key."
                    .into()
            }
            IndexError::LabelTaken { .. } => {
                "For a label of its own: label => '...'. For terms that can be compared with that column's, as in a join: \
                 share_label => true, and the same kind, form and term_length."
                    .into()
            }
            IndexError::LabelDiffers { rule, term_length, .. } => {
                let length = term_length.map_or("tokens".into(), |n| format!("term_length {n}"));
                format!(
                    "Its rule is {rule}, with {length}. Only terms that are made in the same way can be compared."
                )
            }
            IndexError::GivesAway { .. } => {
                "envelope.index_leakage shows what of the values an observer of the disk would learn. To have it all the \
                 same: force => true."
                    .into()
            }
            IndexError::NotOwner { .. } => {
                "Only the table's owner can name a column that is there already.".into()
            }
            IndexError::StillRead { .. } => {
                "PostgreSQL keeps columns there by number, not by name: it would read terms that nothing keeps. In one \
                 transaction drop what is named, swap, and make it anew."
                    .into()
            }
            IndexError::NoSwap { hint, .. } => hint.clone(),
            IndexError::None { .. } => "envelope.indexes shows which there are.".into(),
            IndexError::Needs { table, index_columns, .. } => {
                let drops = index_columns.iter().map(|column| {
                    format!("SELECT envelope.drop_index({}, {})", literal(table), literal(column))
                });
                format!("First end them: {}.", drops.collect::<Vec<_>>().join("; "))
            }
            IndexError::Retyped { index_column, table, .. } => format!(
                "First end the index: SELECT envelope.drop_index({}, {}).",
                literal(table),
                literal(index_column)
            ),
            IndexError::TooFew { needs, .. } => format!(
                "Add the index once there are {needs} values or more, or give the boundaries: options => \
                 '{{\"bounds\": [...]}}', an ascending list of the first values of all classes but the lowest."
            ),
            IndexError::KeyNeeded { index_column, table, .. } => format!(
                "First build the index anew, CALL envelope.build_index; a unique one stays under its key, add a second column \
                 that takes its place: envelope.swap_index. Or end it: SELECT envelope.drop_index({}, {}). To destroy the key \
                 all the same: envelope.destroy_key(..., shred => true).",
                literal(table),
                literal(index_column)
            ),
            IndexError::LeftElsewhere { index_column, partition, none } => format!(
                "Questions would not find them. The trigger makes terms where they are taken away: UPDATE {partition} SET {} = \
                 '{none}'. Then CALL envelope.build_index again.",
                identifier(index_column)
            ),
            IndexError::Taken { index_column, .. } => {
                format!("Name another column than {}.", identifier(index_column))
            }
            IndexError::NoName { .. } => "Name it: index_column => '...'.".into(),
            IndexError::NoBoundaries { .. } => {
                "Restore its row of envelope.column_index from a backup. Or add the index anew: its rows then get other \
                 classes, and a thief who has both learns the order of values."
                    .into()
            }
            IndexError::KeysOfPartition { index_column, table, .. } => format!(
                "A partition uses the index keys of the topmost table, whose indexes are those of its columns. First end this one: \
                 SELECT envelope.drop_index({}, {}).",
                literal(table),
                literal(index_column)
            ),
            IndexError::NotUnique { .. } => {
                "PostgreSQL keeps no unique index over such a table. Leave the option out. Within one partition values are unique \
                 if you make a UNIQUE index on it."
                    .into()
            }
            IndexError::NoClasses { .. } => "Other kinds have none that could grow.".into(),
            IndexError::NoTrigger { column, table } => format!(
                "CREATE TRIGGER envelope_seal BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION envelope_seal({}).",
                literal(column)
            ),
            IndexError::SetByStatement { index_column, .. } => format!(
                "Leave {} out of the statement: it follows the value.",
                identifier(index_column)
            ),
            IndexError::Unindexable { why: Refused::Empty, .. } => {
                "The index keeps digits, or letters and digits, alone. Store a value that has some, or NULL.".into()
            }
            IndexError::Unindexable { why: Refused::NotEmail, .. } => {
                "The index is one of e-mail addresses. Store one, or NULL.".into()
            }
            IndexError::Never { .. }
            | IndexError::Unindexable { .. }
            | IndexError::OtherTerms { .. } => return None,
        })
    }
}

fn of_column(column: &Option<String>) -> String {
    column.as_ref().map_or_else(String::new, |column| format!(" of column \"{column}\""))
}
