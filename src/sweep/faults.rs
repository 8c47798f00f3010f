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

/// What keeps a value of `relation` from opening, under each of `contexts`: of several, what the first one said.
/// `None`: it opens. What is not about this value is an error: a right that is missing, a KMS that is away.
pub fn of_value(
    relation: pg_sys::Oid,
    contexts: &[&[u8]],
    value: std::result::Result<Varlena<'_>, Undone<Damage>>,
) -> Result<Option<Fault>> {
    let value = match value {
        Ok(value) => value,
        Err(Undone::Failed(damage)) => {
            return Ok(Some(Fault { key_id: None, error: damage.into(), is_damage: true }));
        }
        Err(Undone::Raised(code, message)) => return Err(Error::Raised(code, message)),
    };
    let mut first = None;
    for context in contexts {
        match values::open(relation, context, &value).map(VarlenaBuf::wipe_and_free) {
            Ok(()) => return Ok(None),
            Err(error) if is_of_value(&error) => first = first.or(Some(error)),
            Err(error) => return Err(error),
        }
    }
    let Some(error) = first else { return Ok(None) };
    let key_id = peek_key_id(&value);
    let is_damage = match (&error, key_id) {
        (Error::KeyDestroyed { .. }, _) | (_, None) => false,
        (_, Some(key_id)) => table::whose(relation, key_id)? == Whose::Ours,
    };
    // Plaintext is to be told from values that were changed, of which envelope_decrypt says 22000 as well.
    let error = if let Error::NotSealed = error { Error::InClear } else { error };
    Ok(Some(Fault { key_id, error, is_damage }))
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
