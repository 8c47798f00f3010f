//! Keys ahead of time, and a keyring's own limits.

use pgrx::pg_sys;

use crate::catalog::{rows, write};
use crate::error::{Error, Result};
use crate::keyring::limits::OwnLimits;
use crate::keyring::{cache, stale, table, unwrap};
use crate::settings;

/// Unwraps the keys that `relation` opens with, as far as they are not; how many that were.
pub fn warm(relation: pg_sys::Oid) -> Result<usize> {
    settings::check_unplanted()?;
    let table = table::get(relation)?;
    table.require_any_open_right()?;
    let mut unwrapped = 0;
    for keyring_id in table.open_keyrings() {
        for key in rows::data_keys(keyring_id)? {
            if key.state.opens() && !cache::is_usable(key.key_id)? {
                unwrap::into_cache(key.key_id, &table)?;
                unwrapped += 1;
            }
        }
    }
    Ok(unwrapped)
}

/// Gives the keyring that `relation` seals with limits of its own; JSON as [`OwnLimits`] has it.
pub fn set_limits(relation: pg_sys::Oid, limits: &str) -> Result<()> {
    settings::check_unplanted()?;
    let table = table::get(relation)?;
    table.require_manage_right()?;
    OwnLimits::parse(limits)?;
    let keyring_id = rows::sealing_keyring(table.root())?
        .ok_or_else(|| Error::NoKey { table: table.name(), because: "by this call" })?;
    write::update_limits(keyring_id, limits)?;
    stale::look_again();
    Ok(())
}
