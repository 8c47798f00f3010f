//! The oldest version of a table's key whose values are taken.

use pgrx::pg_sys;

use crate::catalog::rows::{self, DataKeyRow};
use crate::catalog::write::lifecycle;
use crate::error::{Error, Result};
use crate::keyring::{stale, table};
use crate::pg::xact;
use crate::settings;

/// Refuses values of `relation` under versions below `version` from here on; 1 takes all. Never above
/// the active one, or what is sealed now would not open.
pub fn set_minimum_version(relation: pg_sys::Oid, version: i32) -> Result<()> {
    settings::check_unplanted()?;
    let table = table::get(relation)?;
    table.require_manage_right()?;
    if let Some(because) = xact::forbids_writing() {
        return Err(Error::CannotWrite(because));
    }
    let none = || Error::NoKey { table: table.name(), because: "by this call" };
    let keyring_id = rows::sealing_keyring(table.root())?.ok_or_else(none)?;
    lifecycle::lock_keyring(keyring_id, true)?;
    let mut keys = rows::data_keys(keyring_id)?.into_iter();
    let active = keys.find(DataKeyRow::seals).map_or(1, |key| key.version);
    if !(1..=active).contains(&version) {
        return Err(Error::BadArgument(format!(
            "minimum version must be from 1 to {active}, the version that seals table {}",
            table.name()
        )));
    }
    lifecycle::update_minimum_version(keyring_id, version)?;
    stale::look_again();
    Ok(())
}
