//! Labels: under one index key two columns have the same terms of equal values only where that was asked for.

use envelope::search::Rule;
use pgrx::pg_sys;
use uuid::Uuid;

use crate::catalog::rows::{self, IndexRow, KeysOf, PolicyRow};
use crate::catalog::shards;
use crate::error::{Error, IndexError, Result};
use crate::keyring::table;
use crate::pg::encoding;
use crate::pg::relation::{self, display_name};

/// Bytes of a label.
const LONGEST: usize = 255;

/// `<table>.<column>` as they are named now.
pub fn default(policy: &PolicyRow) -> Result<String> {
    let (_, table) = relation::qualified_name(policy.relation)
        .ok_or_else(|| Error::NoRelation(display_name(policy.relation)))?;
    Ok(format!("{table}.{}", encoding::to_string(policy.column_name.to_bytes())))
}

/// 22023 for what is no label.
pub fn check(label: &str) -> Result<()> {
    if label.is_empty() || label.len() > LONGEST {
        return Err(Error::BadArgument(format!("label must have 1 to {LONGEST} bytes")));
    }
    Ok(())
}

/// 42710 when a column of another name or table has the label and the same index keys, unless it is to be shared and
/// both have the same terms.
pub fn require_own(index: &IndexRow, rule: &Rule, is_shared: bool) -> Result<()> {
    let Some(keyring) = keyring_of(index)? else { return Ok(()) };
    let mut differs = None;
    for other in rows::all_indexes()? {
        let is_same_column =
            other.relation == index.relation && other.column_name == index.column_name;
        // The columns of a table that is gone are compared with nothing.
        let is_gone = other.relation == pg_sys::InvalidOid;
        let is_other = other.label != index.label || is_same_column || is_gone;
        if is_other || keyring_of(&other)? != Some(keyring) {
            continue;
        }
        let label = index.label.clone();
        let column = encoding::to_string(other.column_name.to_bytes());
        let table = display_name(other.relation);
        if !is_shared {
            return Err(IndexError::LabelTaken { label, column, table }.into());
        }
        if other.rule == rule.to_string() && other.term_length == index.term_length {
            return Ok(());
        }
        // A column has the same label in all its indexes: one of them has to be the same.
        let (rule, term_length) = (other.rule, other.term_length);
        differs = Some(IndexError::LabelDiffers { label, column, table, rule, term_length });
    }
    differs.map_or(Ok(()), |error| Err(error.into()))
}

/// The keyring whose index keys an index uses; `None` while there is none, or when its table is gone.
pub fn keyring_of(index: &IndexRow) -> Result<Option<Uuid>> {
    match index.keys {
        KeysOf::Own => rows::sealing_keyring(shards::root(index.relation)?),
        KeysOf::Table(table) => rows::sealing_keyring(shards::root(table)?),
        KeysOf::Gone => Ok(None),
    }
}

/// The table whose index keys an index of `relation` shall use. Whoever has another's used must be able to manage them:
/// its terms can be compared with those of that table. The owner of `relation`, who can have terms of any value made by
/// writing it, must be able to search with them.
pub fn keys_of(relation: pg_sys::Oid, asked: Option<pg_sys::Oid>) -> Result<KeysOf> {
    let Some(asked) = asked.filter(|asked| *asked != relation) else { return Ok(KeysOf::Own) };
    super::to_change(asked)?;
    table::require_lent(relation, asked)?;
    Ok(KeysOf::Table(asked))
}
