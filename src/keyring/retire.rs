//! Taking a data key out of use for a while: its values do not open until it is brought back.

use envelope::header::KeyId;

use crate::audit::{self, Action};
use crate::catalog::rows::{self, DataKeyRow, State};
use crate::catalog::write::states;
use crate::error::{Error, Result};
use crate::keyring::{orphans, stale, table};
use crate::pg::acl;
use crate::pg::relation::display_name;
use crate::pg::xact;
use crate::settings;

/// Refuses to open what `key_id` has sealed, from the end of this transaction on.
pub fn retire_key(key_id: KeyId, reason: Option<&str>) -> Result<()> {
    let key = ManagedKey::named(key_id)?;
    key.require_not_active("retired")?;
    key.change(&[State::DecryptOnly], State::Retired, reason)
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
    /// 42501 unless the current role may manage the keys of every table that seals with the key's
    /// keyring; when there is none any more, unless it is a superuser.
    pub fn named(key_id: KeyId) -> Result<ManagedKey> {
        settings::check_unplanted()?;
        xact::require_writable(c"a change of data keys");
        let row = rows::data_key(key_id)?.ok_or(Error::UnknownKey(key_id))?;
        let tables = rows::tables_of(row.keyring_id)?;
        for sealing in tables.iter().filter(|link| link.seals).filter_map(orphans::living_table) {
            table::get(sealing)?.require_manage_right()?;
        }
        let sealing = orphans::sealing_table(&tables);
        let table = match sealing {
            Some(table) => display_name(table),
            None => rows::keyring(row.keyring_id)?.map(|it| it.table_name).unwrap_or_default(),
        };
        if sealing.is_none() && !acl::is_superuser() {
            return Err(Error::NoRight { action: "manage data keys of", table });
        }
        Ok(ManagedKey { row, table })
    }

    /// 55000 for the active key, which cannot be `done`.
    pub fn require_not_active(&self, done: &'static str) -> Result<()> {
        match self.row.state {
            State::Active => {
                let table = self.table.clone();
                Err(Error::KeyActive { key: self.row.key_id, table, done })
            }
            _ => Ok(()),
        }
    }

    /// Changes the key's state; 55000 when it is in none of the states `from`.
    pub fn change(&self, from: &[State], to: State, reason: Option<&str>) -> Result<()> {
        let key = self.row.key_id;
        if states::change(key, from, to, reason)? {
            stale::look_again();
            self.tell(to, reason);
            return Ok(());
        }
        // Another session may have changed it since it was read.
        let state = rows::data_key(key)?.ok_or(Error::UnknownKey(key))?.state;
        if state == State::Destroyed {
            return Err(destroyed(key, self.table.clone())?);
        }
        Err(Error::KeyState { key, table: self.table.clone(), state: state.name() })
    }

    fn tell(&self, state: State, reason: Option<&str>) {
        let action = match state {
            State::Destroyed => Action::Destroy,
            State::Retired => Action::Retire,
            State::DecryptOnly | State::Active => Action::Unretire,
        };
        audit::log(action, |event| {
            event.table = Some(self.table.clone());
            event.key_id = audit::key(self.row.key_id);
            event.detail = reason.map(str::to_string);
        });
    }
}

/// The error of a destroyed key: when that was, and why.
pub fn destroyed(key: KeyId, table: String) -> Result<Error> {
    let (at, reason) = rows::last_change(key)?.ok_or(Error::UnknownKey(key))?;
    Ok(Error::KeyDestroyed { key, table, at, reason })
}
