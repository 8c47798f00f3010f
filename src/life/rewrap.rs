//! Moves wrapped keys from one KEK to another, or anew under the same one.
//!
//! First the KMS, with no lock held: for each key a new wrap is made and unwrapped, and the key it
//! gives back is compared. Then the catalog: the new wrap takes the place of the old one where that
//! is still what it was, and is read back. So nothing is half done when the server dies or the KMS
//! goes away, and what was done is not done again by the next call.

use std::collections::BTreeSet;

use envelope::header::KeyId;
use pgrx::pg_sys;
use uuid::Uuid;

use crate::audit::{self, Action};
use crate::catalog::rows::{self, KeyringTable, WrappedKey};
use crate::catalog::whole;
use crate::catalog::write::{self, wraps};
use crate::error::{Error, Result};
use crate::kek::{self, Stronger};
use crate::keyring;
use crate::keyring::table;
use crate::keyring::users;
use crate::life::keks::{self, require_as_stored, wrapped_keys};
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
    /// Whether the current role may.
    is_managed: bool,
    wraps: Vec<(KeyId, WrappedKey)>,
}

/// What was verified, and takes the place of the old wrap.
enum Heir {
    New(WrappedKey),
    /// The key was under the other KEK already.
    There(WrappedKey),
}

/// Moves what is wrapped by `kek_from` to `kek_to`: of every keyring that `relation` or a partition of
/// it seals or opens with, or else of every one that the current role may manage, those of dropped
/// tables too for superusers. A key that may not be moved is told, too, where a table of one's own
/// needs it. One that fails does not keep the next from being tried, unless the KMS is out of reach.
pub fn rewrap(
    kek_from: &str,
    kek_to: &str,
    relation: Option<pg_sys::Oid>,
    dry_run: bool,
) -> Result<Vec<Moved>> {
    settings::check_unplanted()?;
    let mut works = match relation {
        Some(relation) => of_table(relation)?,
        None => of_all()?,
    };
    let from = kek::as_stored(kek_from)?;
    if works.is_empty() {
        // Nobody learns by it which KEKs there are, nor is the KMS asked what an alias stands for.
        return Ok(Vec::new());
    }
    let to = kek::named(kek_to)?;
    let kek_to = to.stored_uri()?;
    for work in &mut works {
        work.wraps = all_under(work.keyring_id, &from)?;
    }
    let mover = Mover { from, to, kek_to };
    if dry_run {
        let would = |work: &Work| -> Vec<_> {
            let keys = work.wraps.iter().map(|(key_id, _)| *key_id);
            let refused = || (!work.is_managed).then(|| Err(may_not_move(&work.table)));
            keys.map(|key_id| mover.moved(&work.table, key_id, refused())).collect()
        };
        let would: Vec<Moved> = works.iter().flat_map(would).collect();
        mover.warn_if_weaker(would.iter().any(|moved| moved.outcome.is_none()));
        return Ok(would);
    }
    table::require_writable()?;
    let heirs = mover.verified_heirs(&works);
    let mut moved = Vec::new();
    for (work, heirs) in works.iter().zip(heirs) {
        moved.extend(mover.write(work, heirs)?);
    }
    keyring::look_again();
    mover.warn_if_weaker(moved.iter().any(|moved| matches!(moved.outcome, Some(Ok(())))));
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
    fn warn_if_weaker(&self, moves_any: bool) {
        let pair = moves_any.then_some((self.from.as_str(), self.kek_to.as_str()));
        kek::warn_if_weaker(pair, Stronger::Goes);
    }

    /// Asks the KMS about every wrap, until it is out of reach.
    fn verified_heirs(&self, works: &[Work]) -> Vec<Vec<Result<Heir>>> {
        let mut is_away = false;
        let mut ask = |table: &str, key_id: KeyId, old: &WrappedKey| {
            if is_away {
                return Err(Error::NotTried);
            }
            let heir = self.verified_heir(table, key_id, old);
            is_away = heir.as_ref().is_err_and(kek::is_kms_away);
            heir
        };
        let of_work = |work: &Work| -> Vec<_> {
            let verified = |(key_id, old): &(KeyId, WrappedKey)| {
                if work.is_managed {
                    ask(&work.table, *key_id, old)
                } else {
                    Err(may_not_move(&work.table))
                }
            };
            work.wraps.iter().map(verified).collect()
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
            kek::ask(key_id, &there, table).map_err(failed)?;
            return Ok(Heir::There(there));
        }
        let new = kek::wrap_again(key_id, old, self.to.provider(), &old.kms_context, table);
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
        if !work.wraps.is_empty() && work.is_managed {
            write::lock_keyring(work.keyring_id, true)?;
        }
        for ((key_id, old), heir) in work.wraps.iter().zip(heirs) {
            let outcome = match heir {
                Ok(heir) if self.replace(*key_id, old, &heir)? => {
                    let detail = Some(format!("instead of {}", self.from));
                    keks::tell(Action::Rewrap, &work.table, *key_id, &self.kek_to, detail)
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

// Always in the same order, so that two at once wait for each other and do not deadlock.

fn of_table(relation: pg_sys::Oid) -> Result<Vec<Work>> {
    let table = table::get(relation)?;
    table.require_manage_right()?;
    let mut keyring_ids = BTreeSet::new();
    for member in relation::partitions(table.root()) {
        keyring_ids.extend(rows::keyring_tables(member)?.iter().map(|link| link.keyring_id));
    }
    if keyring_ids.is_empty() {
        return Err(table.no_key());
    }
    let mut works = Vec::new();
    for keyring_id in keyring_ids {
        works.extend(Work::of(keyring_id)?);
    }
    Ok(works)
}

fn of_all() -> Result<Vec<Work>> {
    let mut works = Vec::new();
    for keyring in whole::keyrings()? {
        let orphaned = || Work::new(keyring.id, keyring.table_name.clone(), true);
        works.extend(Work::of(keyring.id)?.or_else(|| acl::is_superuser().then(orphaned)));
    }
    works.sort_by_key(|work| work.keyring_id);
    Ok(works)
}

impl Work {
    fn new(keyring_id: Uuid, table: String, is_managed: bool) -> Work {
        Work { keyring_id, table, is_managed, wraps: Vec::new() }
    }

    /// `None` when no table uses the keyring, or it is none of the current role's business. Superusers
    /// manage whatever a table uses.
    fn of(keyring_id: Uuid) -> Result<Option<Work>> {
        let links = rows::tables_of(keyring_id)?;
        let Some((user, is_managed)) = user_of(keyring_id, &links)? else { return Ok(None) };
        let is_told = is_managed || links.iter().any(is_needed);
        Ok(is_told.then(|| Work::new(keyring_id, relation::display_name(user), is_managed)))
    }
}

/// The table by which the current role may move a keyring's keys, and that it may: the one that seals
/// with it or, where that is gone, one that opens with it. Else such a table, and that it may not.
fn user_of(keyring_id: Uuid, links: &[KeyringTable]) -> Result<Option<(pg_sys::Oid, bool)>> {
    if let Some(sealing) = users::sealing_table(links) {
        return Ok(Some((sealing, table::get(sealing)?.manages(keyring_id))));
    }
    let users: Vec<pg_sys::Oid> = links.iter().filter_map(users::living_table).collect();
    for user in &users {
        if table::get(*user)?.manages(keyring_id) {
            return Ok(Some((*user, true)));
        }
    }
    Ok(users.first().map(|user| (*user, false)))
}

/// Whether the link is of a table of the current role's own, which cannot be read without the keyring.
fn is_needed(link: &KeyringTable) -> bool {
    let role = acl::current_role();
    users::living_table(link).is_some_and(|table| acl::owns_relation(role, table))
}

fn may_not_move(table: &str) -> Error {
    let (role, table) = (acl::display_role(acl::current_role()), table.to_string());
    Error::NoRight { role, action: "manage data keys of", verb: "manage", table }
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
