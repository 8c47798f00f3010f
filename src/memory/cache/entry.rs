//! What is known of one data key: its row, its limits, and the key itself while it is unwrapped.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use envelope::header::KeyId;

use crate::catalog::rows::DataKeyRow;
use crate::error::RowResult;
use crate::memory::identity::Identity;
use crate::memory::limits::Limits;
use crate::memory::prefetch::prefetch;
use crate::memory::unwrapped::{self, Unwrapped};
use crate::pg::clock;
use crate::pg::state::Number;

/// How often everything that was read has been put in doubt.
static DOUBTS: Number = Number::new(0);

/// A data key, and the identity that the KMS gave it to: no other is handed it.
pub type Slot = (KeyId, Identity);

/// How often everything that was read has been put in doubt.
pub fn doubts() -> u64 {
    DOUBTS.get()
}

/// The catalog or the settings may have changed: every row is read again before its key is used.
pub fn doubt_all() {
    DOUBTS.count();
}

/// What is known of a data key.
pub struct Entry {
    pub slot: Slot,
    pub unwrapped: RefCell<Option<Unwrapped>>,
    pub limits: Cell<Limits>,
    /// What [`doubts`] was when `row` and `limits` were read.
    pub read_at: Cell<u64>,
    pub row: Cell<DataKeyRow>,
    /// Where its key stands in the order of keys.
    pub order: Cell<u64>,
    /// The transaction or savepoint that made the key, while it is open.
    pub made_in: Cell<Option<u32>>,
    /// What its key was used for, values and bytes, when it was wiped: one that comes back by a lease goes on counting.
    pub spent: Cell<(u64, u64)>,
}

/// An entry of the map. When it leaves, its key is wiped, whoever else holds the entry.
pub struct Kept(pub Rc<Entry>);

impl Entry {
    /// Read when [`doubts`] were `read_at`, with no unwrapped key yet.
    pub fn new(slot: Slot, row: DataKeyRow, limits: Limits, read_at: u64) -> Entry {
        Entry {
            slot,
            unwrapped: RefCell::new(None),
            limits: Cell::new(limits),
            read_at: Cell::new(read_at),
            row: Cell::new(row),
            order: Cell::new(0),
            made_in: Cell::new(None),
            spent: Cell::new((0, 0)),
        }
    }

    /// What its key was used for since the KMS gave it, values and bytes.
    pub fn wear(&self) -> (u64, u64) {
        self.unwrapped.borrow().as_ref().map_or(self.spent.get(), Unwrapped::wear)
    }

    /// Whether its key was used so much that the KMS is to be asked.
    pub fn is_used_up(&self) -> bool {
        unwrapped::is_used_up(self.wear(), &self.limits.get())
    }

    /// The catalog or the settings may have changed since it was read.
    pub fn is_doubtful(&self) -> bool {
        self.read_at.get() != DOUBTS.get()
    }

    /// Whether its key is here.
    pub fn is_unwrapped(&self) -> bool {
        self.unwrapped.borrow().is_some()
    }

    /// Whether its key is here, and came from a lease.
    pub fn is_leased(&self) -> bool {
        self.unwrapped.borrow().as_ref().is_some_and(Unwrapped::is_leased)
    }

    /// See [`prefetch`]: what is kept with the key, too.
    pub fn prefetch(&self) {
        prefetch(self);
        if let Some(key) = &*self.unwrapped.borrow() {
            key.prefetch();
        }
    }

    /// Wipes its key.
    pub fn wipe(&self) {
        if let Some(key) = self.unwrapped.replace(None) {
            self.spent.set(key.wear());
        }
    }

    /// Wipes its key when not even a KMS out of reach lets it be used again.
    pub fn wipe_if_over(&self, now: u64) {
        let is_over = |key: &Unwrapped| key.is_over(&self.limits.get(), now);
        if self.unwrapped.borrow().as_ref().is_some_and(is_over) {
            self.wipe();
        }
    }

    /// Whether its key is here, within its limits, and nothing of it in doubt.
    pub fn is_usable(&self) -> bool {
        let now = clock::monotonic_ms();
        self.unwrapped.borrow().as_ref().is_some_and(|key| self.lets_use(key, now))
    }

    #[inline(always)]
    fn lets_use(&self, key: &Unwrapped, now: u64) -> bool {
        !self.is_doubtful()
            && key.is_within(&self.limits.get(), now)
            // A key whose page was zeroed by a fork has another id.
            && key.key_id() == self.slot.0
    }

    /// Calls `use_key` for a value of `bytes` bytes; `None` when the key is not usable.
    #[inline(always)]
    pub fn use_if_usable<T>(
        &self,
        bytes: usize,
        use_key: impl FnOnce(&Unwrapped, &Limits) -> RowResult<T>,
    ) -> Option<RowResult<T>> {
        let now = clock::last_monotonic_ms();
        let unwrapped = self.unwrapped.borrow();
        let key = unwrapped.as_ref().filter(|key| self.lets_use(key, now))?;
        key.note_use(bytes);
        Some(use_key(key, &self.limits.get()))
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // In use it is only where the process ends in the midst of that, and has wiped all keys.
        if let Ok(mut unwrapped) = self.0.unwrapped.try_borrow_mut() {
            *unwrapped = None;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::{Mutex, MutexGuard, PoisonError};

    use envelope::secret::DataKey;
    use uuid::Uuid;

    use super::*;
    use crate::catalog::rows::{Purpose, State};
    use crate::memory::unwrapped;

    const LIMITS: Limits =
        Limits { ttl_ms: 60_000, uses: Some(2), bytes: None, stale_ms: 0, session_values: 1 };

    /// What one test doubts is in doubt for all.
    static ALONE: Mutex<()> = Mutex::new(());

    /// An entry in use, which nothing doubts while its guard lives.
    fn entry() -> (Rc<Entry>, MutexGuard<'static, ()>) {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let (purpose, state) = (Purpose::Seal, State::Active);
        let data_key = DataKey::try_from_slice(&[7; 32]).unwrap();
        let key = Unwrapped::new(purpose, &data_key).unwrap();
        let (key_id, keyring_id) = (key.key_id(), Uuid::nil());
        let row = DataKeyRow { key_id, keyring_id, purpose, version: 1, state };
        let entry = Entry::new((key_id, Identity::SERVER), row, LIMITS, doubts());
        entry.unwrapped.replace(Some(key));
        (Rc::new(entry), alone)
    }

    fn is_used(entry: &Entry) -> bool {
        entry.use_if_usable(1, |_, _| Ok(())).is_some_and(|used| used.is_ok())
    }

    #[test]
    fn a_key_in_doubt_is_not_used() {
        let (entry, _alone) = entry();
        assert!(is_used(&entry));
        doubt_all();
        assert!(!is_used(&entry) && !entry.is_usable());
        entry.read_at.set(doubts());
        assert!(is_used(&entry));
    }

    #[test]
    fn a_key_that_is_used_up_is_not_used() {
        let (entry, _alone) = entry();
        assert!(is_used(&entry) && is_used(&entry));
        assert!(!is_used(&entry) && !entry.is_usable());
    }

    #[test]
    fn a_key_of_another_name_is_not_used() {
        let (entry, _alone) = entry();
        let mut entry = Rc::into_inner(entry).unwrap();
        entry.slot.0.0[0] ^= 1;
        assert!(!is_used(&entry) && !entry.is_usable());
    }

    #[test]
    fn a_key_is_wiped_when_it_leaves_whoever_holds_it() {
        let (held, _alone) = entry();
        drop(Kept(Rc::clone(&held)));
        assert!(!held.is_unwrapped() && !is_used(&held));
        assert_eq!(unwrapped::count(), 0);
    }
}
