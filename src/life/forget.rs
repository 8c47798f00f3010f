//! The end of a keyring that no table uses any more: all its data keys are destroyed, and it is seen no more.
//!
//! The rows of its data keys stay, destroyed: an older export must not bring a key back.

use envelope::header::KeyId;
use uuid::Uuid;

use crate::audit::{self, Action};
use crate::catalog::rows::{self, DataKeyRow, State};
use crate::catalog::write::{self, events, key_use, wraps};
use crate::census::in_use;
use crate::custody::{followed, links, orphans};
use crate::error::{Error, Result};
use crate::keyring::table;
use crate::keyring::users;
use crate::life::destroy::{ALIVE, CAN_OPEN, require_read_committed, tell};
use crate::life::retire::ManagedKey;
use crate::pg::relation::display_name;
use crate::settings;

/// Why, where the caller does not say.
const REASON: &str = "envelope.forget_keyring";

/// Destroys all keys of an orphaned keyring, the active one too, and takes it off the catalog. An error while a
/// value is found under one of them. For superusers, and for those with the rights of the role that owned the
/// dropped table.
pub fn forget_keyring(keyring_id: Uuid, reason: Option<&str>) -> Result<()> {
    settings::check_unplanted()?;
    table::require_writable()?;
    require_read_committed("envelope.forget_keyring")?;
    // Nobody adopts or imports it from here on.
    links::lock_links_of(keyring_id)?;
    let keyring = rows::keyring(keyring_id)?.ok_or(Error::UnknownKeyring(keyring_id))?;
    let links = rows::tables_of(keyring_id)?;
    if let Some(user) = users::sealing_table(&links) {
        let table = display_name(user);
        return Err(Error::KeyringInUse { keyring: keyring_id, table });
    }
    orphans::require_former_owner(keyring_id, &links, "forget")?;
    let name = keyring.table_name;
    if let Some(other) = links.iter().find_map(users::living_table) {
        return Err(Error::KeyringShared { table: name, other: display_name(other) });
    }
    followed::require_own_keyring(keyring_id, &name)?;
    // First the keys, then tables, then the lock of the keyring, as where one key is destroyed.
    let keys = rows::data_keys(keyring_id)?;
    let destroyed = mark(&keys, &name, reason.unwrap_or(REASON))?;
    let all: Vec<KeyId> = keys.iter().map(|key| key.key_id).collect();
    in_use::require_unused(&all, keyring_id, &name)?;
    write::lock_keyring(keyring_id, true)?;
    key_use::delete_old(keyring_id)?;
    all.iter().try_for_each(|key_id| wraps::delete_all(*key_id))?;
    for link in links {
        write::links::delete(link.id)?;
    }
    write::delete_grants(keyring_id)?;
    write::followed::forget(keyring_id)?;
    write::delete_keyring(keyring_id)?;
    events::tell(Action::Forget, |event| {
        event.table = Some(name.clone());
        event.keyring_id = audit::keyring(keyring_id);
        event.count = Some(destroyed as u64);
        event.detail = reason.map(str::to_string);
    })?;
    tell(
        format!(
            "keyring {keyring_id} of table {name} is forgotten, {destroyed} data key(s) destroyed"
        ),
        CAN_OPEN,
    );
    Ok(())
}

/// Marks the keys destroyed; how many were not.
fn mark(keys: &[DataKeyRow], table: &str, reason: &str) -> Result<usize> {
    let mut marked = 0;
    for row in keys.iter().filter(|row| row.state != State::Destroyed) {
        let key = ManagedKey { row: *row, table: table.to_string() };
        match key.change(&ALIVE, State::Destroyed, Some(reason)) {
            Ok(()) => marked += 1,
            // By another session, which was waited for.
            Err(Error::KeyDestroyed { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(marked)
}
