//! What the processes of a preloaded server share of keys: **leases**, which are data keys sealed under the key of their
//! database ([`crate::memory::lease_key`]), who is asking the KMS for one, and what the KMS has refused.
//!
//! A lease says what a key is, and until when the KMS's word counts. Whether the key may be used, and by whom, each
//! backend's catalog says. The memory holds no key that could be used without the lease key.

mod table;

use std::cell::{Cell, UnsafeCell};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use envelope::header::KeyId;
use envelope::lease::{self, Terms};
use envelope::secret::DataKey;

use crate::catalog::rows::{DataKeyRow, Purpose};
use crate::error::{Error, Result};
use crate::memory::{lease_key, nonce};
use crate::pg::shared::{self, Area, Condition};
use crate::pg::state::{Flag, Number};
use crate::pg::{clock, guc};
use crate::settings;

pub use self::table::{Counts, Name, Use};
use self::table::{Head, Slot, Subject, Table, Ticket};

/// The memory of the leases.
pub const AREA: Area = Area { name: c"envelope leases", bytes, new, attach };

/// The number of the lock of the table. It is held for as long as it takes to read or write a slot.
pub const LOCK: usize = 0;

/// Who waits for a key waits here, by its name: those of another key may wake, too, and look again.
const CONDITIONS: usize = 64;

/// What stands before the slots.
#[repr(C)]
struct Fixed {
    marks: Marks,
    conditions: [Condition; CONDITIONS],
    head: UnsafeCell<Head>,
}

/// What every backend looks at, once a statement.
#[repr(C, align(128))]
struct Marks {
    /// How often all keys were to be wiped, everywhere.
    flushes: AtomicU64,
    /// How often the KMS has refused a key that may have been leased.
    denials: AtomicU64,
}

static FIXED: AtomicPtr<Fixed> = AtomicPtr::new(std::ptr::null_mut());
static SLOTS: AtomicUsize = AtomicUsize::new(0);

/// This process asks the KMS for others.
static IS_ASKING: Flag = Flag::new(false);
/// Refusals from before do not count in this session.
static REFUSALS_COUNT_FROM: Number = Number::new(0);
/// What this backend has seen of [`Marks`]; the largest number: nothing yet.
static SEEN_FLUSHES: Number = Number::new(u64::MAX);
static SEEN_DENIALS: Number = Number::new(u64::MAX);
/// How long the machine had slept when this backend last looked.
static SEEN_SLEEP: Number = Number::new(u64::MAX);

thread_local! {
    /// With what this process asks.
    static ASKING: Cell<Option<Ticket>> = const { Cell::new(None) };
}

fn slots() -> usize {
    settings::shared_keys()
}

fn bytes() -> usize {
    size_of::<Fixed>() + slots() * (size_of::<Slot>() + size_of::<u32>())
}

fn new(at: NonNull<u8>) {
    // SAFETY: new memory of all zeros, as large as `bytes` says; the conditions are used by nobody yet.
    let fixed = unsafe { at.cast::<Fixed>().as_ref() };
    fixed.conditions.iter().for_each(Condition::init);
    if slots() > 0 {
        lease_key::draw();
    }
}

fn attach(at: NonNull<u8>) {
    FIXED.store(at.cast().as_ptr(), Relaxed);
    SLOTS.store(slots(), Relaxed);
}

fn fixed() -> Option<&'static Fixed> {
    // SAFETY: null, or the shared memory, which stays for as long as this process lives.
    unsafe { FIXED.load(Relaxed).as_ref() }
}

/// Does something with the table; `None` where there is none. `work` is short, and raises nothing.
fn with_table<T>(work: impl FnOnce(&mut Table<'_>) -> T) -> Option<T> {
    let fixed = fixed()?;
    let count = SLOTS.load(Relaxed);
    if count == 0 {
        return None;
    }
    let _held = shared::lock(LOCK)?.exclusive();
    // SAFETY: the memory behind the fixed part is as large as `bytes` says, and while the lock is held no other process
    // touches head, slots or buckets. What stands there is valid whatever it is: all of it are numbers.
    let mut table = unsafe {
        let first = FIXED.load(Relaxed).add(1).cast::<Slot>();
        Table {
            head: &mut *fixed.head.get(),
            slots: std::slice::from_raw_parts_mut(first, count),
            buckets: std::slice::from_raw_parts_mut(first.add(count).cast::<u32>(), count),
        }
    };
    Some(work(&mut table))
}

/// Whether this server has leases.
pub fn are_on() -> bool {
    SLOTS.load(Relaxed) > 0
}

/// A number to be asked for before the catalog is read; `None` where there are no leases. What is answered to one who
/// asks for the key as of then is shared only if no lease of it was taken away since.
pub fn as_of(key_id: KeyId) -> Option<u64> {
    with_table(|table| table.generation(&key_id.0))
}

/// Whether the lease key stands in memory that may be swapped out.
pub fn is_key_unlocked() -> bool {
    are_on() && lease_key::is_unlocked()
}

/// What happened so far, and what the slots are now.
pub fn figures() -> Option<(Counts, Use)> {
    let now = clock::boot_ms();
    with_table(|table| (table.head.counts, table.count(now)))
}

/// What happened so far is to be counted anew.
pub fn reset_figures() {
    with_table(|table| table.head.counts = Counts::default());
}

/// A key that may be leased to one identity.
pub struct Key {
    subject: Subject,
    class: u8,
}

/// What is found of a key.
pub enum Found {
    /// A lease.
    Ready(Lease),
    /// Another process asks the KMS.
    Asked,
    /// Nothing.
    Nothing,
}

/// A lease as it stood in the table.
pub struct Lease {
    data_key: Box<DataKey>,
    lease: table::Lease,
}

/// Between when a leased key may be used here, on [`clock::monotonic_ms`]'s scale.
#[derive(Clone, Copy)]
pub struct Bounds {
    /// When the KMS gave it.
    pub since: u64,
    /// When the next one is to be looked for.
    pub look_at: u64,
    /// When it ends.
    pub until: u64,
}

/// Whether this process may ask the KMS for all.
pub enum Taken {
    /// It may.
    Yes(Asking),
    /// Something was there first: look again.
    No,
    /// The table is full. It asks for itself.
    Full,
}

/// This process asks the KMS for a key, and others wait. Whichever way it ends: it lets go, and they go on.
pub struct Asking {
    ticket: Ticket,
}

impl Key {
    /// The key `row` for those who reach the KMS by `way`, which stands for all that the KMS decides by.
    pub fn new(row: &DataKeyRow, way: &Name) -> Key {
        let database = guc::current_database_oid();
        let name = lease::name(&("key", database, way, row.key_id.0));
        let class = match row.purpose {
            Purpose::Seal => 1,
            Purpose::Index => 2,
        };
        Key { subject: Subject { name, database, key_id: row.key_id.0 }, class }
    }

    /// The database that it is of.
    pub fn database(&self) -> u32 {
        self.subject.database
    }

    /// What there is, for one who would keep the key for `ttl` milliseconds from when the KMS gave it.
    pub fn find(&self, ttl: u64) -> Result<Found> {
        let now = clock::boot_ms();
        let name = &self.subject.name;
        let found = with_table(|table| table.find(name, now, ttl));
        Ok(match found {
            Some(table::Found::Ready(lease)) => match self.opened(&lease)? {
                Some(data_key) => Found::Ready(Lease { data_key, lease }),
                // Memory that is damaged. The KMS knows better.
                None => {
                    with_table(|table| table.remove(name, now));
                    Found::Nothing
                }
            },
            Some(table::Found::Asked) => Found::Asked,
            Some(table::Found::Nothing) | None => Found::Nothing,
        })
    }

    /// Notes that a key was looked for, and whether it was found.
    pub fn note_lookup(&self, is_hit: bool) {
        with_table(|table| {
            table.head.counts.lookups += 1;
            table.head.counts.hits += u64::from(is_hit);
        });
    }

    /// Waits at most for `limit` until nobody asks for the key any more, or a lease is there; whether that came.
    pub fn wait(&self, ttl: u64, limit: Duration) -> bool {
        let Some(condition) = self.condition() else { return true };
        with_table(|table| table.head.counts.waits += 1);
        let name = &self.subject.name;
        condition.wait(limit, || {
            let now = clock::boot_ms();
            let found = with_table(|table| table.find(name, now, ttl));
            !matches!(found, Some(table::Found::Asked))
        })
    }

    /// Lets this process ask for all, for at most `limit`, unless another one does.
    pub fn take(&self, ttl: u64, limit: Duration, has_waited: bool) -> Taken {
        let now = clock::boot_ms();
        let until = now.saturating_add(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX));
        let asker = i32::try_from(std::process::id()).unwrap_or(i32::MAX);
        shared::before_exit(let_go);
        let taken =
            with_table(|table| table.take(&self.subject, asker, now, (ttl, until), has_waited));
        match taken {
            Some(table::Taken::Yes(ticket)) => {
                ASKING.set(Some(ticket));
                IS_ASKING.set(true);
                Taken::Yes(Asking { ticket })
            }
            Some(table::Taken::No) => Taken::No,
            Some(table::Taken::Full) | None => Taken::Full,
        }
    }

    /// Takes the lease away from those who do not have it yet.
    pub fn end(&self) {
        let now = clock::boot_ms();
        with_table(|table| table.remove(&self.subject.name, now));
        wake(&self.subject.name);
    }

    /// The KMS refuses the key: nobody goes on with a lease of it, nor with what came from one.
    pub fn revoke(&self) {
        let now = clock::boot_ms();
        let was_leased = with_table(|table| table.remove(&self.subject.name, now));
        // Copies end with their lease: where there was none, nobody has one.
        if was_leased == Some(true)
            && let Some(fixed) = fixed()
        {
            fixed.marks.denials.fetch_add(1, Relaxed);
        }
        wake(&self.subject.name);
    }

    fn opened(&self, lease: &table::Lease) -> Result<Option<Box<DataKey>>> {
        let terms = self.terms(lease);
        let opened = lease_key::with(|key| lease::open(key, &lease.sealed, &terms).ok())?;
        Ok(opened.flatten())
    }

    fn terms(&self, lease: &table::Lease) -> Terms {
        let Subject { name, database, key_id } = self.subject;
        let table::Lease { kek, since, until, .. } = *lease;
        let (key_id, class) = (KeyId(key_id), self.class);
        Terms { database, name, key_id, since, until, kek, class }
    }

    fn condition(&self) -> Option<&'static Condition> {
        condition(&self.subject.name)
    }
}

impl Lease {
    /// Whether it came by the KEK of that name.
    pub fn is_by(&self, kek: &str) -> bool {
        self.lease.kek == lease::name(&kek)
    }

    /// The key.
    pub fn data_key(&self) -> &DataKey {
        &self.data_key
    }

    /// Whether the next one is to be asked for, and nobody does.
    pub fn is_due(&self) -> bool {
        !self.lease.is_refreshed && clock::boot_ms() >= self.lease.due()
    }

    /// For how long the key may be used here. Who does not ask for the next one though it is due looks again in
    /// `pause` milliseconds.
    pub fn bounds(&self, pause: u64) -> Bounds {
        let now = clock::boot_ms();
        let look_at = match now < self.lease.due() {
            true => self.lease.due(),
            // Another one asks: what he gets is looked for when this one is over.
            false if self.lease.is_refreshed => self.lease.until,
            false => now.saturating_add(pause),
        };
        Bounds::of(self.lease.since, look_at, self.lease.until)
    }
}

impl Bounds {
    /// From times on [`clock::boot_ms`]'s scale.
    fn of(since: u64, look_at: u64, until: u64) -> Bounds {
        let (boot, here) = (clock::boot_ms(), clock::monotonic_ms());
        let at = |time: u64| match time.checked_sub(boot) {
            Some(left) => here.saturating_add(left),
            None => here.saturating_sub(boot - time),
        };
        Bounds { since: at(since), look_at: at(look_at.min(until)), until: at(until) }
    }
}

impl Asking {
    /// The KMS has given the key, by `kek`, now and for `ttl` milliseconds: it is everybody's, unless something was
    /// taken away since `as_of`. For how long it may be used here; `None` when it is the asker's alone.
    pub fn ready(
        self,
        key: &Key,
        data_key: &DataKey,
        kek: &str,
        (as_of, ttl): (u64, u64),
    ) -> Result<Option<Bounds>> {
        let random = getrandom::u32().map_err(|error| Error::System(error.to_string()))?;
        // Keys that were asked for together do not end together.
        let ttl = ttl - ttl / 1024 * u64::from(random % 65);
        let since = clock::boot_ms();
        let mut lease = table::Lease {
            sealed: [0; lease::SEALED_LEN],
            kek: lease::name(&kek),
            since,
            until: since.saturating_add(ttl),
            is_refreshed: false,
        };
        let (nonce, terms) = (nonce::fresh()?, key.terms(&lease));
        let sealed = lease_key::with(|own| lease::seal(own, &nonce, data_key, &terms))?;
        let Some(sealed) = sealed else { return Ok(None) };
        lease.sealed = sealed;
        let ticket = self.ticket;
        let stands = with_table(|table| table.ready(&ticket, as_of, since, &lease));
        let bounds = Bounds::of(since, lease.due(), lease.until);
        Ok(stands.unwrap_or(false).then_some(bounds))
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        let_go();
    }
}

/// Whatever this process asks the KMS for, it does no more. For every end: of the work, of a transaction or savepoint,
/// of the process.
pub fn let_go() {
    if !IS_ASKING.take() {
        return;
    }
    if let Some(ticket) = ASKING.take() {
        let now = clock::boot_ms();
        with_table(|table| table.let_go(&ticket, now));
        wake(&ticket.name);
    }
}

fn condition(name: &Name) -> Option<&'static Condition> {
    let at = name.last().map_or(0, |byte| usize::from(*byte) % CONDITIONS);
    fixed()?.conditions.get(at)
}

fn wake(name: &Name) {
    if let Some(condition) = condition(name) {
        condition.wake_all();
    }
}

/// Takes away the leases of a key of this database, whoever they are for.
pub fn remove(key_id: KeyId) {
    let database = guc::current_database_oid();
    with_table(|table| table.remove_all(Some(database), Some(&key_id.0)));
    wake_everybody();
}

/// Takes away all leases of the server, and has every backend wipe its keys. Whether there is a way to tell them.
pub fn flush_everywhere() -> bool {
    let Some(fixed) = fixed() else { return false };
    with_table(|table| table.remove_all(None, None));
    fixed.marks.flushes.fetch_add(1, Relaxed);
    wake_everybody();
    true
}

fn wake_everybody() {
    if are_on()
        && let Some(fixed) = fixed()
    {
        fixed.conditions.iter().for_each(Condition::wake_all);
    }
}

/// As [`remove`], of a key that does not open, as this backend has just read.
pub fn sweep(key_id: KeyId) {
    let database = guc::current_database_oid();
    if with_table(|table| table.sweep(database, &key_id.0)) == Some(true) {
        wake_everybody();
    }
}

/// What other backends have done since this one last looked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// Nothing that concerns this one.
    None,
    /// What came from leases is to be looked for anew.
    Leases,
    /// All keys are to be wiped.
    All,
}

/// Looks what there is of news: a few reads of memory.
pub fn news() -> News {
    let Some(fixed) = fixed() else { return News::None };
    let is_new = |seen: &Number, now: u64| {
        let before = seen.get();
        seen.set(now);
        before != now && before != u64::MAX
    };
    if is_new(&SEEN_FLUSHES, fixed.marks.flushes.load(Relaxed)) {
        return News::All;
    }
    if is_new(&SEEN_DENIALS, fixed.marks.denials.load(Relaxed)) {
        return News::Leases;
    }
    if are_on() && has_slept() {
        return News::Leases;
    }
    News::None
}

/// Whether the machine has slept since this was last asked: the clock that this backend counts by did not go on.
fn has_slept() -> bool {
    let slept = clock::slept_ms();
    let before = SEEN_SLEEP.get();
    SEEN_SLEEP.set(slept);
    before != u64::MAX && slept.abs_diff(before) > 100
}

/// A refusal of the KMS, by what stands for it.
pub fn refusal(name: &Name, patience: Duration) -> Option<u32> {
    let now = clock::boot_ms();
    let patience = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
    let refusal = with_table(|table| table.refusal(name, now))??;
    let counts = refusal.noted_at >= REFUSALS_COUNT_FROM.get() && refusal.patience >= patience;
    counts.then_some(refusal.class)
}

/// The KMS has refused; `patience`: to whom who would not wait longer, if it did not answer in that time.
pub fn refuse(name: Name, key_id: KeyId, class: u32, patience: Option<Duration>) {
    let now = clock::boot_ms();
    let patience = patience.and_then(|it| u64::try_from(it.as_millis()).ok()).unwrap_or(u64::MAX);
    let subject = Subject { name, database: guc::current_database_oid(), key_id: key_id.0 };
    with_table(|table| table.refuse(&subject, class, patience, now));
}

/// The KMS has answered.
pub fn forgive(name: &Name) {
    with_table(|table| table.forgive(name));
}

/// In this session refusals of before do not count any more.
pub fn distrust_refusals() {
    REFUSALS_COUNT_FROM.set(clock::boot_ms().saturating_add(1));
}
