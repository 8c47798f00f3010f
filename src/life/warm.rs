//! Keys ahead of time, and a keyring's own limits.

use pgrx::pg_sys;

use crate::audit::{self, Action};
use crate::catalog::rows::{Purpose, Verb};
use crate::catalog::write::events;
use crate::catalog::{rows, write};
use crate::error::Result;
use crate::kek;
use crate::keyring;
use crate::keyring::table;
use crate::memory::OwnLimits;
use crate::memory::cache;
use crate::settings;

/// Unwraps the keys that the current role may use for `relation`, as far as they are not: those
/// that it opens with, the one that it seals with, and those that make the index terms of what it
/// seals or searches for. How many that were.
pub fn warm(relation: pg_sys::Oid) -> Result<usize> {
    settings::check_unplanted()?;
    let table = table::get(relation)?;
    let mut wanted = Vec::new();
    if table.allows(Verb::Encrypt) {
        wanted.extend(table.active_key());
    } else if !table.allows(Verb::Search) {
        table.require_any_open_right()?;
    }
    if table.allows(Verb::Encrypt) || table.allows(Verb::Search) {
        wanted.extend(table.index_keys().iter().map(|key| key.key_id));
    }
    for keyring_id in table.open_keyrings() {
        let keys = rows::data_keys(keyring_id)?.into_iter();
        let opening = keys.filter(|key| key.purpose == Purpose::Seal && key.state.opens());
        wanted.extend(opening.map(|key| key.key_id));
    }
    if wanted.is_empty()
        && let Some(gone) = table::gone(relation)
    {
        return Err(gone);
    }
    let mut unwrapped = 0;
    for key_id in wanted {
        if !cache::is_usable(key_id)? {
            kek::into_cache(key_id, &table)?;
            unwrapped += 1;
        }
    }
    Ok(unwrapped)
}

/// Gives the keyring that `relation` seals with limits of its own; JSON as [`OwnLimits`] has it.
pub fn set_limits(relation: pg_sys::Oid, limits: &str) -> Result<()> {
    let table = table::to_change(relation)?;
    OwnLimits::parse(limits)?;
    let keyring_id = table.sealing_keyring()?;
    write::update_limits(keyring_id, limits)?;
    events::tell(Action::SetLimits, |event| {
        event.table = Some(table.name());
        event.keyring_id = audit::keyring(keyring_id);
        event.detail = Some(limits.to_string());
    })?;
    keyring::look_again();
    Ok(())
}
