//! What this process has done with each data key, until it is added up.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ops::Deref;
use std::rc::{Rc, Weak};
use std::time::Duration;

use envelope::header::KeyId;

use crate::figures::shared;
use crate::pg::clock;
use crate::pg::shared::plain;
use crate::pg::state::Flag;

plain! {
    /// How often and how much.
    pub struct Counts {
        pub values_sealed: u64,
        pub values_opened: u64,
        /// Values of which terms were made.
        pub values_hashed: u64,
        pub bytes_sealed: u64,
        pub bytes_opened: u64,
        /// Of these values, those whose key had to be fetched.
        pub misses: u64,
        pub lease_hits: u64,
        pub lease_waits: u64,
        pub lease_wait_us: u64,
        pub kms_requests: u64,
        pub kms_failures: u64,
        pub kek_fallovers: u64,
    }
}

impl Counts {
    /// Nothing was done.
    pub const NONE: Counts = Counts {
        values_sealed: 0,
        values_opened: 0,
        values_hashed: 0,
        bytes_sealed: 0,
        bytes_opened: 0,
        misses: 0,
        lease_hits: 0,
        lease_waits: 0,
        lease_wait_us: 0,
        kms_requests: 0,
        kms_failures: 0,
        kek_fallovers: 0,
    };

    /// These, too.
    pub fn add(&mut self, more: &Counts) {
        self.values_sealed += more.values_sealed;
        self.values_opened += more.values_opened;
        self.values_hashed += more.values_hashed;
        self.bytes_sealed += more.bytes_sealed;
        self.bytes_opened += more.bytes_opened;
        self.misses += more.misses;
        self.lease_hits += more.lease_hits;
        self.lease_waits += more.lease_waits;
        self.lease_wait_us += more.lease_wait_us;
        self.kms_requests += more.kms_requests;
        self.kms_failures += more.kms_failures;
        self.kek_fallovers += more.kek_fallovers;
    }

    /// Whether nothing was done.
    pub fn is_none(&self) -> bool {
        let values = self.values_sealed | self.values_opened | self.values_hashed;
        let fetched = self.lease_hits | self.lease_waits | self.kms_requests | self.kek_fallovers;
        values | fetched == 0
    }

    /// Values whose key was at hand.
    pub fn cache_hits(&self) -> u64 {
        (self.values_sealed + self.values_opened + self.values_hashed).saturating_sub(self.misses)
    }
}

/// A data key, and what was done with it since that was last added up.
pub struct Key {
    key_id: KeyId,
    /// Itself, for the list of those that are to be added up.
    this: Weak<Key>,
    sealed: Cell<u64>,
    opened: Cell<u64>,
    hashed: Cell<u64>,
    bytes_sealed: Cell<u64>,
    bytes_opened: Cell<u64>,
    /// Nothing has to be done for the next value but to count it.
    is_noted: Cell<bool>,
    /// It stands among those that are to be added up.
    is_pending: Cell<bool>,
    /// A value has come for which it was not at hand.
    is_missed: Cell<bool>,
    /// What happens seldom.
    seldom: Cell<Counts>,
    last_unwrap: Cell<i64>,
    /// How often it stands unwrapped in this process's memory: once for each identity.
    held: Cell<u32>,
    /// The place in shared memory that was told of that, by its number; 0: none was.
    pub(super) told: Cell<u64>,
}

thread_local! {
    static KEYS: RefCell<HashMap<KeyId, Rc<Key>>> = RefCell::default();
    static PENDING: RefCell<Vec<Rc<Key>>> = const { RefCell::new(Vec::new()) };
}

/// This process gives up all keys.
static IS_LEAVING: Flag = Flag::new(false);

/// What counts for a key that stands unwrapped in this process's memory, as long as it does.
pub struct Held(Rc<Key>);

impl Held {
    /// The key is here from now on.
    pub fn of(key_id: KeyId) -> Held {
        let key = of(key_id);
        key.held.set(key.held.get() + 1);
        key.pend();
        Held(key)
    }

    /// The same, for what stands in the same memory.
    pub fn share(&self) -> Rc<Key> {
        Rc::clone(&self.0)
    }
}

impl Deref for Held {
    type Target = Key;

    #[inline(always)]
    fn deref(&self) -> &Key {
        &self.0
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.held.set(self.held.get().saturating_sub(1));
        self.pend();
    }
}

/// A value has come for which the key is not at hand: it is to be fetched now.
pub fn missed(key_id: KeyId) {
    let key = of(key_id);
    key.is_missed.set(true);
    key.is_noted.set(false);
    key.pend();
}

/// What counts for `key_id`. It is kept until that was added up, and nothing holds the key.
fn of(key_id: KeyId) -> Rc<Key> {
    KEYS.with_borrow_mut(|keys| {
        Rc::clone(
            keys.entry(key_id)
                .or_insert_with(|| Rc::new_cyclic(|this| Key::new(key_id, this.clone()))),
        )
    })
}

/// The key was fetched from a lease.
pub fn lease_hit(key_id: KeyId) {
    of(key_id).count(|counts| counts.lease_hits += 1);
}

/// It was waited that long for what another process asks for the key.
pub fn lease_waited(key_id: KeyId, time: Duration) {
    let microseconds = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    of(key_id).count(|counts| {
        counts.lease_waits += 1;
        counts.lease_wait_us = counts.lease_wait_us.saturating_add(microseconds);
    });
}

/// Another KEK than the first has unwrapped the key.
pub fn fell_over(key_id: KeyId) {
    of(key_id).count(|counts| counts.kek_fallovers += 1);
}

/// Does `work`, which asks a KMS to unwrap the key.
pub fn kms_request<T, E>(key_id: KeyId, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    // A failure until there is an answer: a cancel unwinds, and the end of the process does not even that.
    of(key_id).count(|counts| {
        counts.kms_requests += 1;
        counts.kms_failures += 1;
    });
    let answer = work();
    if answer.is_ok() {
        let key = of(key_id);
        key.count(|counts| counts.kms_failures = counts.kms_failures.saturating_sub(1));
        key.last_unwrap.set(clock::now_us());
    }
    answer
}

impl Key {
    fn new(key_id: KeyId, this: Weak<Key>) -> Key {
        Key {
            key_id,
            this,
            sealed: Cell::new(0),
            opened: Cell::new(0),
            hashed: Cell::new(0),
            bytes_sealed: Cell::new(0),
            bytes_opened: Cell::new(0),
            is_noted: Cell::new(false),
            is_pending: Cell::new(false),
            is_missed: Cell::new(false),
            seldom: Cell::new(Counts::NONE),
            last_unwrap: Cell::new(0),
            held: Cell::new(0),
            told: Cell::new(0),
        }
    }

    pub(super) fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// A value of `bytes` bytes was sealed.
    #[inline(always)]
    pub fn sealed(&self, bytes: usize) {
        self.sealed.set(self.sealed.get().wrapping_add(1));
        self.bytes_sealed.set(self.bytes_sealed.get().wrapping_add(bytes as u64));
        self.note();
    }

    /// One was opened.
    #[inline(always)]
    pub fn opened(&self, bytes: usize) {
        self.opened.set(self.opened.get().wrapping_add(1));
        self.bytes_opened.set(self.bytes_opened.get().wrapping_add(bytes as u64));
        self.note();
    }

    /// Terms were made of one.
    #[inline(always)]
    pub fn hashed(&self) {
        self.hashed.set(self.hashed.get().wrapping_add(1));
        self.note();
    }

    /// Whether it is here, and stays.
    pub(super) fn is_held(&self) -> bool {
        self.held.get() > 0 && !IS_LEAVING.get()
    }

    #[inline(always)]
    fn note(&self) {
        if !self.is_noted.get() {
            self.first();
        }
    }

    #[cold]
    #[inline(never)]
    fn first(&self) {
        self.is_noted.set(true);
        let missed = self.is_missed.take();
        self.count(|counts| counts.misses += u64::from(missed));
    }

    fn count(&self, count: impl FnOnce(&mut Counts)) {
        let mut counts = self.seldom.get();
        count(&mut counts);
        self.seldom.set(counts);
        self.pend();
    }

    /// It is to be added up.
    fn pend(&self) {
        if self.is_pending.get() {
            return;
        }
        if let Some(key) = self.this.upgrade() {
            self.is_pending.set(true);
            // At the exit of a thread the list may be gone.
            let _ = PENDING.try_with(|pending| pending.borrow_mut().push(key));
            shared::something_is_new();
        }
    }

    /// What has come since the last time.
    pub(super) fn take(&self) -> (Counts, i64) {
        let mut counts = self.seldom.replace(Counts::NONE);
        counts.values_sealed = self.sealed.take();
        counts.values_opened = self.opened.take();
        counts.values_hashed = self.hashed.take();
        counts.bytes_sealed = self.bytes_sealed.take();
        counts.bytes_opened = self.bytes_opened.take();
        (counts, self.last_unwrap.take())
    }
}

/// All are to be added up, and none is held any more: the process ends.
pub(super) fn leave() {
    IS_LEAVING.set(true);
    let all: Vec<_> = KEYS.with_borrow(|keys| keys.values().cloned().collect());
    all.iter().for_each(|key| key.pend());
}

/// Calls `add` with those that are to be added up. Afterwards they no longer are.
pub(super) fn each_pending(add: impl FnOnce(&[Rc<Key>])) {
    let mut pending = PENDING.take();
    add(&pending);
    for key in pending.drain(..) {
        key.is_noted.set(false);
        key.is_pending.set(false);
        if key.held.get() == 0 {
            KEYS.with_borrow_mut(|keys| {
                if keys.get(&key.key_id).is_some_and(|known| Rc::ptr_eq(known, &key)) {
                    keys.remove(&key.key_id);
                }
            });
        }
    }
    // Its memory is for the next transaction.
    PENDING.with_borrow_mut(|now| {
        if now.is_empty() {
            *now = pending;
        }
    });
}
