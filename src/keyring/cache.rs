//! Unwrapped data keys of this backend, each until its time is up.

use std::cell::RefCell;
use std::collections::HashMap;

use envelope::header::KeyId;
use envelope::secret::DataKey;
use envelope::value::SealKey;

use crate::catalog::rows::{self, DataKeyRow};
use crate::error::{Error, Result};
use crate::keyring::arena::Locked;
use crate::pg::clock;
use crate::settings;

thread_local! {
    static KEYS: RefCell<HashMap<KeyId, Entry>> = RefCell::new(HashMap::new());
}

/// What is known of a data key.
struct Entry {
    row: DataKeyRow,
    /// The catalog may have changed since `row` was read.
    doubtful: bool,
    unwrapped: Option<Unwrapped>,
    /// The transaction or savepoint that made the key, while it is open.
    made_in: Option<u32>,
}

struct Unwrapped {
    key: Locked<SealKey>,
    /// On [`clock::monotonic_ms`]'s scale.
    expires: u64,
}

/// Calls `use_key` with the unwrapped key `key_id`; `None` when it has to be unwrapped first.
pub fn with_key<T>(
    key_id: KeyId,
    use_key: impl FnOnce(&SealKey) -> Result<T>,
) -> Result<Option<T>> {
    if is_doubtful(key_id) {
        row(key_id)?;
    }
    let used = KEYS.with_borrow(|keys| {
        let unwrapped = keys.get(&key_id)?.unwrapped.as_ref()?;
        // A key whose page was zeroed by a fork has another id.
        let usable = unwrapped.expires > clock::monotonic_ms() && unwrapped.key.key_id() == key_id;
        usable.then(|| use_key(&unwrapped.key))
    });
    if used.is_none() {
        wipe_expired();
    }
    used.transpose()
}

fn is_doubtful(key_id: KeyId) -> bool {
    KEYS.with_borrow(|keys| keys.get(&key_id).is_some_and(|entry| entry.doubtful))
}

/// The catalog's row of `key_id`; `None` when no such key is in this database.
pub fn row(key_id: KeyId) -> Result<Option<DataKeyRow>> {
    let known = KEYS.with_borrow(|keys| {
        keys.get(&key_id).filter(|entry| !entry.doubtful).map(|entry| entry.row)
    });
    if known.is_some() {
        return Ok(known);
    }
    let read = rows::data_key(key_id)?;
    KEYS.with_borrow_mut(|keys| match read {
        None => {
            keys.remove(&key_id);
        }
        Some(row) => {
            let entry = keys.entry(key_id).or_insert(Entry {
                row,
                doubtful: false,
                unwrapped: None,
                made_in: None,
            });
            entry.row = row;
            entry.doubtful = false;
            if !row.state.opens() {
                entry.unwrapped = None;
            }
        }
    });
    Ok(read)
}

/// Keeps an unwrapped key until [`settings::cache_ttl_ms`] from now, less a little that differs
/// from key to key, so that keys fetched together do not expire together. `made_in` names the
/// transaction or savepoint that made the key, when that is still open.
pub fn insert(row: DataKeyRow, data_key: &DataKey, made_in: Option<u32>) -> Result<()> {
    let key = Locked::new(SealKey::from_data_key(data_key))?;
    let expires = clock::monotonic_ms() + jittered(settings::cache_ttl_ms())?;
    KEYS.with_borrow_mut(|keys| {
        let unwrapped = Some(Unwrapped { key, expires });
        keys.insert(row.key_id, Entry { row, doubtful: false, unwrapped, made_in });
    });
    Ok(())
}

/// The catalog may have changed: every row is read again before its key is used again.
pub fn doubt_all() {
    KEYS.with_borrow_mut(|keys| keys.values_mut().for_each(|entry| entry.doubtful = true));
}

/// Wipes all; how many keys that were.
pub fn flush() -> usize {
    let unwrapped = len();
    KEYS.with_borrow_mut(HashMap::clear);
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

/// Wipes keys whose time is up, wherever they stand: an unused key does not outlive its time by
/// more than the next miss.
fn wipe_expired() {
    let now = clock::monotonic_ms();
    KEYS.with_borrow_mut(|keys| {
        for entry in keys.values_mut() {
            if entry.unwrapped.as_ref().is_some_and(|unwrapped| unwrapped.expires <= now) {
                entry.unwrapped = None;
            }
        }
    });
}

fn jittered(ttl: u64) -> Result<u64> {
    let random = getrandom::u32().map_err(|error| Error::System(error.to_string()))?;
    Ok(ttl - u64::from(random) % (ttl / 16 + 1))
}
