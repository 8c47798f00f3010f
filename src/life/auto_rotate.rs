//! Rotation without being asked: by whoever has sealed a value when the key's turn is over and may
//! manage the table's keys, or by a job that calls [`rotate_due`].
//!
//! Sealing goes on whatever becomes of it. It waits for no lock, its writes are undone alone, and
//! after a failure it is left for a while. Where keys are brought from elsewhere, it is left to where they
//! come from: two keys of one version would stop the replication. Nor is anything done while the next version
//! waits to be made active.

use std::cell::RefCell;
use std::collections::HashMap;

use envelope::header::KeyId;
use uuid::Uuid;

use crate::catalog::rows::{self, Purpose};
use crate::catalog::{tables, whole};
use crate::custody::followed::brought;
use crate::error::{Error, Result};
use crate::keyring;
use crate::keyring::table::{self, Table};
use crate::keyring::users;
use crate::keyring::wear::{self, Due, Wear};
use crate::life::rotate::Next;
use crate::memory::OwnLimits;
use crate::pg::{clock, report, subxact, xact};
use crate::{audit, kek, settings};

/// Milliseconds until a session tries a keyring again: when another session was at it; after a
/// failure, doubling; and at most.
const BUSY: u64 = 1_000;
const FIRST: u64 = 60_000;
const LONGEST: u64 = 3_600_000;

thread_local! {
    /// Keyrings for which it failed in this session.
    static FAILED: RefCell<HashMap<Uuid, Wait>> = RefCell::new(HashMap::new());
}

#[derive(Clone, Copy)]
struct Wait {
    until: u64,
    next: u64,
    told: bool,
}

/// A value of `bytes` bytes was sealed for `table`: counts it, and rotates the key when its turn is
/// over.
pub fn after_seal(table: &Table, bytes: usize) {
    let Some(wear) = table.wear() else { return };
    let outcome = match wear.note(bytes) {
        Ok(None) => return,
        Ok(Some(due)) if may_rotate(table, wear) => rotate(table, wear, due),
        Ok(Some(_)) => return,
        Err(error) => Err(error),
    };
    if let Err(error) = outcome {
        audit::refused(&error);
        tell(table, wear.keyring_id, &error);
    }
}

/// Not where the catalog cannot be written; nor in a SERIALIZABLE or REPEATABLE READ transaction, which
/// a concurrent change of the catalog might make fail at its end.
fn may_rotate(table: &Table, wear: &Wear) -> bool {
    settings::auto_create_key()
        && xact::forbids_writing().is_none()
        && xact::is_read_committed()
        && table.require_manage_right().is_ok()
        && is_time(wear.keyring_id)
}

fn rotate(table: &Table, wear: &Wear, due: Due) -> Result<()> {
    // Before the KMS is asked, since a cancelled statement does not come back here.
    put_off(wear.keyring_id);
    if tables::keys_are_subscribed()?
        || brought(table.root(), Some(wear.keyring_id))?.is_some()
        || rows::pending_key(wear.keyring_id, Purpose::Seal)?.is_some()
    {
        return Ok(());
    }
    match put_in(Next::make(table)?, due)? {
        Some(_) => FAILED.with_borrow_mut(|failed| failed.remove(&wear.keyring_id)),
        None => {
            let wait = Wait { until: clock::monotonic_ms() + BUSY, next: FIRST, told: false };
            FAILED.with_borrow_mut(|failed| failed.insert(wear.keyring_id, wait))
        }
    };
    Ok(())
}

/// In a savepoint of its own; `None` when another session was at it.
fn put_in(next: Next, due: Due) -> Result<Option<KeyId>> {
    let put_in = subxact::attempt(|| next.try_put_in(&due.to_string()));
    keyring::look_again();
    Ok(put_in?)
}

fn is_time(keyring_id: Uuid) -> bool {
    FAILED.with_borrow(|failed| {
        failed.get(&keyring_id).is_none_or(|wait| clock::monotonic_ms() >= wait.until)
    })
}

fn put_off(keyring_id: Uuid) {
    let now = clock::monotonic_ms();
    FAILED.with_borrow_mut(|failed| {
        let wait = failed.entry(keyring_id).or_insert(Wait { until: 0, next: FIRST, told: false });
        (wait.until, wait.next) = (now + wait.next, (wait.next * 2).min(LONGEST));
    });
}

/// Once in a session, until it succeeds.
fn tell(table: &Table, keyring_id: Uuid, error: &Error) {
    let told = FAILED.with_borrow_mut(|failed| {
        let fresh = Wait { until: 0, next: FIRST, told: false };
        std::mem::replace(&mut failed.entry(keyring_id).or_insert(fresh).told, true)
    });
    if !told {
        report::warning(
            format!("could not rotate the data key of table {}: {error}", table.name()),
            "Values are still sealed under the former key. The rotation is tried again, less and less \
             often. To rotate at once: envelope.rotate_key.",
        );
    }
}

/// A key whose turn was over.
pub struct Rotated {
    pub table: String,
    pub before: KeyId,
    /// The new one.
    pub outcome: Result<KeyId>,
}

/// Rotates keys whose turn is over, as far as the current role may manage them and at most
/// `max_keys`: each holds locks to the end of the transaction. What fails does not count. All keys
/// are made before the first is written, so that no lock is held while the KMS is asked; when that
/// is out of reach the rest is left.
pub fn rotate_due(max_keys: usize) -> Result<Vec<Rotated>> {
    settings::check_unplanted()?;
    table::require_writable()?;
    if tables::keys_are_subscribed()? {
        return Ok(Vec::new());
    }
    let mut made = Vec::new();
    let (mut left, mut is_away) = (max_keys, false);
    for keyring in whole::keyrings()? {
        if left == 0 {
            break;
        }
        let Some((table, key_id, due)) = due_in(keyring.id)? else { continue };
        let next = if is_away { Err(Error::NotTried) } else { Next::make(&table) };
        is_away |= next.as_ref().is_err_and(kek::is_kms_away);
        left -= usize::from(next.is_ok());
        made.push((table, key_id, due, next));
    }
    let write = |(table, before, due, next): (Table, KeyId, Due, Result<Next>)| {
        let busy = || Error::Busy(table.name());
        let outcome = next.and_then(|next| put_in(next, due)?.ok_or_else(busy));
        if let Err(error) = &outcome {
            audit::refused(error);
        }
        Rotated { table: table.name(), before, outcome }
    };
    Ok(made.into_iter().map(write).collect())
}

/// The keyring's table, its active key and why that one's turn is over, if it is and the table is
/// the current role's to manage.
fn due_in(keyring_id: Uuid) -> Result<Option<(Table, KeyId, Due)>> {
    let Some(keyring) = rows::keyring(keyring_id)? else { return Ok(None) };
    let turn = OwnLimits::stored(&keyring.limits).turn();
    let links = rows::tables_of(keyring_id)?;
    let Some(relation) = users::sealing_table(&links) else { return Ok(None) };
    let Some(active) = rows::active_key(keyring_id)? else { return Ok(None) };
    let Some(due) = wear::due(active.key_id, turn)? else { return Ok(None) };
    let table = table::get(relation)?;
    // A table that has become a partition seals with its root's keyring.
    let mine = table.root() == relation
        && table.require_manage_right().is_ok()
        && brought(relation, Some(keyring_id))?.is_none()
        && rows::pending_key(keyring_id, Purpose::Seal)?.is_none();
    Ok(mine.then_some((table, active.key_id, due)))
}
