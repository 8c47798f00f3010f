//! The key that seals, once each KEK that wraps it is found to be allowed.

use envelope::header::KeyId;

use super::alias::resolved;
use super::allowed::require_sealing;
use crate::error::Result;
use crate::keyring::table::{Sealing, Table};
use crate::keyring::without_wraps;

/// The key that seals, `None` when it has yet to be made. An error when one of its wraps is
/// under a KEK that is not allowed.
#[inline]
pub fn sealing_key(table: &Table) -> Result<Option<&KeyId>> {
    let Some(sealing) = table.sealing() else { return Ok(None) };
    if !sealing.is_allowed() {
        find_allowed(sealing, table)?;
    }
    Ok(Some(&sealing.key_id))
}

/// An error when one of the wraps is under a KEK that is not allowed: whoever holds that KEK
/// could read what is sealed. Also when no wrap is left: nobody could.
#[cold]
fn find_allowed(sealing: &Sealing, table: &Table) -> Result<()> {
    if sealing.keks().is_empty() {
        return Err(without_wraps(sealing.key_id, table.name())?);
    }
    for kek in sealing.keks() {
        require_sealing(kek, || table.name(), resolved)?;
    }
    sealing.note_allowed();
    Ok(())
}
