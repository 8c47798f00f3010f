//! Taking a data key out of use for a while: its values do not open until it is brought back.

use envelope::header::KeyId;

use crate::audit::{self, Action};
use crate::catalog::rows::{self, DataKeyRow, Purpose, State};
use crate::catalog::write::{events, states};
use crate::census::terms;
use crate::error::{Error, Result};
use crate::keyring;
use crate::keyring::destroyed;
use crate::keyring::table;
use crate::keyring::users;
use crate::pg::acl;
use crate::pg::relation::display_name;
use crate::settings;

/// Refuses to open what `key_id` has sealed, from the end of this transaction on. An index key that is still needed is
/// refused: without it rows would not be found, and no query would say so.
pub fn retire_key(key_id: KeyId, reason: Option<&str>) -> Result<()> {
    let key = ManagedKey::named(key_id)?;
    key.require_not_active("retired")?;
    key.change(&[State::DecryptOnly], State::Retired, reason)?;
    match key.row.purpose {
        Purpose::Seal => Ok(()),
        Purpose::Index => terms::require_unused(&key.row),
    }
}

/// Takes [`retire_key`] back.
pub fn unretire_key(key_id: KeyId, reason: Option<&str>) -> Result<()> {
    ManagedKey::named(key_id)?.change(&[State::Retired], State::DecryptOnly, reason)
}

/// A data key that the current role may manage.
pub struct ManagedKey {
    pub row: DataKeyRow,
    /// The table that seals with its keyring, or did as last seen: for messages.
    pub table: String,
}

impl ManagedKey {
    /// 42501 unless the current role may manage the key's keyring, as the table sees it that seals with
    /// it; when there is none any more, unless it is a superuser. The error does not name the table:
    /// key ids stand in sealed values, and whose they are is not for all to know.
    pub fn named(key_id: KeyId) -> Result<ManagedKey> {
        settings::check_unplanted()?;
        table::require_writable()?;
        let row = rows::data_key(key_id)?.ok_or(Error::UnknownKey(key_id))?;
        let tables = rows::tables_of(row.keyring_id)?;
        let sealing = users::sealing_table(&tables);
        let table = match sealing {
            Some(table) => display_name(table),
            None => rows::keyring(row.keyring_id)?.map(|it| it.table_name).unwrap_or_default(),
        };
        // Read anew, as the key was: both may have come while a lock was waited for.
        let may = match sealing {
            Some(sealing) => {
                table::as_seen_by(sealing, acl::current_role())?.manages(row.keyring_id)
            }
            None => acl::is_superuser(),
        };
        if !may {
            let role = acl::display_role(acl::current_role());
            return Err(Error::NoRightOnKey { role, key: key_id, table });
        }
        Ok(ManagedKey { row, table })
    }

    /// 55000 for the active key, and for one that waits to be it: neither can be `done`.
    pub fn require_not_active(&self, done: &'static str) -> Result<()> {
        match self.row.state {
            State::Pending => {
                Err(Error::KeyPending { key: self.row.key_id, table: self.table.clone(), done })
            }
            State::Active => {
                let table = self.table.clone();
                let is_orphaned = users::is_orphaned(self.row.keyring_id)?;
                let is_index = self.row.purpose == Purpose::Index;
                Err(Error::KeyActive { key: self.row.key_id, table, done, is_orphaned, is_index })
            }
            _ => Ok(()),
        }
    }

    /// Changes the key's state; 55000 when it is in none of the states `from`.
    pub fn change(&self, from: &[State], to: State, reason: Option<&str>) -> Result<()> {
        let key = self.row.key_id;
        let waited = self.row.state == State::Pending && from.contains(&State::Pending);
        let from: Vec<State> = from.iter().copied().filter(|it| *it != State::Pending).collect();
        if waited && states::end_wait(key, to, reason)? || states::change(key, &from, to, reason)? {
            if !to.opens() {
                keyring::end_leases(key);
            }
            keyring::look_again();
            return self.tell(to, reason);
        }
        // Another session may have changed it since it was read.
        let state = rows::data_key(key)?.ok_or(Error::UnknownKey(key))?.state;
        if state == State::Destroyed {
            return Err(destroyed(key, self.table.clone())?);
        }
        Err(Error::KeyState { key, table: self.table.clone(), state: state.name() })
    }

    fn tell(&self, state: State, reason: Option<&str>) -> Result<()> {
        let action = match state {
            State::Destroyed => Action::Destroy,
            State::Retired => Action::Retire,
            State::Active => Action::Activate,
            State::Pending | State::DecryptOnly => Action::Unretire,
        };
        events::tell(action, |event| {
            event.table = Some(self.table.clone());
            event.key_id = audit::key(self.row.key_id);
            event.detail = reason.map(str::to_string);
        })
    }
}
