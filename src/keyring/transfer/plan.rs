//! What an import has to add to the catalog. Made twice: before the KMS is asked, and again under
//! the locks, when nobody else can add any of it.

use std::collections::HashSet;

use envelope::header::KeyId;

use crate::catalog::rows::{self, DataKeyHistory, DataKeyRow, State, WrappedKey};
use crate::catalog::write;
use crate::error::{Error, Result};
use crate::keyring::transfer::document::{Transferred, TransferredKeyring};
use crate::keyring::{kek, unwrap};

/// What is missing here.
#[derive(Default)]
pub struct Plan<'a> {
    keyrings: Vec<&'a TransferredKeyring>,
    keys: Vec<DataKeyHistory>,
    wraps: Vec<(KeyId, &'a WrappedKey)>,
    /// Wraps by a KEK that has wrapped the same key here in other bytes: when they hold that key, either
    /// was made anew, and the one that is here stays.
    made_anew: Vec<(KeyId, &'a WrappedKey)>,
}

impl<'a> Plan<'a> {
    /// 42710 when what is imported contradicts what is here.
    pub fn of(imported: &'a Transferred) -> Result<Plan<'a>> {
        let mut plan = Plan::default();
        for keyring in &imported.keyrings {
            if rows::keyring(keyring.id)?.is_none() {
                plan.keyrings.push(keyring);
            }
            let here = rows::data_keys(keyring.id)?;
            for (key, wraps) in &keyring.keys {
                if plan.add_key(&here, key)? {
                    plan.add_wraps(key.row.key_id, wraps)?;
                }
            }
        }
        Ok(plan)
    }

    /// Adds a data key unless it is here; whether it may have wraps. One that was destroyed here
    /// stays so, and so does one that was destroyed where it comes from.
    fn add_key(&mut self, here: &[DataKeyRow], key: &DataKeyHistory) -> Result<bool> {
        let DataKeyRow { key_id, keyring_id, purpose, version, state } = key.row;
        if let Some(known) = rows::data_key(key_id)? {
            let same = known.keyring_id == keyring_id
                && known.purpose == purpose
                && known.version == version;
            return if same {
                Ok(known.state != State::Destroyed)
            } else {
                Err(conflict(format!(
                    "data key {key_id} is here with another keyring, purpose or version"
                )))
            };
        }
        let of_purpose = || here.iter().filter(|known| known.purpose == purpose);
        if let Some(known) = of_purpose().find(|known| known.version == version) {
            return Err(conflict(format!(
                "version {version} of keyring {keyring_id} is data key {} here, and data key \
                 {key_id} in the import",
                known.key_id
            )));
        }
        // Of two active keys the one that is here goes on sealing; the other opens.
        let is_second = state == State::Active && of_purpose().any(|k| k.state == State::Active);
        let state = if is_second { State::DecryptOnly } else { state };
        let row = DataKeyRow { state, ..key.row };
        self.keys.push(DataKeyHistory { row, reason: key.reason.clone(), ..*key });
        Ok(state != State::Destroyed)
    }

    fn add_wraps(&mut self, key_id: KeyId, wraps: &'a [WrappedKey]) -> Result<()> {
        let here = rows::wrapped_keys(key_id)?;
        for wrap in wraps {
            match here.iter().find(|known| known.kek == wrap.kek) {
                None => self.wraps.push((key_id, wrap)),
                Some(known) if known.wrapped == wrap.wrapped => {}
                Some(_) => self.made_anew.push((key_id, wrap)),
            }
        }
        Ok(())
    }

    fn to_be_tried(&self) -> impl Iterator<Item = &(KeyId, &'a WrappedKey)> {
        self.wraps.iter().chain(&self.made_anew)
    }

    /// Unwraps what is not here, byte for byte, and compares it with its key id. `table` is where it came
    /// from.
    pub fn try_wraps(&self, table: &str) -> Result<()> {
        for (key_id, wrap) in self.to_be_tried() {
            unwrap::ask(*key_id, wrap, table).map_err(|error| {
                kek::kms_error(error, format!("unwrap data key {key_id}, which is to be imported"))
            })?;
        }
        Ok(())
    }

    /// An error when there is a wrap that was not tried.
    pub fn require_tried(&self, tried: &Plan<'_>) -> Result<()> {
        let tried: HashSet<(KeyId, &str)> =
            tried.to_be_tried().map(|(key_id, wrap)| (*key_id, wrap.kek.as_str())).collect();
        match self.to_be_tried().find(|(key_id, wrap)| !tried.contains(&(*key_id, &wrap.kek))) {
            None => Ok(()),
            Some((key_id, _)) => Err(conflict(format!(
                "data key {key_id} changed while it was imported: import again"
            ))),
        }
    }

    /// Writes it.
    pub fn carry_out(&self) -> Result<()> {
        for TransferredKeyring { id, keyring, .. } in &self.keyrings {
            write::insert_keyring(*id, keyring)?;
        }
        for key in &self.keys {
            write::insert_data_key_history(key)?;
        }
        for (key_id, wrap) in &self.wraps {
            write::wraps::insert(*key_id, wrap)?;
        }
        Ok(())
    }
}

fn conflict(what: String) -> Error {
    Error::KeyringConflict(what)
}
