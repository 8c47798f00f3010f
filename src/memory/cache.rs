//! Unwrapped data keys of this backend, each within its limits.

mod entry;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use envelope::header::KeyId;
use envelope::secret::DataKey;

use crate::catalog::rows::{self, DataKeyRow};
use crate::error::{Result, RowResult};
use crate::figures;
use crate::memory::arena;
use crate::memory::cache::entry::{Entry, Kept, Slot};
use crate::memory::hash::IdMap;
use crate::memory::identity;
use crate::memory::leases::{self, Bounds};
use crate::memory::limits::{Limits, OwnLimits};
use crate::memory::unwrapped::{self, Unwrapped};
use crate::pg::{clock, report};
use crate::settings;

pub use entry::doubt_all;

/// How often expired keys are looked for, at most.
const WIPE_EVERY_MS: u64 = 1000;

thread_local! {
    static KEYS: RefCell<IdMap<Slot, Kept>> = RefCell::new(IdMap::default());
    /// Keys in the order in which they were unwrapped, each with its number; of a key's places
    /// only the last counts.
    static ORDER: RefCell<VecDeque<(Slot, u64)>> = const { RefCell::new(VecDeque::new()) };
    /// How often a key was unwrapped.
    static UNWRAPS: Cell<u64> = const { Cell::new(0) };
    /// When expired keys were last looked for, on [`clock::monotonic_ms`]'s scale.
    static WIPED_AT: Cell<u64> = const { Cell::new(0) };
    /// It was said that memory is not locked.
    static WARNED: Cell<bool> = const { Cell::new(false) };
}

/// Where a key was found last, so that it need not be looked up for each row.
#[derive(Default)]
pub struct Place(RefCell<Option<Rc<Entry>>>);

impl Place {
    /// See [`crate::memory::prefetch`].
    pub fn prefetch(&self) {
        if let Some(entry) = &*self.0.borrow() {
            entry.prefetch();
        }
    }
}

/// Where the key stands for whoever asks now.
fn slot(key_id: KeyId) -> Slot {
    (key_id, identity::current())
}

/// Calls `use_key` with the unwrapped key `key_id` and its limits, for a value of `bytes` bytes;
/// `None` when it has to be unwrapped first. `place` is the caller's to keep from row to row.
#[inline(always)]
pub fn with_key<T>(
    key_id: &KeyId,
    place: &Place,
    bytes: usize,
    use_key: impl Fn(&Unwrapped, &Limits) -> RowResult<T>,
) -> RowResult<Option<T>> {
    let identity = identity::current();
    loop {
        let used = match &*place.0.borrow() {
            Some(entry) if entry.slot.0 == *key_id && entry.slot.1 == identity => {
                entry.use_if_usable(bytes, &use_key)
            }
            _ => None,
        };
        if let Some(used) = used {
            return used.map(Some);
        }
        if !look_up((*key_id, identity), place)? {
            figures::missed(*key_id);
            return Ok(None);
        }
    }
}

/// Finds the key for `place`; whether it can be used as it is.
#[inline(never)]
fn look_up(slot: Slot, place: &Place) -> RowResult<bool> {
    read_if_doubtful(slot)?;
    let entry = find(slot);
    let is_usable = entry.as_ref().is_some_and(|entry| entry.is_usable());
    if !is_usable {
        if let Some(entry) = &entry {
            entry.wipe_if_over(clock::monotonic_ms());
        }
        wipe_expired()?;
    }
    place.0.replace(entry);
    Ok(is_usable)
}

fn find(slot: Slot) -> Option<Rc<Entry>> {
    KEYS.with_borrow(|keys| keys.get(&slot).map(|kept| Rc::clone(&kept.0)))
}

/// Whether `key_id` could be used now without being unwrapped.
pub fn is_usable(key_id: KeyId) -> Result<bool> {
    let slot = slot(key_id);
    read_if_doubtful(slot)?;
    Ok(find(slot).is_some_and(|entry| entry.is_usable()))
}

/// Reads the row and the limits of a key again when they may have changed.
fn read_if_doubtful(slot: Slot) -> Result<()> {
    if find(slot).is_some_and(|entry| entry.is_doubtful()) {
        row_in(slot)?;
    }
    Ok(())
}

/// The catalog's row of `key_id`; `None` when no such key is in this database.
pub fn row(key_id: KeyId) -> Result<Option<DataKeyRow>> {
    row_in(slot(key_id))
}

fn row_in(slot: Slot) -> Result<Option<DataKeyRow>> {
    let known = find(slot).filter(|entry| !entry.is_doubtful()).map(|entry| entry.row.get());
    if known.is_some() {
        return Ok(known);
    }
    let read_at = entry::doubts();
    let Some(row) = rows::data_key(slot.0)? else {
        KEYS.with_borrow_mut(|keys| keys.remove(&slot));
        return Ok(None);
    };
    let limits = limits_of(&row)?;
    match find(slot) {
        Some(entry) => {
            entry.row.set(row);
            entry.limits.set(limits);
            entry.read_at.set(read_at);
            if !row.state.opens() {
                if entry.is_unwrapped() {
                    leases::sweep(row.key_id);
                }
                entry.wipe();
            }
        }
        None => keep(Entry::new(slot, row, limits, read_at)),
    }
    Ok(Some(row))
}

fn keep(entry: Entry) {
    KEYS.with_borrow_mut(|keys| keys.insert(entry.slot, Kept(Rc::new(entry))));
}

fn limits_of(row: &DataKeyRow) -> Result<Limits> {
    let own = match rows::keyring(row.keyring_id)? {
        Some(keyring) => OwnLimits::stored(&keyring.limits),
        None => OwnLimits::default(),
    };
    Ok(own.within_settings())
}

/// The limits of a key whose [`row`] is known.
pub fn limits(row: &DataKeyRow) -> Result<Limits> {
    let known = find(slot(row.key_id)).filter(|entry| !entry.is_doubtful());
    known.map_or_else(|| limits_of(row), |entry| Ok(entry.limits.get()))
}

/// Whether an open transaction of this backend makes the key.
pub fn is_made_here(key_id: KeyId) -> bool {
    identity::all().any(|of| find((key_id, of)).is_some_and(|entry| entry.made_in.get().is_some()))
}

/// Whether the key was used so much here that the KMS is to be asked, whatever is leased.
pub fn is_used_up(key_id: KeyId) -> bool {
    find(slot(key_id)).is_some_and(|entry| entry.is_used_up())
}

/// Keeps an unwrapped key within its limits, for whoever asks now. `made_in` names the transaction
/// or savepoint that makes the key; a key unwrapped again stays what it was, whoever had it first.
pub fn insert(row: DataKeyRow, data_key: &DataKey, made_in: Option<u32>) -> Result<()> {
    insert_unwrapped(row, Unwrapped::new(row.purpose, data_key)?, made_in)
}

/// As [`insert`], of one that came by a lease, or was just made one if `is_new`: it ends with that.
pub fn insert_leased(
    row: DataKeyRow,
    data_key: &DataKey,
    bounds: Bounds,
    is_new: bool,
) -> Result<()> {
    let known = find(slot(row.key_id)).filter(|_| !is_new);
    let wear = known.map_or((0, 0), |entry| entry.wear());
    let unwrapped = Unwrapped::new(row.purpose, data_key)?.leased(bounds, wear);
    insert_unwrapped(row, unwrapped, None)
}

fn insert_unwrapped(row: DataKeyRow, unwrapped: Unwrapped, made_in: Option<u32>) -> Result<()> {
    let read_at = entry::doubts();
    let limits = limits_of(&row)?;
    wipe(row.key_id);
    make_room();
    let order = UNWRAPS.get() + 1;
    UNWRAPS.set(order);
    let slot = slot(row.key_id);
    let made_before =
        || identity::all().find_map(|identity| find((slot.0, identity))?.made_in.get());
    let made_in = made_in.or_else(made_before);
    let entry = Entry::new(slot, row, limits, read_at);
    entry.unwrapped.replace(Some(unwrapped));
    entry.order.set(order);
    entry.made_in.set(made_in);
    keep(entry);
    KEYS.with_borrow(|keys| {
        ORDER.with_borrow_mut(|queue| {
            // What was wiped otherwise stays in the queue until it is as long again as need be.
            if queue.len() > 2 * keys.len() {
                queue.retain(|place| stands_at(keys, *place).is_some());
            }
            queue.push_back((slot, order));
        });
    });
    // Last: a cancel that comes with it finds all in its place.
    warn_if_unlocked();
    Ok(())
}

/// Says once in a session that its keys may be swapped out.
fn warn_if_unlocked() {
    if !arena::is_memory_locked() && !WARNED.replace(true) {
        report::warning(
            "data keys are kept in memory that could not be locked, and may be swapped out".into(),
            "Raise the server's RLIMIT_MEMLOCK (systemd: LimitMEMLOCK=) by 64 kB a session, 2 kB a \
             key where there are many, or use encrypted swap.",
        );
    }
}

/// Wipes the keys that were unwrapped longest ago until one more is within
/// `envelope.cache_max_keys`. A key whose transaction is open stays: nothing else has it.
fn make_room() {
    let Some(limit) = settings::cache_max_keys() else { return };
    KEYS.with_borrow(|keys| {
        ORDER.with_borrow_mut(|queue| {
            // The key that is about to come is counted already.
            let mut kept = Vec::new();
            while unwrapped::count() > limit
                && let Some(place) = queue.pop_front()
            {
                match stands_at(keys, place) {
                    Some(entry) if entry.made_in.get().is_some() => kept.push(place),
                    Some(entry) => entry.wipe(),
                    None => {}
                }
            }
            kept.into_iter().rev().for_each(|place| queue.push_front(place));
        });
    });
}

/// The entry whose unwrapped key has this place in the order; `None` when it was wiped, or
/// unwrapped again later.
fn stands_at(keys: &IdMap<Slot, Kept>, (slot, order): (Slot, u64)) -> Option<&Entry> {
    let Kept(entry) = keys.get(&slot)?;
    (entry.order.get() == order && entry.is_unwrapped()).then_some(entry)
}

/// The KMS is out of reach: whether `key_id` may be used past its time, and then until at most
/// `until`, when the KMS is to be asked again.
pub fn serve_stale(key_id: KeyId, until: u64) -> bool {
    let Some(entry) = find(slot(key_id)) else { return false };
    let limits = entry.limits.get();
    entry.unwrapped.borrow_mut().as_mut().is_some_and(|unwrapped| {
        unwrapped.serve_stale(&limits, until);
        unwrapped.is_within(&limits, clock::monotonic_ms())
    })
}

/// Wipes one key: the KMS refuses it to whoever asks now.
pub fn wipe(key_id: KeyId) {
    if let Some(entry) = find(slot(key_id)) {
        entry.wipe();
    }
}

/// Wipes all; how many keys that were. Which of them an open transaction has made is still known.
pub fn flush() -> usize {
    let unwrapped = unwrapped::count();
    KEYS.with_borrow_mut(|keys| {
        keys.values().for_each(|Kept(entry)| entry.wipe());
        // A lease would bring a key back whose use is limited: it goes on counting.
        keys.retain(|_, Kept(entry)| {
            entry.made_in.get().is_some() || leases::are_on() && entry.limits.get().is_of_use()
        });
    });
    unwrapped
}

/// Wipes what came from leases: what they say may have changed.
pub fn wipe_leased() {
    KEYS.with_borrow(|keys| {
        let leased = keys.values().filter(|Kept(entry)| entry.is_leased());
        leased.for_each(|Kept(entry)| entry.wipe());
    });
}

/// Lets go of keys whose maker `is_gone` says will not commit here, wiping them.
pub fn forget_made_in(is_gone: impl Fn(u32) -> bool) -> bool {
    KEYS.with_borrow_mut(|keys| {
        let before = keys.len();
        keys.retain(|_, Kept(entry)| !entry.made_in.get().is_some_and(&is_gone));
        keys.len() != before
    })
}

/// Keys made in `from` now count as made in `to`; `None`: they are committed.
pub fn hand_over(from: impl Fn(u32) -> bool, to: Option<u32>) {
    KEYS.with_borrow(|keys| {
        let made = keys.values().filter(|Kept(entry)| entry.made_in.get().is_some_and(&from));
        made.for_each(|Kept(entry)| entry.made_in.set(to));
    });
}

/// Wipes keys that no limit lets be used again, wherever they stand: an unused key does not
/// outlive its time by more than the next miss. At most once in [`WIPE_EVERY_MS`], so that a
/// session that unwraps thousands of keys does not go through all of them at each.
fn wipe_expired() -> Result<()> {
    let now = clock::monotonic_ms();
    if now < WIPED_AT.get().saturating_add(WIPE_EVERY_MS) {
        return Ok(());
    }
    WIPED_AT.set(now);
    let doubtful: Vec<Slot> = KEYS.with_borrow(|keys| {
        let kept = keys.values().filter(|Kept(entry)| entry.is_doubtful() && entry.is_unwrapped());
        kept.map(|Kept(entry)| entry.slot).collect()
    });
    for slot in doubtful {
        row_in(slot)?;
    }
    KEYS.with_borrow(|keys| keys.values().for_each(|Kept(entry)| entry.wipe_if_over(now)));
    Ok(())
}
