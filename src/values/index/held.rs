//! What an index column holds beside a value: made for it, and compared with what stands there.

mod drawn;
mod made;
mod standing;
mod stored;

use envelope::header::KeyId;
use envelope::search::{Boundaries, FormType, Kind, Refused};

use super::terms::key_owner;
use crate::catalog::rows::Verb;
use crate::error::{Error, IndexError, Result};
use crate::kek::By;
use crate::keyring::table::{ColumnIndex, Policy, Table};
use crate::pg::encoding;
use crate::values::{ValueType, boundaries};

pub use standing::{Standing, is_asked, is_under_key};
pub use stored::{Stored, is_request};

/// A value, and the index whose column it has terms in.
pub struct Indexed<'a> {
    table: &'a Table,
    index: &'a ColumnIndex,
    /// The table whose index keys make the terms.
    owner: Table,
    by: By,
    of: FormType,
    /// The value's canonical form, without what fills it.
    form: &'a [u8],
}

impl<'a> Indexed<'a> {
    /// `sealed_form` is what is sealed for the value, of which `value_type` is the type by its policy; `None`: bytes.
    pub fn of(
        table: &'a Table,
        index: &'a ColumnIndex,
        by: By,
        value_type: Option<&ValueType>,
        sealed_form: &'a [u8],
    ) -> Result<Indexed<'a>> {
        let owner = key_owner(table, index)?;
        match by {
            By::Writer => index.require_lent()?,
            // Values that may be opened in this table may not be known to be those of the other one.
            By::Reader if index.has_keys_of_another() => owner.require_right(Verb::Search)?,
            By::Reader | By::Right(_) => {}
        }
        let (of, form) = match value_type {
            Some(kind) => (kind.form_type(), kind.unfilled(sealed_form)),
            None => (FormType::Bytea, sealed_form),
        };
        Ok(Indexed { table, index, owner, by, of, form })
    }

    /// Whether the role may compare terms with values: it may search, or open all that have such terms.
    pub fn may_be_compared(&self) -> bool {
        let may_open = || !self.index.has_keys_of_another() && self.table.allows(Verb::Decrypt);
        self.owner.allows(Verb::Search) || may_open()
    }

    /// Whether its term is drawn from several.
    pub fn is_drawn(&self) -> bool {
        self.index.rule.kind() == Kind::Buckets
    }

    fn boundaries(&self) -> Result<Option<&'a Boundaries>> {
        let open = || boundaries::open(&self.owner, self.index, self.by);
        match self.index.rule.kind() {
            Kind::Buckets => self.index.boundaries(open).map(Some),
            _ => Ok(None),
        }
    }

    #[cold]
    fn unindexable(&self, why: Refused) -> Error {
        IndexError::Unindexable {
            column: encoding::to_string(self.index.column_name.to_bytes()),
            table: self.table.name(),
            index_column: encoding::to_string(self.index.index_column.to_bytes()),
            why,
        }
        .into()
    }
}

/// The type of the values that the policy is about; `None`: bytes as they come.
pub fn type_of(policy: &Policy) -> Result<Option<ValueType>> {
    if policy.value_type == pgrx::pg_sys::InvalidOid {
        return Ok(None);
    }
    match ValueType::known(policy.value_type, policy.value_typmod) {
        Err(Error::Policy(error)) if matches!(*error, crate::error::PolicyError::NoType) => {
            Err(policy.type_is_gone())
        }
        kind => kind.map(Some),
    }
}

/// The index key that terms are written under; of tokens, one of those.
pub fn writing_key(owner: &Table, index: &ColumnIndex) -> Result<KeyId> {
    let pinned = index.key_id.filter(|_| !index.rule.is_tokens());
    let active = || owner.index_keys().iter().find(|key| key.is_active).map(|key| key.key_id);
    let no_key = || Error::NoIndexKey { table: owner.name(), key: None };
    pinned.or_else(active).ok_or_else(no_key)
}
