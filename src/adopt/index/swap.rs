//! A unique index whose index key was rotated: its second column takes the place of the first.

use std::ffi::CStr;

use pgrx::pg_sys;

use super::{column, index_of, tell, to_change};
use crate::adopt::plan::text::joined;
use crate::audit::Action;
use crate::catalog::{self, write};
use crate::error::{Error, IndexError, Result};
use crate::keyring;
use crate::pg::encoding::{self, text};
use crate::pg::relation::{display_name, quoted};
use crate::pg::{attribute, lock, spi};

/// Gives the column `new` the name of `old`, and `old` that of `new`, where both hold the terms of one column by one rule;
/// the index that was in `old` ends.
pub fn swap(relation: pg_sys::Oid, old: &CStr, new: &CStr) -> Result<()> {
    to_change(relation)?;
    let table = display_name(relation);
    // In the order in which an index is added, which changes the table last.
    lock::lock_object(catalog::oid_of(c"column_index")?, pg_sys::InvalidOid);
    run(&format!("LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"))?;
    keyring::look_again();
    let (from, to) = (index_of(relation, old)?, index_of(relation, new)?);
    let refused = |why| {
        let (old, new) = (text(old), text(new));
        Err(IndexError::NoSwap { old, new, table: display_name(relation), why }.into())
    };
    if from.id == to.id {
        return refused("they are one");
    }
    if !from.is_made_as(&to) || from.term_length != to.term_length {
        return refused("its terms are other ones");
    }
    if !to.built {
        return refused("it is not built: CALL envelope.build_index");
    }
    if from.is_unique && !to.is_unique {
        return refused("it is not unique");
    }
    if from.is_unique && !column::is_as_unique(relation, old, new)? {
        return refused(
            "it has no valid unique index of the same columns: CREATE UNIQUE INDEX CONCURRENTLY",
        );
    }
    if let Some(by) = column::needed_by(relation, old)? {
        return Err(IndexError::StillRead { index_column: text(old), table, by }.into());
    }
    write::indexes::delete(from.id)?;
    let (old, new) = (text(old), text(new));
    let between = between(relation, &old)?;
    // The row follows the new column by itself.
    for (from, to) in [(&old, &between), (&new, &old), (&between, &new)] {
        run(&format!("ALTER TABLE {table} RENAME COLUMN {} TO {}", quoted(from), quoted(to)))?;
    }
    tell(Action::DropIndex, &from);
    Ok(())
}

/// A name that no column bears.
fn between(relation: pg_sys::Oid, name: &str) -> Result<String> {
    let is_free = |name: &String| {
        let name = encoding::from_utf8(name.as_bytes()).ok();
        let name = name.and_then(|name| std::ffi::CString::new(&*name).ok());
        name.is_some_and(|name| attribute::number(relation, &name).is_none())
    };
    (1..100)
        .map(|number| joined(name, &format!("_swap{number}")))
        .find(is_free)
        .ok_or(Error::Untranslatable("the name of the index column"))
}

fn run(sql: &str) -> Result<()> {
    spi::run(sql).map_err(Error::Corrupt)
}
