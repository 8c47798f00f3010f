//! The key that seals, once each KEK that wraps it is found to be allowed.

use envelope::header::KeyId;

use super::alias::resolved;
use super::allowed::require_sealing;
use crate::error::Result;
use crate::keyring::table::{Holders, Table};
use crate::keyring::without_wraps;

/// The key that seals, `None` when it has yet to be made. An error when one of its wraps is
/// under a KEK that is not allowed.
#[inline]
pub fn sealing_key(table: &Table) -> Result<Option<&KeyId>> {
    let Some(sealing) = table.sealing() else { return Ok(None) };
    require_allowed(sealing.key_id, &sealing.holders, table)?;
    Ok(Some(&sealing.key_id))
}

/// An error when one of the wraps of `key_id` is under a KEK that is not allowed.
#[inline]
pub(super) fn require_allowed(key_id: KeyId, holders: &Holders, table: &Table) -> Result<()> {
    if holders.is_allowed() { Ok(()) } else { find_allowed(key_id, holders, table) }
}

/// An error when one of the wraps is under a KEK that is not allowed: whoever holds that KEK
/// could read what is sealed. Also when no wrap is left: nobody could.
#[cold]
fn find_allowed(key_id: KeyId, holders: &Holders, table: &Table) -> Result<()> {
    if holders.keks().is_empty() {
        return Err(without_wraps(key_id, table.name())?);
    }
    for kek in holders.keks() {
        require_sealing(kek, || table.name(), resolved)?;
    }
    holders.note_allowed();
    Ok(())
}
