//! Policies as the trigger needs them for every row.

use std::ffi::CString;
use std::ops::Deref;

use envelope::context::row_context;

use crate::catalog::rows::PolicyRow;
use crate::error::{Error, Result};
use crate::pg::encoding;

/// What a column is.
pub struct Policy {
    row: PolicyRow,
    /// What its values are bound to.
    pub binding: Binding,
    /// What some of them may still be bound to.
    pub former: Option<Binding>,
}

/// The make-up of a row context.
pub struct Binding {
    pub tag: String,
    /// What all its contexts begin with, for values that are bound to columns.
    pub head: Vec<u8>,
    /// In the server's encoding; none: the context is empty.
    pub columns: Vec<CString>,
}

impl Policy {
    pub(super) fn of(row: PolicyRow) -> Result<Policy> {
        let binding = Binding::of(&row.tag, &row.bound_columns)?;
        let former = row.former.as_ref();
        let former = former.map(|former| Binding::of(&former.tag, &former.bound_columns));
        Ok(Policy { binding, former: former.transpose()?, row })
    }
}

impl Deref for Policy {
    type Target = PolicyRow;
    fn deref(&self) -> &PolicyRow {
        &self.row
    }
}

impl Binding {
    fn of(tag: &str, columns: &[String]) -> Result<Binding> {
        let unreadable =
            || Error::Corrupt("envelope.sealed_column binds to what is no name".into());
        let name = |name: &String| {
            let name = encoding::from_utf8(name.as_bytes()).map_err(|_| unreadable())?;
            CString::new(&*name).map_err(|_| unreadable())
        };
        let columns = columns.iter().map(name).collect::<Result<_>>()?;
        let head = row_context::<&str>(tag, []).into_bytes();
        Ok(Binding { tag: tag.to_owned(), head, columns })
    }
}
