//! The oldest version of a table's key whose values are taken.

use pgrx::pg_sys;

use crate::audit::{self, Action};
use crate::catalog::rows;
use crate::catalog::write::{self, events};
use crate::error::{Error, Result};
use crate::keyring;
use crate::keyring::table;

/// Refuses values of `relation` under versions below `version` from here on; 1 takes all. Never above
/// the active one, or what is sealed now would not open.
pub fn set_minimum_version(relation: pg_sys::Oid, version: i32) -> Result<()> {
    let table = table::to_change(relation)?;
    let keyring_id = table.sealing_keyring()?;
    write::lock_keyring(keyring_id, true)?;
    let active = rows::active_key(keyring_id)?.map_or(1, |key| key.version);
    if !(1..=active).contains(&version) {
        return Err(Error::BadArgument(format!(
            "minimum version must be from 1 to {active}, the version that seals table {}",
            table.name()
        )));
    }
    write::update_minimum_version(keyring_id, version)?;
    events::tell(Action::SetMinimumVersion, |event| {
        event.table = Some(table.name());
        event.keyring_id = audit::keyring(keyring_id);
        event.detail = Some(version.to_string());
    })?;
    keyring::look_again();
    Ok(())
}
