//! Index keys: the data keys under which index terms are made. They stand in the keyring that a table seals with and
//! under the KEKs of the keys that seal, and have versions of their own.
//!
//! Made as the others are ([`create`], [`rotate`](super::rotate)): the KMS is asked first, with no lock held; then the
//! same locks decide between backends, and the KEKs are read again under them. No index key is rotated unasked: the
//! terms of all rows would have to be made anew.

use envelope::header::KeyId;
use envelope::search::TERM_PREFIX_LEN;
use pgrx::pg_sys;
use uuid::Uuid;

use crate::audit::Action;
use crate::catalog;
use crate::catalog::rows::{self, DataKeyRow, Purpose, State};
use crate::catalog::write::{self, states};
use crate::custody::followed;
use crate::error::{Error, Result};
use crate::keyring;
use crate::keyring::table::{self, Table};
use crate::keyring::without_wraps;
use crate::life::create;
use crate::life::new_key::{self, NewKey};
use crate::life::rotate::require_none_pending;
use crate::pg::lock;

/// How often a key is drawn whose first bytes are another's. With a hundred index keys in the keyring one in 650 is.
const DRAWS: usize = 1_000;

/// The active index key of `relation`, which is made if there is none, as are the keyring and its first key that seals.
pub fn ensure(relation: pg_sys::Oid) -> Result<KeyId> {
    let table = table::to_change(relation)?;
    if let Some(key_id) = active_of(&table) {
        return Ok(key_id);
    }
    followed::require_own(&table)?;
    if table.active_key().is_none() {
        create::on_first_use(&table)?;
    }
    let next = Next::make(table::to_change(relation)?)?;
    let (class, root) = next.lock_table()?;
    let keys = rows::data_keys(next.keyring_id)?;
    if let Some(theirs) = keys.iter().find(|key| is_active(key)) {
        // Another session was first. Its key is used, and this one wiped.
        lock::unlock_object(class, root);
        keyring::look_again();
        return Ok(theirs.key_id);
    }
    write::lock_keyring(next.keyring_id, true)?;
    next.put_in(Action::Create, State::Active, None)
}

/// Makes the next version of the index key of `relation`; its key id. Terms are written under it from now on, and asked
/// for under the one before as well. Of two at once the second waits for the first one's transaction, and then makes a
/// version of its own. Unless it `activates` the version is only asked for, too, until
/// [`activate_key`](super::activate_key) has terms written under it.
pub fn rotate(relation: pg_sys::Oid, reason: Option<&str>, activates: bool) -> Result<KeyId> {
    let table = table::to_change(relation)?;
    followed::require_own(&table)?;
    require_one(&table)?;
    require_none_pending(&table, table.sealing_keyring()?, Purpose::Index)?;
    let next = Next::make(table)?;
    next.lock_table()?;
    write::lock_keyring(next.keyring_id, true)?;
    let before = require_one(&next.table)?;
    require_none_pending(&next.table, next.keyring_id, Purpose::Index)?;
    if !activates {
        let key_id = next.put_in(Action::Rotate, State::Pending, reason)?;
        if let Some(reason) = reason {
            states::keep_reason(key_id, reason)?;
        }
        return Ok(key_id);
    }
    let reason = reason.unwrap_or("envelope.rotate_index_key");
    if !states::change(before, &[State::Active], State::DecryptOnly, Some(reason))? {
        return Err(Error::ChangedMeanwhile(next.table.name()));
    }
    next.put_in(Action::Rotate, State::Active, Some(reason))
}

fn is_active(key: &DataKeyRow) -> bool {
    key.purpose == Purpose::Index && key.state == State::Active
}

fn active_of(table: &Table) -> Option<KeyId> {
    table.index_keys().iter().find(|key| key.is_active).map(|key| key.key_id)
}

/// The active index key, as the catalog has it now; 42704 when there is none.
fn require_one(table: &Table) -> Result<KeyId> {
    let keys = rows::data_keys(table.sealing_keyring()?)?;
    let active = keys.into_iter().find(is_active).map(|key| key.key_id);
    active.ok_or_else(|| Error::NoIndexKey { table: table.name(), key: None })
}

/// A next version that the KMS has made and no catalog has yet.
struct Next {
    table: Table,
    keyring_id: Uuid,
    new: NewKey,
}

impl Next {
    /// Asks the KMS, until the key can be told from the others by its first bytes.
    fn make(table: Table) -> Result<Next> {
        let (name, keyring_id) = (table.name(), table.sealing_keyring()?);
        let model = model_of(&table, keyring_id)?;
        let under = new_key::as_for(model, &name)?;
        if under.is_empty() {
            return Err(without_wraps(model, name)?);
        }
        for _ in 0..DRAWS {
            let new = new_key::make(&under, &name)?;
            if !looks_like_another(new.key_id, &rows::data_keys(keyring_id)?) {
                return Ok(Next { table, keyring_id, new });
            }
        }
        Err(Error::BadArgument(format!("the keyring of table {name} has too many index keys")))
    }

    /// From here on the table stays, and no other backend makes a key of it; gives what is locked for that.
    fn lock_table(&self) -> Result<(pg_sys::Oid, pg_sys::Oid)> {
        let (class, root) = (catalog::oid_of(c"keyring")?, self.table.root());
        lock::keep_relation(root);
        lock::lock_object(class, root);
        Ok((class, root))
    }

    /// Writes it. Its table and its keyring are locked, and no index key of the keyring is in that state.
    fn put_in(self, action: Action, state: State, reason: Option<&str>) -> Result<KeyId> {
        let Next { table, keyring_id, new } = self;
        let keys = rows::data_keys(keyring_id)?;
        let keks = |wraps: &[rows::WrappedKey]| -> Vec<_> {
            wraps.iter().map(|wrap| (wrap.kek.clone(), wrap.kms_context.clone())).collect()
        };
        let model = model_of(&table, keyring_id)?;
        if rows::sealing_keyring(table.root())? != Some(keyring_id)
            || keks(&rows::wrapped_keys(model)?) != keks(&new.wraps)
            || looks_like_another(new.key_id, &keys)
        {
            return Err(Error::ChangedMeanwhile(table.name()));
        }
        let versions = keys.iter().filter(|key| key.purpose == Purpose::Index);
        let last = versions.map(|key| key.version).max().unwrap_or(0);
        create::put_in(keyring_id, Purpose::Index, create::version_after(last)?, state, &new)?;
        new.tell(action, Purpose::Index, state, &table.name(), keyring_id, reason)?;
        Ok(new.key_id)
    }
}

/// The key whose KEKs a new index key is put under: the newest that seals, as far as it was not destroyed; else the
/// newest index key.
fn model_of(table: &Table, keyring_id: Uuid) -> Result<KeyId> {
    let keys = rows::data_keys(keyring_id)?;
    let newest_for = |purpose| {
        let living = keys
            .iter()
            .filter(|key| key.purpose == purpose && key.state != State::Destroyed)
            .max_by_key(|key| key.version);
        living.map(|key| key.key_id)
    };
    newest_for(Purpose::Seal)
        .or_else(|| newest_for(Purpose::Index))
        .ok_or_else(|| table.no_key_made("while all that it had are destroyed"))
}

/// Whether an index key among `keys`, also a destroyed one, has the first bytes of `key_id`, which stand in terms.
fn looks_like_another(key_id: KeyId, keys: &[DataKeyRow]) -> bool {
    let first = |key_id: KeyId| [key_id.0[0], key_id.0[1]];
    const { assert!(TERM_PREFIX_LEN == 2) };
    keys.iter().any(|key| key.purpose == Purpose::Index && first(key.key_id) == first(key_id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(purpose: Purpose, state: State, first: [u8; 2]) -> DataKeyRow {
        let mut id = [7; 16];
        id[..2].copy_from_slice(&first);
        DataKeyRow { key_id: KeyId(id), keyring_id: Uuid::nil(), purpose, version: 1, state }
    }

    #[test]
    fn only_index_keys_are_told_from_each_other_by_their_first_bytes() {
        let new = key(Purpose::Index, State::Active, [1, 2]).key_id;
        for (purpose, state, first, expected) in [
            (Purpose::Index, State::Active, [1, 2], true),
            (Purpose::Index, State::Destroyed, [1, 2], true),
            (Purpose::Index, State::Active, [1, 3], false),
            (Purpose::Index, State::Active, [2, 2], false),
            (Purpose::Seal, State::Active, [1, 2], false),
        ] {
            assert_eq!(looks_like_another(new, &[key(purpose, state, first)]), expected);
        }
    }
}
