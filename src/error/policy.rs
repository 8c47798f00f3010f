//! Errors about policies: what a column is, and what arrives for it.

use pgrx::PgSqlErrorCode;

use super::{identifier, literal};

/// What a policy needs a column for.
#[derive(Debug)]
pub enum Need {
    /// Plaintext comes in by it.
    Source,
    /// Values are bound to it, and to the others.
    Bound { others: Vec<String> },
    /// Some values may be bound to it, as all were.
    BoundBefore,
}

/// What is wrong with a policy, or with a value that it forbids.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The column is no place for what the policy says.
    #[error(
        "column \"{column}\" of table {table} is of type {is}, and a policy of form '{form}' needs {needs}"
    )]
    WrongType { column: String, table: String, is: String, form: &'static str, needs: String },

    /// PostgreSQL computes the column after the trigger.
    #[error("column \"{column}\" of table {table} is generated, and cannot be {used}")]
    Generated { column: String, table: String, used: &'static str },

    /// A type whose text depends on settings, or that has none.
    #[error(
        "column \"{column}\" of table {table} is of type {is}, and values cannot be bound to it"
    )]
    BoundType { column: String, table: String, is: String },

    /// A column that may be NULL, where there is nothing to bind to.
    #[error("column \"{column}\" of table {table} may be NULL, and values cannot be bound to it")]
    BoundNullable { column: String, table: String },

    /// Another column of the keyring bears the tag.
    #[error(
        "tag \"{tag}\" is that of column \"{column}\" of table {table}, which has the same keyring"
    )]
    TagTaken { tag: String, column: String, table: String },

    /// What would seal its values works on other nodes.
    #[error(
        "columns of distributed table {table} cannot be protected at once: its rows stand on other nodes"
    )]
    Distributed { table: String },

    /// There is no policy.
    #[error("column \"{column}\" of table {table} has no policy")]
    None { column: String, table: String },

    /// A column that its policy registers.
    #[error("column \"{column}\" of table {table} has a policy, which keeps it registered")]
    Registers { column: String, table: String },

    /// A row without that to which its values are bound.
    #[error("column \"{column}\" of table {table} is NULL, and values of its row are bound to it")]
    BoundNull { column: String, table: String },

    /// A sealed value of another row, or of this row before it was bound to its columns.
    #[error("value does not open under a data key of table {table} as a value of this row")]
    OtherRow { table: String },

    /// UPDATE sets a source column to NULL, which would not erase what is sealed.
    #[error(
        "column \"{source_column}\" of table {table} is set to NULL, and its value is in column \"{column}\""
    )]
    SourceNull { column: String, source_column: String, table: String },

    /// Both a source column and the column that its value is sealed into were given.
    #[error(
        "columns \"{source_column}\" and \"{column}\" of table {table} were both given a value, and each stands \
         for the other"
    )]
    BothGiven { column: String, source_column: String, table: String },

    /// A value that was sealed as one of another type than the policy's.
    #[error("sealed value for column \"{column}\" of table {table} is no value of type {needs}")]
    OtherType { column: String, table: String, needs: String },

    /// A cast that may round, cut or misread what is sealed.
    #[error(
        "values of column \"{column}\" of table {table} are of type {is}, and {to} does not hold all of them as they are"
    )]
    WouldLose { column: String, table: String, is: String, to: String },

    /// A source column's value that was not sealed.
    #[error("a source column must be empty once its value is sealed, and this one is not")]
    NotEmpty,

    /// Values of two former contexts would stand in the column.
    #[error("the values of column \"{column}\" of table {table} are still being bound")]
    BeingBound { column: String, table: String },

    /// Values that would open no more.
    #[error(
        "{count} values in column \"{column}\" of table {table} are under the row context of before, and would not open any more"
    )]
    StillFormer { count: u64, column: String, table: String },

    /// A policy that says something else.
    #[error("column \"{column}\" of table {table} has another policy")]
    Another { column: String, table: String },

    /// A column is dropped that a policy needs.
    #[error(
        "cannot drop column \"{column}\" of table {table} because the policy of column \"{needed_by}\" needs it"
    )]
    Needed { column: String, needed_by: String, table: String, why: Need },

    /// A column becomes one of another type, and sealed values are bound to its text.
    #[error(
        "cannot change the type of column \"{column}\" of table {table} from {is}, because values of column \
         \"{needed_by}\" are bound to it"
    )]
    Retyped { column: String, needed_by: String, table: String, is: String },

    /// A value of an enum gets another name, and values are sealed under the one that it has.
    #[error(
        "cannot rename a value of type {kind}, because values of column \"{column}\" of table {table} are sealed by \
         its name"
    )]
    EnumSealed { kind: String, column: String, table: String },

    /// A sealing trigger that does not do what the policy says.
    #[error(
        "trigger \"{trigger}\" would not seal column \"{column}\" of table {table} as its policy says: {why}"
    )]
    WouldNotSeal {
        column: String,
        table: String,
        argument: String,
        trigger: String,
        why: &'static str,
    },

    /// A domain, whose constraints would run as whoever writes to a table of somebody else's.
    #[error(
        "permission denied to have constraints of type {kind} checked by who writes to table {table}"
    )]
    DomainOfOthers { kind: String, table: String },

    /// The type was dropped.
    #[error(
        "the type of the values of column \"{column}\" of table {table} does not exist any more"
    )]
    TypeGone { column: String, table: String },

    /// A type that nothing bears.
    #[error("the type of the values does not exist")]
    NoType,
}

impl PolicyError {
    pub(super) fn sqlstate(&self) -> PgSqlErrorCode {
        use PgSqlErrorCode::*;
        match self {
            PolicyError::WrongType { .. } | PolicyError::BoundType { .. } => {
                ERRCODE_DATATYPE_MISMATCH
            }
            PolicyError::Generated { .. } => ERRCODE_GENERATED_ALWAYS,
            PolicyError::BoundNullable { .. }
            | PolicyError::BeingBound { .. }
            | PolicyError::StillFormer { .. } => ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            PolicyError::Registers { .. } => ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            PolicyError::NotEmpty => ERRCODE_CHECK_VIOLATION,
            PolicyError::BoundNull { .. } | PolicyError::SourceNull { .. } => {
                ERRCODE_NULL_VALUE_NOT_ALLOWED
            }
            PolicyError::OtherRow { .. } => ERRCODE_DATA_EXCEPTION,
            PolicyError::BothGiven { .. }
            | PolicyError::OtherType { .. }
            | PolicyError::WouldLose { .. } => ERRCODE_INVALID_PARAMETER_VALUE,
            PolicyError::TagTaken { .. } | PolicyError::Another { .. } => ERRCODE_DUPLICATE_OBJECT,
            PolicyError::Needed { .. } => ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST,
            PolicyError::Retyped { .. }
            | PolicyError::EnumSealed { .. }
            | PolicyError::Distributed { .. } => ERRCODE_FEATURE_NOT_SUPPORTED,
            PolicyError::WouldNotSeal { .. } => ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED,
            PolicyError::None { .. } | PolicyError::TypeGone { .. } | PolicyError::NoType => {
                ERRCODE_UNDEFINED_OBJECT
            }
            PolicyError::DomainOfOthers { .. } => ERRCODE_INSUFFICIENT_PRIVILEGE,
        }
    }

    pub(super) fn hint(&self) -> Option<String> {
        Some(match self {
            PolicyError::WrongType { column, table, form, .. } => match *form {
                "sealed" => format!(
                    "For a column of type bytea: form 'bytea'. To have it take text as it is: ALTER TABLE {table} ALTER \
                     COLUMN {} TYPE envelope.sealed.",
                    identifier(column)
                ),
                "bytea" => "For a column of type envelope.sealed: form 'sealed'. envelope.protect makes one of a column \
                            in clear."
                    .into(),
                _ => "For a source: the type of that column, or none. For its sealed values: a column of type \
                      envelope.sealed or bytea."
                    .into(),
            },
            PolicyError::BoundType { .. } => {
                "Columns that values are bound to are smallint, integer, bigint, uuid, text, varchar or bytea, or \
                 domains over these: their text depends on no setting."
                    .into()
            }
            PolicyError::BoundNullable { column, table } => {
                format!("ALTER TABLE {table} ALTER COLUMN {} SET NOT NULL.", identifier(column))
            }
            PolicyError::TagTaken { .. } => {
                "Give this column a tag of its own: envelope.set_policy(..., tag => '...').".into()
            }
            PolicyError::Distributed { table } => format!(
                "Begin with columns of type envelope.sealed in an empty table, and distribute it. Then, on the coordinator: \
                 SELECT envelope.create_key({0}), SELECT envelope.set_policy({0}, ...), the trigger envelope_seal, and a CHECK. \
                 Nodes that have no key and no policy yet seal wrongly or not at all: bring them before there are rows.",
                literal(table)
            ),
            PolicyError::None { column, table } => format!(
                "envelope.policies shows the policies there are. To protect the column: SELECT envelope.protect({0}, {1}), or \
                 by the steps of envelope.plan. For one that holds sealed values already: SELECT envelope.set_policy({0}, {1}).",
                literal(table),
                literal(column)
            ),
            PolicyError::Another { .. } => {
                "envelope.policies shows it. What was begun goes on with the same options as before, bind and mask included. \
                 To change the policy: envelope.set_policy. To end it: envelope.unprotect.".into()
            }
            PolicyError::Registers { column, table } => format!(
                "To end the policy: SELECT envelope.drop_policy({}, {}).",
                literal(table),
                literal(column)
            ),
            PolicyError::OtherRow { .. } => {
                "The policy of the column binds its values to columns of their row. This one was sealed for another \
                 row or column, or without the row context that envelope.row_context gives. Open it with its own \
                 context, and write it here in clear: the trigger seals it for this row."
                    .into()
            }
            PolicyError::OtherType { .. } => {
                "Seal it by envelope_encrypt_as as a value of that type, or write it in clear: the trigger seals it."
                    .into()
            }
            PolicyError::SourceNull { column, source_column, .. } => format!(
                "Erase it with SET {0} = NULL. To leave it as it is, do not name {1}, or name both (in MERGE the \
                 columns of all its actions count): SET {0} = t.{0}; in ON CONFLICT DO UPDATE: SET {0} = \
                 EXCLUDED.{0}.",
                identifier(column),
                identifier(source_column)
            ),
            PolicyError::BothGiven { column, source_column, .. } => format!(
                "Give {} the plaintext, or {} the sealed value.",
                identifier(source_column),
                identifier(column)
            ),
            PolicyError::WouldLose { column, table, to, .. } => format!(
                "Get all back first: SELECT envelope.unprotect({}, {}). Then make of it what you want: ALTER TABLE {table} \
                 ALTER COLUMN {} TYPE {to} USING ....",
                literal(table),
                literal(column),
                identifier(column)
            ),
            PolicyError::Needed { needed_by, table, why, .. } => {
                let (table, column) = (literal(table), literal(needed_by));
                let seal = format!("CALL envelope.seal_column({table}, {column})");
                match why {
                    Need::Source => format!(
                        "First change the policy: SELECT envelope.set_policy({table}, {column}, ...) without source. Or end \
                         it: SELECT envelope.drop_policy({table}, {column})."
                    ),
                    // A policy that ends leaves values bound to a column that is gone: nothing would open them.
                    Need::Bound { others } => format!(
                        "First seal the values without it: SELECT envelope.set_policy({table}, {column}, ..., bind => {}), with \
                         all else that envelope.policies shows; then {seal}.",
                        literal(&format!("{{{}}}", others.iter().map(|it| identifier(it)).collect::<Vec<_>>().join(",")))
                    ),
                    Need::BoundBefore => format!("First end the binding of before: {seal}."),
                }
            }
            PolicyError::Retyped { .. } => {
                "Sealed values are bound to its text, which would change. If it would not, leave out USING. Else add a \
                 column of the new type, and bind them to that: envelope.set_policy."
                    .into()
            }
            PolicyError::EnumSealed { .. } => {
                "Sealed values would not be of the type any more. Add a value of the new name, and write it in the \
                 place of the other."
                    .into()
            }
            PolicyError::WouldNotSeal { table, argument, .. } => format!(
                "Write: CREATE TRIGGER ... BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION \
                 envelope_seal({}). Or change the policy: envelope.set_policy.",
                literal(argument)
            ),
            PolicyError::NotEmpty => {
                "The sealing trigger empties it. Look whether the trigger is there, fires always, and fires last: \
                 envelope.check()."
                    .into()
            }
            PolicyError::DomainOfOthers { .. } => {
                "Name the type that the domain is over. Who owns the table can name the domain.".into()
            }
            PolicyError::TypeGone { column, table } => format!(
                "Make the type anew, and name it: SELECT envelope.set_policy({}, {}, value_type => ...), and all else that \
                 the policy says (envelope.policies). Sealed values hold the text of theirs, and open as that type again.",
                literal(table),
                literal(column)
            ),
            PolicyError::StillFormer { column, table, .. } => format!(
                "Seal them under the row context of today, which ends the binding as well: CALL envelope.seal_column({}, {}).",
                literal(table),
                literal(column)
            ),
            PolicyError::BeingBound { column, table } => format!(
                "Seal them all under the row context of today first: CALL envelope.seal_column({}, {}).",
                literal(table),
                literal(column)
            ),
            _ => return None,
        })
    }
}
