//! Whether a stored value opens, for who wants to hear of all that do not.

use envelope::header::{KeyId, peek_key_id};
use pgrx::pg_sys;

use crate::error::kms::Kind;
use crate::error::{Error, Result};
use crate::pg::damage::Damage;
use crate::pg::subxact::Undone;
use crate::pg::varlena::VarlenaBuf;
use crate::values;

/// Why a value does not open.
pub struct Fault {
    /// What its header names, if it could be read.
    pub key_id: Option<KeyId>,
    pub sqlstate: String,
    pub message: String,
}

/// 23514, that of a CHECK: plaintext where sealed values are to be. envelope_decrypt says 22000 of it, as of any
/// other value that does not open.
const NOT_SEALED: &str = "23514";

/// What keeps `value` of `relation` from opening, under each of `contexts`: of several, what the first one said.
/// `None`: it opens. What is not about this value is an error: a right that is missing, a KMS that is away.
pub fn of_value(relation: pg_sys::Oid, contexts: &[&[u8]], value: &[u8]) -> Result<Option<Fault>> {
    let mut first = None;
    for context in contexts {
        match values::open(relation, context, value).map(VarlenaBuf::wipe_and_free) {
            Ok(()) => return Ok(None),
            Err(error) if is_of_value(&error) => first = first.or(Some(error)),
            Err(error) => return Err(error),
        }
    }
    Ok(first.map(|error| Fault {
        key_id: peek_key_id(value),
        sqlstate: match error {
            Error::NotSealed => NOT_SEALED.into(),
            _ => error.sqlstate_text(),
        },
        message: error.to_string(),
    }))
}

/// That PostgreSQL could not read a value; other errors go on.
pub fn of_unreadable(why: Undone<Damage>) -> Result<Fault> {
    match why {
        Undone::Failed(damage) => {
            let error = Error::from(damage);
            let (sqlstate, message) = (error.sqlstate_text(), error.to_string());
            Ok(Fault { key_id: None, sqlstate, message })
        }
        Undone::Raised(code, message) => Err(Error::Raised(code, message)),
    }
}

/// Whether an error is about the value that was to be opened, or about the key that it names.
fn is_of_value(error: &Error) -> bool {
    match error {
        Error::NotSealed
        | Error::DoesNotOpen(_)
        | Error::UnknownKey(_)
        | Error::OtherTable(_)
        | Error::KeyState { .. }
        | Error::KeyDestroyed { .. }
        | Error::BelowMinimum { .. }
        | Error::NoWrap { .. } => true,
        Error::Kms { error, .. } => error.kind == Kind::InvalidWrap,
        _ => false,
    }
}
