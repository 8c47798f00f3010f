//! The next version of a table's key. The one before opens on.
//!
//! As when a first key is made ([`create`]), the KMS is asked first, with no lock held; then the
//! same lock decides between backends. The new key goes under the KEKs of the one before, which are
//! read again under the keyring's lock: a KEK that was left meanwhile must not get a new key.

use envelope::header::KeyId;
use pgrx::pg_sys;
use uuid::Uuid;

use crate::audit::Action;
use crate::catalog;
use crate::catalog::rows::{self, DataKeyRow, Purpose, State};
use crate::catalog::write::{self, key_use, states};
use crate::custody::followed;
use crate::error::{Error, Result};
use crate::keyring::table::{self, Table};
use crate::keyring::without_wraps;
use crate::life::create;
use crate::life::new_key::{self, NewKey};
use crate::pg::lock;

/// Makes the next version of the key of `relation`; its key id. Of two at once the second waits for
/// the first one's transaction, and then makes a version of its own. Unless it `activates` the version
/// only opens, until [`activate_key`](super::activate_key) has it seal.
pub fn rotate_key(relation: pg_sys::Oid, reason: Option<&str>, activates: bool) -> Result<KeyId> {
    let table = table::to_change(relation)?;
    followed::require_own(&table)?;
    require_none_pending(&table, table.sealing_keyring()?, Purpose::Seal)?;
    let next = Next::make(&table)?;
    lock::keep_relation(next.root);
    lock::lock_object(catalog::oid_of(c"keyring")?, next.root);
    write::lock_keyring(next.keyring_id, true)?;
    let key_id = next.put_in(reason.unwrap_or("envelope.rotate_key"), activates)?;
    if let Some(reason) = reason.filter(|_| !activates) {
        states::keep_reason(key_id, reason)?;
    }
    Ok(key_id)
}

/// 55000 while a version waits to be made active: it would be passed over.
pub(super) fn require_none_pending(
    table: &Table,
    keyring_id: Uuid,
    purpose: Purpose,
) -> Result<()> {
    match rows::pending_key(keyring_id, purpose)? {
        Some(key) => Err(Error::KeyWaits { key: key.key_id, table: table.name() }),
        None => Ok(()),
    }
}

/// A next version that the KMS has made and no catalog has yet.
pub struct Next {
    table: Table,
    root: pg_sys::Oid,
    keyring_id: Uuid,
    /// The active key when it was made.
    pub after: KeyId,
    new: NewKey,
}

impl Next {
    /// Asks the KMS.
    pub fn make(table: &Table) -> Result<Next> {
        let root = table.root();
        let (keyring_id, active) = active_key(table)?;
        let name = table.name();
        let under = new_key::as_for(active.key_id, &name)?;
        if under.is_empty() {
            return Err(without_wraps(active.key_id, name)?);
        }
        let new = new_key::make(&under, &name)?;
        Ok(Next { table: table.clone(), root, keyring_id, after: active.key_id, new })
    }

    /// Writes it, if no lock has to be waited for and nobody has rotated since; `None` otherwise.
    pub fn try_put_in(self, reason: &str) -> Result<Option<KeyId>> {
        if !may_write_at_once()?
            || !lock::try_keep_relation(self.root)
            || !lock::try_lock_object(catalog::oid_of(c"keyring")?, self.root)
            || !write::lock_keyring(self.keyring_id, false)?
            || active_key(&self.table)?.1.key_id != self.after
            || rows::pending_key(self.keyring_id, Purpose::Seal)?.is_some()
        {
            return Ok(None);
        }
        self.put_in(reason, true).map(Some)
    }

    /// Writes it. Both locks are held.
    fn put_in(self, reason: &str, activates: bool) -> Result<KeyId> {
        let changed = || Error::ChangedMeanwhile(self.table.name());
        let (keyring_id, active) = active_key(&self.table)?;
        let keks = |wraps: &[rows::WrappedKey]| -> Vec<_> {
            wraps.iter().map(|wrap| (wrap.kek.clone(), wrap.kms_context.clone())).collect()
        };
        if keyring_id != self.keyring_id
            || keks(&rows::wrapped_keys(active.key_id)?) != keks(&self.new.wraps)
        {
            return Err(changed());
        }
        require_none_pending(&self.table, keyring_id, Purpose::Seal)?;
        let state = if activates {
            if !states::change(active.key_id, &[State::Active], State::DecryptOnly, Some(reason))? {
                return Err(changed());
            }
            key_use::delete_old(keyring_id)?;
            State::Active
        } else {
            State::Pending
        };
        let version = create::version_after(last_version(keyring_id)?)?;
        create::put_in(keyring_id, Purpose::Seal, version, state, &self.new)?;
        let table = self.table.name();
        self.new.tell(Action::Rotate, Purpose::Seal, state, &table, keyring_id, Some(reason))?;
        Ok(self.new.key_id)
    }
}

/// Whether nobody keeps writers out of what a rotation writes to, as `VACUUM FULL` does.
fn may_write_at_once() -> Result<bool> {
    for table in [c"keyring", c"data_key", c"wrapped_key", c"key_use", c"key_event"] {
        if !lock::try_write_relation(catalog::oid_of(table)?) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The keyring that `table` seals with and its active key, as the catalog has them now.
fn active_key(table: &Table) -> Result<(Uuid, DataKeyRow)> {
    let none = || table.no_key_made("by rotation");
    let keyring_id = rows::sealing_keyring(table.root())?.ok_or_else(none)?;
    Ok((keyring_id, rows::active_key(keyring_id)?.ok_or_else(none)?))
}

fn last_version(keyring_id: Uuid) -> Result<i32> {
    let keys = rows::data_keys(keyring_id)?.into_iter();
    let versions = keys.filter(|key| key.purpose == Purpose::Seal).map(|key| key.version);
    Ok(versions.max().unwrap_or(0))
}
