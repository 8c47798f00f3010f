//! Whether a stored value opens, for who wants to hear of all that do not.

use envelope::header::{KeyId, peek_key_id};
use pgrx::pg_sys;

use crate::error::kms::Kind;
use crate::error::{Error, Result};
use crate::keyring::table::{self, Whose};
use crate::pg::damage::Damage;
use crate::pg::subxact::Undone;
use crate::pg::varlena::{Varlena, VarlenaBuf};
use crate::values;

/// Why a value does not open.
pub struct Fault {
    /// What its header names, if it could be read.
    pub key_id: Option<KeyId>,
    pub error: Error,
    /// It is under a key of its table, or unreadable: not plaintext, and no value of another table or of a key that is
    /// gone.
    pub is_damage: bool,
}

/// A stored value, or why PostgreSQL could not read it.
pub type Stored<'a> = std::result::Result<Varlena<'a>, Undone<Damage>>;

/// What keeps a value of `relation` from opening, under each of `contexts`: of several, what the first one said.
/// `None`: it opens. What is not about this value is an error: a right that is missing, a KMS that is away.
pub fn of_value(
    relation: pg_sys::Oid,
    contexts: &[&[u8]],
    value: Stored<'_>,
) -> Result<Option<Fault>> {
    Ok(match open(relation, contexts, value)? {
        Ok(opened) => {
            opened.wipe_and_free();
            None
        }
        Err(fault) => Some(fault),
    })
}

/// As [`of_value`]: the value opened, if it opens.
pub fn open(
    relation: pg_sys::Oid,
    contexts: &[&[u8]],
    value: Stored<'_>,
) -> Result<std::result::Result<VarlenaBuf, Fault>> {
    match value {
        Ok(value) => open_bytes(relation, contexts, &value),
        Err(Undone::Failed(damage)) => {
            Ok(Err(Fault { key_id: None, error: damage.into(), is_damage: true }))
        }
        Err(Undone::Raised(code, message)) => Err(Error::Raised(code, message)),
    }
}

/// As [`open`], of bytes that were read.
pub fn open_bytes(
    relation: pg_sys::Oid,
    contexts: &[&[u8]],
    value: &[u8],
) -> Result<std::result::Result<VarlenaBuf, Fault>> {
    let mut first = None;
    for context in contexts {
        match values::open(relation, context, value) {
            Ok(opened) => return Ok(Ok(opened)),
            Err(error) if is_of_value(&error) => first = first.or(Some(error)),
            Err(error) => return Err(error),
        }
    }
    let key_id = peek_key_id(value);
    // Plaintext is to be told from values that were changed, of which envelope_decrypt says 22000 as well.
    let error = match first {
        Some(Error::NotSealed) | None => Error::InClear,
        Some(error) => error,
    };
    let is_damage = match (&error, key_id) {
        (Error::KeyDestroyed { .. }, _) | (_, None) => false,
        (_, Some(key_id)) => table::whose(relation, key_id)? == Whose::Ours,
    };
    Ok(Err(Fault { key_id, error, is_damage }))
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
