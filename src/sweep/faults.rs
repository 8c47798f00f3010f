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

impl From<&Error> for Fault {
    fn from(error: &Error) -> Fault {
        Fault { key_id: None, sqlstate: error.sqlstate_text(), message: error.to_string() }
    }
}

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
    let error = match first {
        // To be told from values that were changed, of which envelope_decrypt says 22000 as well.
        Some(Error::NotSealed) => Some(Error::InClear),
        first => first,
    };
    Ok(error.map(|error| Fault { key_id: peek_key_id(value), ..Fault::from(&error) }))
}

/// That PostgreSQL could not read a value; other errors go on.
pub fn of_unreadable(why: Undone<Damage>) -> Result<Fault> {
    match why {
        Undone::Failed(damage) => Ok(Fault::from(&Error::from(damage))),
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
