//! What an import has to add to the catalog, and to change in it. Made twice: before the KMS is asked, and
//! again under the locks, when nobody else can add any of it.

use std::collections::HashSet;

use envelope::header::KeyId;
use uuid::Uuid;

use crate::audit::{self, Action};
use crate::catalog::rows::{self, DataKeyHistory, DataKeyRow, Keyring, Purpose, State, WrappedKey};
use crate::catalog::write::{self, events, key_use, states};
use crate::custody::transfer::document::{Transferred, TransferredKeyring};
use crate::custody::transfer::merge::{self, Fork, Merged, Move, Resolve};
use crate::error::{Error, Result};
use crate::kek::{self, Stronger};
use crate::keyring;
use crate::memory::OwnLimits;
use crate::pg::{clock, report};
use crate::settings;

/// What the history says of what an import brings: times and reasons in it are what the import says.
pub const WAS_NOT_HERE: &str = "was not here";

/// What is missing or behind here.
#[derive(Default)]
pub struct Plan<'a> {
    keyrings: Vec<&'a TransferredKeyring>,
    keys: Vec<DataKeyHistory>,
    wraps: Vec<(KeyId, &'a WrappedKey)>,
    /// Wraps by a KEK that has wrapped the same key here in other bytes: when they hold that key, either
    /// was made anew, and the one that is here stays.
    made_anew: Vec<(KeyId, &'a WrappedKey)>,
    renumbered: Vec<(Uuid, KeyId, i32)>,
    moves: Vec<(Uuid, Move)>,
    limits: Vec<(Uuid, String)>,
    minimums: Vec<(Uuid, i32)>,
    /// Keyrings that are here, and of which the document has no wrapped key: whoever wrote it may know no
    /// more than their ids.
    unproven: HashSet<Uuid>,
    notices: Vec<String>,
}

impl<'a> Plan<'a> {
    /// 42710 when what is imported contradicts what is here. Of the keyrings that are `trusted` no proof is
    /// asked: their table was named.
    pub fn of(
        imported: &'a Transferred,
        trusted: &HashSet<Uuid>,
        resolve: Resolve,
    ) -> Result<Plan<'a>> {
        let mut plan = Plan::default();
        for keyring in &imported.keyrings {
            let here = rows::data_keys(keyring.id)?;
            let mut is_proven = false;
            for (key, wraps) in &keyring.keys {
                if may_have_wraps(key)? {
                    plan.add_wraps(key.row.key_id, wraps)?;
                    is_proven |=
                        !wraps.is_empty() && here.iter().any(|row| row.key_id == key.row.key_id);
                } else if key.row.state != State::Destroyed {
                    plan.notices.push(format!(
                        "data key {} was destroyed here, and stays destroyed",
                        key.row.key_id
                    ));
                }
            }
            let before = plan.changes();
            let mut sealing = None;
            for purpose in Purpose::ALL {
                let merged = merge_purpose(&here, keyring, purpose, resolve)?;
                if purpose == Purpose::Seal {
                    sealing = merged.active;
                }
                plan.add_merged(keyring.id, merged, keyring);
            }
            match rows::keyring(keyring.id)? {
                None if keyring.seals && keyring.is_lost() => {
                    return Err(Error::BadArgument(format!(
                        "keyring {} cannot be imported: all its data keys are destroyed",
                        keyring.id
                    )));
                }
                None if keyring.seals && is_forgotten(&here, keyring) => {
                    return Err(conflict(format!(
                        "keyring {} was forgotten here, and all its data keys were destroyed",
                        keyring.id
                    )));
                }
                None => plan.keyrings.push(keyring),
                Some(own) => {
                    plan.tighten(keyring, &own, &here, sealing)?;
                    if !is_proven && !trusted.contains(&keyring.id) {
                        plan.unproven.insert(keyring.id);
                        if plan.changes() > before {
                            return Err(not_proven(keyring.id));
                        }
                    }
                }
            }
        }
        Ok(plan)
    }

    /// An error when a table would be given the keyring for nothing but its id.
    pub fn require_proven(&self, keyring_id: Uuid) -> Result<()> {
        if self.unproven.contains(&keyring_id) { Err(not_proven(keyring_id)) } else { Ok(()) }
    }

    /// How many changes of what is here it has.
    fn changes(&self) -> usize {
        self.keys.len()
            + self.renumbered.len()
            + self.moves.len()
            + self.limits.len()
            + self.minimums.len()
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

    fn add_merged(&mut self, keyring_id: Uuid, merged: Merged, there: &TransferredKeyring) {
        for key in &merged.new {
            let was = there.keys.iter().find(|(it, _)| it.row.key_id == key.row.key_id);
            if let Some((was, _)) = was.filter(|(was, _)| was.row.version != key.row.version) {
                self.notices.push(format!(
                    "data key {}, version {} where the keyring comes from, is version {} here",
                    key.row.key_id, was.row.version, key.row.version
                ));
            }
        }
        self.notices.extend(merged.apart.map(|key| {
            format!(
                "data key {key} is active where the keyring comes from, and only opens here: it was rotated \
                 on both sides"
            )
        }));
        for (key_id, version) in merged.renumbered {
            self.notices.push(format!("data key {key_id} is version {version} here from now on"));
            self.renumbered.push((keyring_id, key_id, version));
        }
        self.keys.extend(merged.new);
        self.moves.extend(merged.moves.into_iter().map(|change| (keyring_id, change)));
        self.notices.extend(merged.destroyed_there.into_iter().map(|key| {
            format!(
                "data key {key} was destroyed where the keyring comes from, and still opens here"
            )
        }));
        self.notices.extend(merged.not_activated.map(|key| {
            format!(
                "data key {key} is active where the keyring comes from, and out of use here: the \
                 one before it goes on sealing"
            )
        }));
    }

    /// Limits and the minimum version of a keyring that is here; `active` is the version that will seal.
    fn tighten(
        &mut self,
        keyring: &TransferredKeyring,
        own: &Keyring,
        here: &[DataKeyRow],
        active: Option<i32>,
    ) -> Result<()> {
        // What a later version has written is not understood here, and stays.
        if let Ok(limits) = OwnLimits::parse(&own.limits) {
            let imported = OwnLimits::parse(&keyring.keyring.limits)?;
            let tightened = limits.tightened_by(&imported, settings::cryptoperiod());
            if tightened != limits {
                self.limits.push((keyring.id, tightened.to_json()?));
            }
        }
        // What is sealed here must open, and whatever else opens there.
        let is_new = |key: &&DataKeyHistory| key.row.keyring_id == keyring.id;
        let new = self.keys.iter().filter(is_new).map(|key| key.row);
        let is_sealing = |row: &DataKeyRow| row.purpose == Purpose::Seal;
        let mut after: Vec<_> = here.iter().copied().chain(new).filter(is_sealing).collect();
        for (_, key_id, version) in &self.renumbered {
            after
                .iter_mut()
                .filter(|row| row.key_id == *key_id)
                .for_each(|row| row.version = *version);
        }
        let minimum =
            merge::minimum(&after, &of(keyring, Purpose::Seal), keyring.keyring.minimum_version)
                .min(active.unwrap_or(i32::MAX));
        if minimum > own.minimum_version {
            self.minimums.push((keyring.id, minimum));
        }
        Ok(())
    }

    /// What it adds and changes, in words; none of it tells more than ids, versions and states. Where a key
    /// becomes the active one, what changes by that is the second.
    pub fn outline(&self) -> (Vec<String>, Vec<String>) {
        let moved = |(_, Move { key_id, from, to, .. }): &(Uuid, Move)| {
            format!("data key {key_id}: {}, was {}", to.name(), from.name())
        };
        let mut changes: Vec<String> = Vec::new();
        changes.extend(self.keyrings.iter().map(|keyring| format!("keyring {}", keyring.id)));
        changes.extend(self.keys.iter().map(|DataKeyHistory { row, .. }| {
            format!("data key {}: version {}, {}", row.key_id, row.version, row.state.name())
        }));
        let is_new = |key_id| self.keys.iter().any(|key| key.row.key_id == key_id);
        let of_known = self.wraps.iter().filter(|(key_id, _)| !is_new(*key_id));
        changes.extend(
            of_known
                .map(|(key_id, wrap)| format!("data key {key_id}: wrap under KEK {}", wrap.kek)),
        );
        changes.extend(self.renumbered.iter().map(|(_, key_id, version)| {
            format!("data key {key_id}: version {version} from now on")
        }));
        // One takes over and the other makes room: that is one thing.
        let activates = self.moves.iter().any(|(_, change)| change.to == State::Active);
        let mut active: Vec<String> = self.moves.iter().map(moved).collect();
        if !activates {
            changes.append(&mut active);
        }
        changes.extend(
            self.limits.iter().map(|(id, limits)| format!("keyring {id}: limits {limits}")),
        );
        changes.extend(
            self.minimums
                .iter()
                .map(|(id, version)| format!("keyring {id}: minimum version {version}")),
        );
        (changes, active)
    }

    /// What differs and stays so.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// The wraps that the KMS is asked for.
    pub fn to_be_tried(&self) -> impl Iterator<Item = &(KeyId, &'a WrappedKey)> {
        self.wraps.iter().chain(&self.made_anew)
    }

    /// Unwraps what is not here, byte for byte, and compares it with its key id. `table` is where it came
    /// from.
    pub fn try_wraps(&self, table: &str) -> Result<()> {
        for (key_id, wrap) in self.to_be_tried() {
            kek::ask(*key_id, wrap, table).map_err(|error| {
                kek::kms_error(error, format!("unwrap data key {key_id}, which is to be imported"))
            })?;
        }
        Ok(())
    }

    /// 40001 when there is a wrap that was not tried: another session took it away meanwhile.
    pub fn require_tried(&self, tried: &Plan<'_>, table: &str) -> Result<()> {
        let tried: HashSet<(KeyId, &str)> =
            tried.to_be_tried().map(|(key_id, wrap)| (*key_id, wrap.kek.as_str())).collect();
        let is_tried =
            |(key_id, wrap): &(KeyId, &WrappedKey)| tried.contains(&(*key_id, wrap.kek.as_str()));
        if self.to_be_tried().all(is_tried) {
            return Ok(());
        }
        Err(Error::ChangedMeanwhile(table.to_owned()))
    }

    /// Whether the keyring was not here.
    pub fn brings(&self, keyring_id: Uuid) -> bool {
        self.keyrings.iter().any(|keyring| keyring.id == keyring_id)
    }

    /// Writes it. `table` is for the log.
    pub fn carry_out(&self, table: &str) -> Result<()> {
        for TransferredKeyring { id, keyring, .. } in &self.keyrings {
            write::insert_keyring(*id, keyring)?;
        }
        for (keyring_id, key_id, version) in &self.renumbered {
            if !write::renumber(*keyring_id, *key_id, *version)? {
                return Err(Error::ChangedMeanwhile(table.to_string()));
            }
            tell(table, *keyring_id, |event| {
                event.key_id = audit::key(*key_id);
                event.detail = Some(format!("version {version}"));
            })?;
        }
        // What seals now makes room for what is to seal.
        let (last, first): (Vec<_>, Vec<_>) =
            self.moves.iter().partition(|(_, change)| change.to == State::Active);
        for (keyring_id, change) in first {
            carry(*keyring_id, change, table)?;
        }
        for key in &self.keys {
            write::insert_data_key_history(key)?;
            let DataKeyRow { key_id, keyring_id, state, .. } = key.row;
            if !self.brings(keyring_id) {
                tell(table, keyring_id, |event| {
                    event.key_id = audit::key(key_id);
                    event.detail = Some(format!("{}, {WAS_NOT_HERE}", state.name()));
                })?;
            }
        }
        for (keyring_id, change) in last {
            carry(*keyring_id, change, table)?;
        }
        let mut here = Vec::new();
        for (key_id, new) in &self.wraps {
            let known = rows::wrapped_keys(*key_id)?.into_iter();
            here.extend(known.map(|known| (known.kek, new.kek.as_str())));
        }
        for (key_id, wrap) in &self.wraps {
            write::wraps::insert(*key_id, wrap)?;
        }
        kek::warn_if_weaker(here.iter().map(|(old, new)| (old.as_str(), *new)), Stronger::Stays);
        for (keyring_id, limits) in &self.limits {
            write::update_limits(*keyring_id, limits)?;
            tell(table, *keyring_id, |event| event.detail = Some(format!("limits {limits}")))?;
        }
        for (keyring_id, version) in &self.minimums {
            write::update_minimum_version(*keyring_id, *version)?;
            tell(table, *keyring_id, |event| {
                event.detail = Some(format!("minimum version {version}"));
            })?;
        }
        self.notices.iter().for_each(|notice| report::notice(notice.clone()));
        Ok(())
    }
}

/// Whether no data key of the keyring would open anything: each was destroyed here, or there.
fn is_forgotten(here: &[DataKeyRow], keyring: &TransferredKeyring) -> bool {
    let is_lost_here = |key: &DataKeyHistory| {
        here.iter().any(|row| row.key_id == key.row.key_id && row.state == State::Destroyed)
    };
    keyring.keys.iter().all(|(key, _)| key.row.state == State::Destroyed || is_lost_here(key))
}

fn merge_purpose(
    here: &[DataKeyRow],
    there: &TransferredKeyring,
    purpose: Purpose,
    resolve: Resolve,
) -> Result<Merged> {
    let own: Vec<_> = here.iter().filter(|row| row.purpose == purpose).copied().collect();
    merge::merge(&own, &of(there, purpose), resolve, clock::wall_us()).map_err(
        |Fork { version, here, there: key }| Error::KeyringFork {
            keyring: there.id,
            version,
            here,
            there: key,
        },
    )
}

/// Its keys for `purpose`.
fn of(keyring: &TransferredKeyring, purpose: Purpose) -> Vec<&DataKeyHistory> {
    let keys = keyring.keys.iter().map(|(key, _)| key);
    keys.filter(|key| key.row.purpose == purpose).collect()
}

/// Whether an imported data key may have wraps here: one that was destroyed here stays so, and so does one
/// that was destroyed where it comes from. 42710 when it is not the same as here. Its version may be another:
/// then it came when both sides had rotated.
fn may_have_wraps(key: &DataKeyHistory) -> Result<bool> {
    let DataKeyRow { key_id, keyring_id, purpose, state, .. } = key.row;
    match rows::data_key(key_id)? {
        None => Ok(state != State::Destroyed),
        Some(known) if known.keyring_id == keyring_id && known.purpose == purpose => {
            Ok(known.state != State::Destroyed)
        }
        Some(_) => {
            Err(conflict(format!("data key {key_id} is here with another keyring, or purpose")))
        }
    }
}

fn carry(keyring_id: Uuid, change: &Move, table: &str) -> Result<()> {
    let Move { key_id, from, to, changed_at, reason } = change;
    if !states::carry(*key_id, *from, *to, *changed_at, reason.as_deref())? {
        return Err(Error::ChangedMeanwhile(table.to_string()));
    }
    if *from == State::Active {
        key_use::delete_old(keyring_id)?;
    }
    if !to.opens() {
        keyring::end_leases(*key_id);
    }
    tell(table, keyring_id, |event| {
        event.key_id = audit::key(*key_id);
        event.detail = Some(format!("{}, was {}", to.name(), from.name()));
    })
}

fn tell(table: &str, keyring_id: Uuid, fill: impl FnOnce(&mut audit::Event)) -> Result<()> {
    events::tell(Action::Import, |event| {
        event.table = Some(table.to_string());
        event.keyring_id = audit::keyring(keyring_id);
        fill(event);
    })
}

fn not_proven(keyring_id: Uuid) -> Error {
    conflict(format!(
        "keyring {keyring_id} is here, and the import has no wrapped key of it: it is not given to another \
         table, and changed only where the table that uses it is named"
    ))
}

fn conflict(what: String) -> Error {
    Error::KeyringConflict(what)
}
