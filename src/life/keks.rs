//! Several KEKs over the keys of one keyring: another one is added, one of several is dropped.
//!
//! The KMS is asked first, with no lock held. What it answered for is then read again under the
//! keyring's lock; where it has changed nothing is done.

use envelope::header::KeyId;
use envelope::wrap::EncryptionContext;
use pgrx::pg_sys;
use uuid::Uuid;

use crate::audit::{self, Action};
use crate::catalog::rows::{self, State, WrappedKey};
use crate::catalog::write::{self, events, wraps};
use crate::error::{Error, Result};
use crate::kek::{self, Stronger};
use crate::keyring;
use crate::keyring::table::{self, Table};
use crate::keyring::without_wraps;

/// Wraps every data key of `relation` by `kek` as well, with `context` as KMS encryption context or
/// else that of its first wrap. All or none; how many had not been.
pub fn add_kek(
    relation: pg_sys::Oid,
    kek: &str,
    context: Option<EncryptionContext>,
) -> Result<usize> {
    let (table, keyring_id) = managed(relation)?;
    let named = kek::named(kek)?;
    let stored = named.stored_uri()?;
    let keys = wrapped_keys(keyring_id)?;
    let mut added = Vec::new();
    for (key_id, wraps) in &keys {
        if wraps.iter().any(|wrap| wrap.kek == stored) {
            continue;
        }
        let failed = |error| {
            let what = format!("wrap data key {key_id} of table {} by {stored}", table.name());
            kek::kms_error(error, what)
        };
        let new = kek::first_in_reach(wraps, |wrap| {
            let context = context.as_ref().unwrap_or(&wrap.kms_context);
            kek::wrap_again(*key_id, wrap, named.provider(), context, &table.name())
        });
        let Some(new) = new else { return Err(without_wraps(*key_id, table.name())?) };
        let (new, _) = new.map_err(failed)?;
        if !kek::is_allowed(&new.kek)? {
            return Err(Error::KekNotAllowed(new.kek));
        }
        added.push((*key_id, new));
    }

    write::lock_keyring(keyring_id, true)?;
    if wrapped_keys(keyring_id)? != keys {
        return Err(Error::ChangedMeanwhile(table.name()));
    }
    for (key_id, wrap) in &added {
        wraps::insert(*key_id, wrap)?;
        require_as_stored(*key_id, wrap)?;
        tell(Action::AddKek, &table.name(), *key_id, &wrap.kek, None)?;
    }
    keyring::look_again();
    let before = |key_id: KeyId| keys.iter().filter(move |(known, _)| *known == key_id);
    let pairs = added.iter().flat_map(|(key_id, new)| {
        let old = before(*key_id).flat_map(|(_, wraps)| wraps);
        old.map(|old| (old.kek.as_str(), new.kek.as_str()))
    });
    kek::warn_if_weaker(pairs, Stronger::Stays);
    Ok(added.len())
}

/// Takes `kek` away from every data key of `relation`, once another wrap of each has given it back.
/// All or none; how many there were.
pub fn drop_kek(relation: pg_sys::Oid, kek: &str) -> Result<usize> {
    let (table, keyring_id) = managed(relation)?;
    let stored = kek::as_stored(kek)?;
    let mut dropped = Vec::new();
    for (key_id, wraps) in wrapped_keys(keyring_id)? {
        let (of_kek, others): (Vec<_>, Vec<_>) =
            wraps.into_iter().partition(|wrap| wrap.kek == stored);
        let Some(old) = of_kek.into_iter().next() else { continue };
        let kept = kek::first_in_reach(&others, |wrap| {
            kek::ask(key_id, wrap, &table.name()).map(|_| wrap.clone())
        });
        let last = || Error::LastWrap { key: key_id, table: table.name(), kek: stored.clone() };
        let failed = |error| {
            let what = format!("unwrap data key {key_id} of table {} without it", table.name());
            kek::kms_error(error, what)
        };
        let (kept, _) = kept.ok_or_else(last)?.map_err(failed)?;
        dropped.push((key_id, old, kept));
    }
    if dropped.is_empty() {
        return Err(Error::NotUnderKek { table: table.name(), kek: stored });
    }

    write::lock_keyring(keyring_id, true)?;
    for (key_id, old, kept) in &dropped {
        if !wraps::keep(*key_id, kept)? || !wraps::delete(*key_id, old)? {
            return Err(Error::ChangedMeanwhile(table.name()));
        }
        require_as_stored(*key_id, kept)?;
        keyring::end_leases(*key_id);
        tell(Action::DropKek, &table.name(), *key_id, &stored, None)?;
    }
    let left = |(_, wraps): &(KeyId, Vec<WrappedKey>)| wraps.iter().any(|w| w.kek == stored);
    if wrapped_keys(keyring_id)?.iter().any(left) {
        return Err(Error::ChangedMeanwhile(table.name()));
    }
    let heir = dropped.last().map(|(_, _, kept)| kept.kek.as_str());
    write::move_default_kek(keyring_id, &stored, heir)?;
    keyring::look_again();
    Ok(dropped.len())
}

/// Tells the audit what became of a wrap.
pub fn tell(
    action: Action,
    table: &str,
    key_id: KeyId,
    kek: &str,
    detail: Option<String>,
) -> Result<()> {
    events::tell(action, |event| {
        event.table = Some(table.to_string());
        event.key_id = audit::key(key_id);
        event.kek = Some(kek.to_string());
        event.detail = detail;
    })
}

/// What is in the catalog must be what the KMS gave the key back for, byte for byte.
pub fn require_as_stored(key_id: KeyId, wrap: &WrappedKey) -> Result<()> {
    if rows::wrapped_keys(key_id)?.contains(wrap) {
        return Ok(());
    }
    Err(Error::Corrupt(format!("a wrap of data key {key_id} was not stored as it was made")))
}

/// The keyring that `relation` seals with, when the current role may change it here.
fn managed(relation: pg_sys::Oid) -> Result<(Table, Uuid)> {
    let table = table::to_change(relation)?;
    let keyring_id = table.sealing_keyring()?;
    Ok((table, keyring_id))
}

/// The keys of a keyring that have not been destroyed, with their wraps.
pub fn wrapped_keys(keyring_id: Uuid) -> Result<Vec<(KeyId, Vec<WrappedKey>)>> {
    let keys = rows::data_keys(keyring_id)?.into_iter();
    let living = keys.filter(|key| key.state != State::Destroyed).map(|key| key.key_id);
    living.map(|key_id| Ok((key_id, rows::wrapped_keys(key_id)?))).collect()
}
