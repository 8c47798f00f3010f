//! Moves wrapped keys from one KEK to another, or anew under the same one.
//!
//! First the KMS, with no lock held: for each key a new wrap is made and unwrapped, and the key it
//! gives back is compared. Then the catalog: the new wrap takes the place of the old one where that
//! is still what it was, and is read back. So nothing is half done when the server dies or the KMS
//! goes away, and what was done is not done again by the next call.

use envelope::header::KeyId;
use pgrx::pg_sys;
use uuid::Uuid;

use crate::audit::{self, Action};
use crate::catalog::rows::{self, WrappedKey};
use crate::catalog::whole;
use crate::catalog::write::{self, wraps};
use crate::error::{Error, Result};
use crate::keyring::keks::{require_as_stored, wrap_again, wrapped_keys};
use crate::keyring::{failures, kek, keks, orphans, stale, table, unwrap};
use crate::pg::{acl, relation};
use crate::settings;

/// A wrap that was or would be moved.
pub struct Moved {
    pub table: String,
    pub key_id: KeyId,
    pub kek_from: String,
    pub kek_to: String,
    /// Whether it was; `None`: it would be.
    pub outcome: Option<Result<()>>,
}

/// A keyring with the wraps that are to be moved.
struct Work {
    keyring_id: Uuid,
    table: String,
    wraps: Vec<(KeyId, WrappedKey)>,
}

/// What was verified, and takes the place of the old wrap.
enum Heir {
    New(WrappedKey),
    /// The key was under the other KEK already.
    There(WrappedKey),
}

/// Moves what is wrapped by `kek_from` to `kek_to`: of `relation`, or else of every keyring that the
/// current role may manage, those of dropped tables too for superusers. A key that fails does not
/// keep the next from being tried, unless the KMS is out of reach.
pub fn rewrap(
    kek_from: &str,
    kek_to: &str,
    relation: Option<pg_sys::Oid>,
    dry_run: bool,
) -> Result<Vec<Moved>> {
    settings::check_unplanted()?;
    let mut works = match relation {
        Some(relation) => vec![of_table(relation)?],
        None => of_all()?,
    };
    let from = kek::as_stored(kek_from)?;
    let to = kek::named(kek_to)?;
    if works.is_empty() {
        // Nor is the KMS asked what an alias stands for.
        return Ok(Vec::new());
    }
    let kek_to = to.stored_uri()?;
    for work in &mut works {
        work.wraps = all_under(work.keyring_id, &from)?;
    }
    let mover = Mover { from, to, kek_to };
    if dry_run {
        let would = |work: &Work| -> Vec<_> {
            let keys = work.wraps.iter().map(|(key_id, _)| *key_id);
            keys.map(|key_id| mover.moved(&work.table, key_id, None)).collect()
        };
        return Ok(works.iter().flat_map(would).collect());
    }
    table::require_writable()?;
    let heirs = mover.verified_heirs(&works);
    let mut moved = Vec::new();
    for (work, heirs) in works.iter().zip(heirs) {
        moved.extend(mover.write(work, heirs)?);
    }
    stale::look_again();
    // These are told in rows, and not raised.
    for error in moved.iter().filter_map(|moved| moved.outcome.as_ref()?.as_ref().err()) {
        audit::refused(error);
    }
    Ok(moved)
}

struct Mover {
    from: String,
    to: kek::Named,
    kek_to: String,
}

impl Mover {
    /// Asks the KMS about every wrap, until it is out of reach.
    fn verified_heirs(&self, works: &[Work]) -> Vec<Vec<Result<Heir>>> {
        let mut is_away = false;
        let mut ask = |table: &str, key_id: KeyId, old: &WrappedKey| {
            if is_away {
                return Err(Error::NotTried);
            }
            let heir = self.verified_heir(table, key_id, old);
            is_away = heir.as_ref().is_err_and(failures::is_kms_away);
            heir
        };
        let of_work = |work: &Work| -> Vec<_> {
            work.wraps.iter().map(|(key_id, old)| ask(&work.table, *key_id, old)).collect()
        };
        works.iter().map(of_work).collect()
    }

    fn verified_heir(&self, table: &str, key_id: KeyId, old: &WrappedKey) -> Result<Heir> {
        let failed = |error| {
            let what = format!("move data key {key_id} of table {table} to {}", self.kek_to);
            kek::kms_error(error, what)
        };
        if self.from != self.kek_to
            && let Some(there) = wrap_under(key_id, &self.kek_to)?
        {
            unwrap::ask(key_id, &there, table).map_err(failed)?;
            return Ok(Heir::There(there));
        }
        let new = wrap_again(key_id, old, self.to.provider(), &old.kms_context, table);
        let new = new.map_err(failed)?;
        if kek::is_allowed(&new.kek)? {
            Ok(Heir::New(new))
        } else {
            Err(Error::KekNotAllowed(new.kek))
        }
    }

    /// Writes a keyring's wraps, each where it is still what it was. A key that was made under the
    /// old KEK meanwhile has a row, too.
    fn write(&self, work: &Work, heirs: Vec<Result<Heir>>) -> Result<Vec<Moved>> {
        let mut moved = Vec::new();
        if !work.wraps.is_empty() {
            write::lock_keyring(work.keyring_id, true)?;
        }
        for ((key_id, old), heir) in work.wraps.iter().zip(heirs) {
            let outcome = match heir {
                Ok(heir) if self.replace(*key_id, old, &heir)? => {
                    let detail = Some(format!("instead of {}", self.from));
                    keks::tell(Action::Rewrap, &work.table, *key_id, &self.kek_to, detail);
                    Ok(())
                }
                Ok(_) => Err(Error::ChangedMeanwhile(work.table.clone())),
                Err(error) => Err(error),
            };
            moved.push(self.moved(&work.table, *key_id, Some(outcome)));
        }
        if self.from == self.kek_to {
            return Ok(moved);
        }
        for (key_id, _) in all_under(work.keyring_id, &self.from)? {
            if !moved.iter().any(|moved| moved.key_id == key_id) {
                let changed = Error::ChangedMeanwhile(work.table.clone());
                moved.push(self.moved(&work.table, key_id, Some(Err(changed))));
            }
        }
        if moved.iter().all(|moved| matches!(moved.outcome, Some(Ok(())))) && !moved.is_empty() {
            write::move_default_kek(work.keyring_id, &self.from, Some(&self.kek_to))?;
        }
        Ok(moved)
    }

    /// Puts the heir in the old wrap's place, and reads it back: only what is stored byte for byte
    /// as it was verified may replace it. False, and nothing done, when either has changed.
    fn replace(&self, key_id: KeyId, old: &WrappedKey, heir: &Heir) -> Result<bool> {
        let (wrap, replaced) = match heir {
            Heir::New(_)
                if self.from != self.kek_to && wrap_under(key_id, &self.kek_to)?.is_some() =>
            {
                return Ok(false);
            }
            Heir::New(new) => (new, wraps::replace(key_id, old, new)?),
            Heir::There(there) => {
                let kept = wraps::keep(key_id, there)?;
                (there, kept && wraps::delete(key_id, old)?)
            }
        };
        if replaced {
            require_as_stored(key_id, wrap)?;
        }
        Ok(replaced)
    }

    fn moved(&self, table: &str, key_id: KeyId, outcome: Option<Result<()>>) -> Moved {
        let (kek_from, kek_to) = (self.from.clone(), self.kek_to.clone());
        Moved { table: table.to_string(), key_id, kek_from, kek_to, outcome }
    }
}

fn of_table(relation: pg_sys::Oid) -> Result<Work> {
    let table = table::get(relation)?;
    table.require_manage_right()?;
    let keyring_id = table.sealing_keyring()?;
    Ok(Work { keyring_id, table: table.name(), wraps: Vec::new() })
}

/// Always in the same order, so that two at once wait for each other and do not deadlock.
fn of_all() -> Result<Vec<Work>> {
    let mut works = Vec::new();
    for keyring in whole::keyrings()? {
        let table = match orphans::sealing_table(&rows::tables_of(keyring.id)?) {
            Some(relation) if table::get(relation)?.manages(keyring.id) => {
                relation::display_name(relation)
            }
            None if acl::is_superuser() => keyring.table_name,
            _ => continue,
        };
        works.push(Work { keyring_id: keyring.id, table, wraps: Vec::new() });
    }
    works.sort_by_key(|work| work.keyring_id);
    Ok(works)
}

/// The wraps of a keyring's keys by `kek`.
fn all_under(keyring_id: Uuid, kek: &str) -> Result<Vec<(KeyId, WrappedKey)>> {
    let mut found = Vec::new();
    for (key_id, wraps) in wrapped_keys(keyring_id)? {
        found.extend(wraps.into_iter().filter(|w| w.kek == kek).map(|wrap| (key_id, wrap)));
    }
    Ok(found)
}

fn wrap_under(key_id: KeyId, kek: &str) -> Result<Option<WrappedKey>> {
    Ok(rows::wrapped_keys(key_id)?.into_iter().find(|wrap| wrap.kek == kek))
}
