//! The second half of a rotation: a version that was made pending, and is on all nodes by now, takes over.

use envelope::header::KeyId;

use crate::catalog;
use crate::catalog::rows::{self, State};
use crate::catalog::write::{self, key_use, states};
use crate::custody::followed;
use crate::error::{Error, Result};
use crate::keyring;
use crate::keyring::{table, users};
use crate::life::retire::ManagedKey;
use crate::pg::lock;

/// Why the states of both keys changed, where nobody has said.
const REASON: &str = "envelope.activate_key";

/// Has `key_id`, a pending key, be the active one of its keyring; the one before opens on. Nothing is done where it
/// is active already. 55000 for any other. Without a `reason` that of its rotation stays.
pub fn activate_key(key_id: KeyId, reason: Option<&str>) -> Result<()> {
    let key = ManagedKey::named(key_id)?;
    let keyring_id = key.row.keyring_id;
    if let Some(sealing) = users::sealing_table(&rows::tables_of(keyring_id)?) {
        let table = table::get(sealing)?;
        followed::require_own(&table)?;
        lock::keep_relation(table.root());
        lock::lock_object(catalog::oid_of(c"keyring")?, table.root());
    }
    write::lock_keyring(keyring_id, true)?;
    let now = rows::data_key(key_id)?.ok_or(Error::UnknownKey(key_id))?;
    let is_other = |state| Err(Error::KeyState { key: key_id, table: key.table.clone(), state });
    match now.state {
        State::Active => return Ok(()),
        State::Pending => {}
        other => return is_other(other.name()),
    }
    let keys = rows::data_key_histories(keyring_id)?.into_iter();
    let of_rotation = keys.filter(|key| key.row.key_id == key_id).find_map(|key| key.reason);
    let reason = Some(reason.or(of_rotation.as_deref()).unwrap_or(REASON));
    let changed = || Error::ChangedMeanwhile(key.table.clone());
    let of_purpose = |row: &rows::DataKeyRow| row.purpose == now.purpose;
    let before = rows::data_keys(keyring_id)?.into_iter().filter(of_purpose);
    if let Some(before) = before.into_iter().find(|row| row.state == State::Active) {
        if before.version > now.version {
            return is_other("older than the active one");
        }
        if !states::change(before.key_id, &[State::Active], State::DecryptOnly, reason)? {
            return Err(changed());
        }
        key_use::delete_old(keyring_id)?;
    }
    let key = ManagedKey { row: now, table: key.table };
    key.change(&[State::Pending], State::Active, reason)?;
    keyring::look_again();
    Ok(())
}
