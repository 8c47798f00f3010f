//! What the sealing of a column makes of a stored value, and of what its source says.

use std::ffi::CStr;

use envelope::header::{is_sealed, peek_key_id};
use envelope::text::key_id_in_text;
use pgrx::pg_sys;

use crate::error::{Error, Result};
use crate::keyring::table::{self, Whose};
use crate::pg::encoding;
use crate::pg::relation::display_name;
use crate::pg::varlena::{Varlena, VarlenaBuf};
use crate::sweep::faults::{self, Fault, Stored};
use crate::values::{self, Contexts, Plain};

/// A column of a table, and what its values are bound to in one row.
#[derive(Clone, Copy)]
pub struct Cell<'a> {
    pub relation: pg_sys::Oid,
    /// In the server's encoding.
    pub column: &'a CStr,
    pub contexts: Contexts<'a>,
}

/// What stands in it.
#[derive(PartialEq, Eq)]
enum State {
    Plaintext,
    /// Bound to what it was to be bound to before.
    Former,
    /// Anything that is left as it is.
    Other,
}

impl Cell<'_> {
    /// Whether `value` is to be sealed, or bound anew. Not one that is damaged, or under a key that is none of the
    /// table's.
    pub fn is_unsealed(&self, value: Stored<'_>) -> Result<bool> {
        match value {
            Ok(value) => Ok(self.state(&value)? != State::Other),
            Err(_) => Ok(false),
        }
    }

    /// `value`, sealed or bound anew; `None` where it is left as it is.
    pub fn sealed(&self, value: Varlena<'_>) -> Result<Option<VarlenaBuf>> {
        let Contexts { now, former } = self.contexts;
        match self.state(&value)? {
            State::Other => Ok(None),
            State::Former => {
                let opened = values::open(self.relation, former.unwrap_or(now), &value)?;
                let table = table::get(self.relation)?;
                // Whoever had sealed it may have sealed anything.
                let sealed =
                    values::seal_compared(&table, self.column, now, opened.as_slice(), false);
                opened.wipe_and_free();
                sealed.map(Some)
            }
            State::Plaintext => {
                self.require_plaintext(&value)?;
                let table = table::get(self.relation)?;
                let plain = values::arriving(table.policy(self.column), value)?;
                values::seal_compared(&table, self.column, now, &plain, true).map(Some)
            }
        }
    }

    /// What the source, of type `kind`, says, sealed.
    pub fn sealed_from(&self, plain: &Plain<'_>, kind: pg_sys::Oid) -> Result<VarlenaBuf> {
        self.require_plaintext(plain)?;
        let table = table::get(self.relation)?;
        let is_typed = table.policy(self.column).is_none_or(|policy| {
            policy.value_type == pg_sys::InvalidOid || policy.value_type == kind
        });
        values::seal_compared(&table, self.column, self.contexts.now, plain, is_typed)
    }

    /// What is wrong with `value`: it does not open, or does not say what its source says, where that says anything.
    pub fn fault(&self, value: Stored<'_>, source: Option<&Plain<'_>>) -> Result<Option<Fault>> {
        let Contexts { now, former } = self.contexts;
        let contexts = [now, former.unwrap_or(now)];
        let Some(source) = source else {
            let fault = faults::of_value(
                self.relation,
                &contexts[..1 + usize::from(former.is_some())],
                value,
            )?;
            return Ok(fault.filter(|fault| fault.is_damage));
        };
        let key_id = value.as_ref().ok().and_then(|value| peek_key_id(value));
        let is_same = match value {
            Ok(value) if self.state(&value)? == State::Plaintext => {
                let table = table::get(self.relation)?;
                *values::arriving(table.policy(self.column), value)? == **source
            }
            value => match faults::open(self.relation, &contexts, value)? {
                Ok(opened) => {
                    let is_same = opened.as_slice() == &**source;
                    opened.wipe_and_free();
                    is_same
                }
                Err(fault) => return Ok(Some(fault)),
            },
        };
        let error = || {
            let column = encoding::to_string(self.column.to_bytes());
            Error::OtherThanSource { column, table: display_name(self.relation) }
        };
        Ok((!is_same).then(|| Fault { key_id, error: error(), is_damage: true }))
    }

    fn state(&self, value: &[u8]) -> Result<State> {
        let Some(key_id) = peek_key_id(value) else { return Ok(State::Plaintext) };
        match (table::get(self.relation)?.whose(key_id)?, self.contexts.former) {
            (Whose::Nobodys, _) if !is_sealed(value) => Ok(State::Plaintext),
            (Whose::Ours, Some(former)) => {
                let opens = |context| {
                    let opened = faults::open_bytes(self.relation, &[context], value)?;
                    Ok::<_, Error>(opened.map(VarlenaBuf::wipe_and_free).is_ok())
                };
                let is_former = !opens(self.contexts.now)? && opens(former)?;
                Ok(if is_former { State::Former } else { State::Other })
            }
            _ => Ok(State::Other),
        }
    }

    /// An error when plaintext is a sealed value of this database, as bytes or written as text: sealed once more it
    /// would open to that.
    fn require_plaintext(&self, value: &[u8]) -> Result<()> {
        let Some(key_id) = peek_key_id(value).or_else(|| key_id_in_text(value)) else {
            return Ok(());
        };
        match table::whose(self.relation, key_id)? {
            Whose::Nobodys => Ok(()),
            Whose::Ours | Whose::Others => {
                let column = encoding::to_string(self.column.to_bytes());
                Err(Error::SealedAsText { table: display_name(self.relation), column })
            }
        }
    }
}
