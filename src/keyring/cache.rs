//! Unwrapped data keys of this backend, each within its limits.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use envelope::header::KeyId;
use envelope::secret::DataKey;
use envelope::value::SealKey;

use crate::catalog::rows::{self, DataKeyRow};
use crate::error::{Error, Result};
use crate::keyring::arena::{self, Locked};
use crate::keyring::identity::{self, Identity};
use crate::keyring::limits::{Limits, OwnLimits};
use crate::pg::{clock, report};
use crate::settings;

thread_local! {
    static KEYS: RefCell<HashMap<Slot, Entry>> = RefCell::new(HashMap::new());
    /// When expired keys were last looked for, on [`clock::monotonic_ms`]'s scale.
    static WIPED_AT: Cell<u64> = const { Cell::new(0) };
    /// It was said that memory is not locked.
    static WARNED: Cell<bool> = const { Cell::new(false) };
}

/// A data key, and the identity that the KMS gave it to: no other is handed it.
type Slot = (KeyId, Identity);

/// Where the key stands for whoever asks now.
fn slot(key_id: KeyId) -> Slot {
    (key_id, identity::current())
}

const WIPE_EVERY_MS: u64 = 1000;

/// What is known of a data key.
struct Entry {
    row: DataKeyRow,
    limits: Limits,
    /// The catalog or the settings may have changed since `row` and `limits` were read.
    doubtful: bool,
    unwrapped: Option<Unwrapped>,
    /// The transaction or savepoint that made the key, while it is open.
    made_in: Option<u32>,
}

struct Unwrapped {
    key: Locked<SealKey>,
    /// When, on [`clock::monotonic_ms`]'s scale.
    since: u64,
    /// Taken off the time to live, differing from key to key, so that keys fetched together do
    /// not expire together; in 1/1024 of it, at most a sixteenth.
    jitter: u64,
    /// Goes on to be used until then, past its time, while the KMS is out of reach.
    stale_until: u64,
    uses: Cell<u64>,
    bytes: Cell<u64>,
}

impl Entry {
    fn wipe_if_over(&mut self, now: u64) {
        if self.unwrapped.as_ref().is_some_and(|key| key.is_over(&self.limits, now)) {
            self.unwrapped = None;
        }
    }
}

impl Unwrapped {
    fn expires(&self, limits: &Limits) -> u64 {
        let ttl = limits.ttl_ms - limits.ttl_ms / 1024 * self.jitter;
        self.since.saturating_add(ttl)
    }

    fn is_within(&self, limits: &Limits, now: u64) -> bool {
        now < self.expires(limits).max(self.stale_until) && !self.is_used_up(limits)
    }

    /// Not even a KMS that is out of reach lets it be used again.
    fn is_over(&self, limits: &Limits, now: u64) -> bool {
        now >= self.expires(limits).saturating_add(limits.stale_ms) || self.is_used_up(limits)
    }

    fn is_used_up(&self, limits: &Limits) -> bool {
        limits.uses.is_some_and(|limit| self.uses.get() >= limit)
            || limits.bytes.is_some_and(|limit| self.bytes.get() >= limit)
    }
}

/// Calls `use_key` with the unwrapped key `key_id`, for a value of `bytes` bytes; `None` when it
/// has to be unwrapped first.
pub fn with_key<T>(
    key_id: KeyId,
    bytes: usize,
    use_key: impl FnOnce(&SealKey) -> Result<T>,
) -> Result<Option<T>> {
    let slot = slot(key_id);
    read_if_doubtful(slot)?;
    let used = KEYS.with_borrow(|keys| {
        let entry = keys.get(&slot)?;
        let unwrapped = entry.unwrapped.as_ref()?;
        // A key whose page was zeroed by a fork has another id.
        let usable = unwrapped.is_within(&entry.limits, clock::monotonic_ms())
            && unwrapped.key.key_id() == key_id;
        usable.then(|| {
            unwrapped.uses.set(unwrapped.uses.get() + 1);
            unwrapped.bytes.set(unwrapped.bytes.get().saturating_add(bytes as u64));
            use_key(&unwrapped.key)
        })
    });
    if used.is_none() {
        wipe_if_over(slot);
        wipe_expired()?;
    }
    used.transpose()
}

/// Whether `key_id` could be used now without being unwrapped.
pub fn is_usable(key_id: KeyId) -> Result<bool> {
    let slot = slot(key_id);
    read_if_doubtful(slot)?;
    Ok(KEYS.with_borrow(|keys| {
        keys.get(&slot).is_some_and(|entry| {
            let unwrapped = entry.unwrapped.as_ref();
            unwrapped.is_some_and(|key| key.is_within(&entry.limits, clock::monotonic_ms()))
        })
    }))
}

/// Reads the row and the limits of a key again when they may have changed.
fn read_if_doubtful(slot: Slot) -> Result<()> {
    if KEYS.with_borrow(|keys| keys.get(&slot).is_some_and(|entry| entry.doubtful)) {
        row_in(slot)?;
    }
    Ok(())
}

/// The catalog's row of `key_id`; `None` when no such key is in this database.
pub fn row(key_id: KeyId) -> Result<Option<DataKeyRow>> {
    row_in(slot(key_id))
}

fn row_in(slot: Slot) -> Result<Option<DataKeyRow>> {
    let known = KEYS
        .with_borrow(|keys| keys.get(&slot).filter(|entry| !entry.doubtful).map(|entry| entry.row));
    if known.is_some() {
        return Ok(known);
    }
    let read = match rows::data_key(slot.0)? {
        Some(row) => Some((row, limits_of(&row)?)),
        None => None,
    };
    KEYS.with_borrow_mut(|keys| match read {
        None => {
            keys.remove(&slot);
        }
        Some((row, limits)) => {
            let entry = keys.entry(slot).or_insert(Entry {
                row,
                limits,
                doubtful: false,
                unwrapped: None,
                made_in: None,
            });
            (entry.row, entry.limits, entry.doubtful) = (row, limits, false);
            if !row.state.opens() {
                entry.unwrapped = None;
            }
        }
    });
    Ok(read.map(|(row, _)| row))
}

fn limits_of(row: &DataKeyRow) -> Result<Limits> {
    let own = match rows::keyring(row.keyring_id)? {
        Some(keyring) => OwnLimits::stored(&keyring.limits),
        None => OwnLimits::default(),
    };
    Ok(own.within_settings())
}

/// Keeps an unwrapped key within its limits, for whoever asks now. `made_in` names the transaction
/// or savepoint that makes the key; a key unwrapped again stays what it was, whoever had it first.
pub fn insert(row: DataKeyRow, data_key: &DataKey, made_in: Option<u32>) -> Result<()> {
    let random = getrandom::u32().map_err(|error| Error::System(error.to_string()))?;
    let unwrapped = Some(Unwrapped {
        key: Locked::new(SealKey::from_data_key(data_key))?,
        since: clock::monotonic_ms(),
        jitter: u64::from(random % 65),
        stale_until: 0,
        uses: Cell::new(0),
        bytes: Cell::new(0),
    });
    warn_if_unlocked();
    let limits = limits_of(&row)?;
    make_room();
    KEYS.with_borrow_mut(|keys| {
        let made_before = || {
            let mut same = keys.iter().filter(|((key_id, _), _)| *key_id == row.key_id);
            same.find_map(|(_, entry)| entry.made_in)
        };
        let made_in = made_in.or_else(made_before);
        keys.insert(slot(row.key_id), Entry { row, limits, doubtful: false, unwrapped, made_in });
    });
    Ok(())
}

/// Says once in a session that its keys may be swapped out.
fn warn_if_unlocked() {
    if !arena::is_memory_locked() && !WARNED.replace(true) {
        report::warning(
            "data keys are kept in memory that could not be locked, and may be swapped out".into(),
            "Raise the server's RLIMIT_MEMLOCK (systemd: LimitMEMLOCK=) by 64 kB a session, or use \
             encrypted swap.",
        );
    }
}

/// Wipes the keys that were unwrapped longest ago until one more is within
/// `envelope.cache_max_keys`. A key whose transaction is open stays: nothing else has it.
fn make_room() {
    let Some(limit) = settings::cache_max_keys() else { return };
    KEYS.with_borrow_mut(|keys| {
        let mut kept: Vec<(u64, Slot)> = keys
            .iter()
            .filter(|(_, entry)| entry.made_in.is_none())
            .filter_map(|(slot, entry)| Some((entry.unwrapped.as_ref()?.since, *slot)))
            .collect();
        let excess = (kept.len() + 1).saturating_sub(limit);
        kept.sort_unstable_by_key(|(since, _)| *since);
        for (_, slot) in kept.into_iter().take(excess) {
            if let Some(entry) = keys.get_mut(&slot) {
                entry.unwrapped = None;
            }
        }
    });
}

/// The KMS is out of reach: whether `key_id` may be used past its time, and then until at most
/// `until`, when the KMS is to be asked again.
pub fn serve_stale(key_id: KeyId, until: u64) -> bool {
    KEYS.with_borrow_mut(|keys| {
        let Some(entry) = keys.get_mut(&slot(key_id)) else { return false };
        let limits = entry.limits;
        let Some(unwrapped) = entry.unwrapped.as_mut() else { return false };
        let last = unwrapped.expires(&limits).saturating_add(limits.stale_ms);
        unwrapped.stale_until = until.min(last);
        unwrapped.is_within(&limits, clock::monotonic_ms())
    })
}

/// Wipes one key: the KMS refuses it to whoever asks now.
pub fn wipe(key_id: KeyId) {
    KEYS.with_borrow_mut(|keys| {
        if let Some(entry) = keys.get_mut(&slot(key_id)) {
            entry.unwrapped = None;
        }
    });
}

/// The catalog or the settings may have changed: every row is read again before its key is used.
pub fn doubt_all() {
    KEYS.with_borrow_mut(|keys| keys.values_mut().for_each(|entry| entry.doubtful = true));
}

/// Wipes all; how many keys that were. Which of them an open transaction has made is still known.
pub fn flush() -> usize {
    let unwrapped = len();
    KEYS.with_borrow_mut(|keys| {
        keys.retain(|_, entry| entry.made_in.is_some());
        keys.values_mut().for_each(|entry| entry.unwrapped = None);
    });
    unwrapped
}

/// Unwrapped keys.
pub fn len() -> usize {
    KEYS.with_borrow(|keys| keys.values().filter(|entry| entry.unwrapped.is_some()).count())
}

/// Lets go of keys whose maker `is_gone` says will not commit here, wiping them.
pub fn forget_made_in(is_gone: impl Fn(u32) -> bool) -> bool {
    KEYS.with_borrow_mut(|keys| {
        let before = keys.len();
        keys.retain(|_, entry| !entry.made_in.is_some_and(&is_gone));
        keys.len() != before
    })
}

/// Keys made in `from` now count as made in `to`; `None`: they are committed.
pub fn hand_over(from: impl Fn(u32) -> bool, to: Option<u32>) {
    KEYS.with_borrow_mut(|keys| {
        for entry in keys.values_mut().filter(|entry| entry.made_in.is_some_and(&from)) {
            entry.made_in = to;
        }
    });
}

fn wipe_if_over(slot: Slot) {
    KEYS.with_borrow_mut(|keys| {
        if let Some(entry) = keys.get_mut(&slot) {
            entry.wipe_if_over(clock::monotonic_ms());
        }
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
        let kept = keys.iter().filter(|(_, entry)| entry.doubtful && entry.unwrapped.is_some());
        kept.map(|(slot, _)| *slot).collect()
    });
    for slot in doubtful {
        row_in(slot)?;
    }
    KEYS.with_borrow_mut(|keys| keys.values_mut().for_each(|entry| entry.wipe_if_over(now)));
    Ok(())
}
