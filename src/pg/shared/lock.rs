//! Lightweight locks, for as long as a few reads and writes of shared memory take. Whoever holds one neither waits, nor
//! raises, nor asks anybody.

use std::ffi::CStr;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering::Relaxed};

use pgrx::pg_sys;

/// By this name `pg_stat_activity` shows who waits for one.
pub(super) const TRANCHE: &CStr = c"envelope";

static LOCKS: AtomicPtr<pg_sys::LWLockPadded> = AtomicPtr::new(std::ptr::null_mut());
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// The locks are there.
///
/// # Safety
/// In the startup hook; so many were asked for.
pub(super) unsafe fn attach(count: usize) {
    // SAFETY: by contract; the name is NUL-terminated.
    LOCKS.store(unsafe { pg_sys::GetNamedLWLockTranche(TRANCHE.as_ptr()) }, Relaxed);
    COUNT.store(count, Relaxed);
}

/// One of the locks; `None` when there are not so many, or none at all.
pub fn lock(number: usize) -> Option<Lock> {
    if number >= COUNT.load(Relaxed) {
        return None;
    }
    // SAFETY: the array has as many, each in a line of its own.
    let lock = unsafe { &raw mut (*LOCKS.load(Relaxed).add(number)).lock };
    NonNull::new(lock).map(Lock)
}

/// A lock of the server.
#[derive(Clone, Copy)]
pub struct Lock(NonNull<pg_sys::LWLock>);

impl Lock {
    /// Held together with others who hold it so.
    #[allow(dead_code, reason = "for those who only read")]
    pub fn shared(self) -> Held {
        self.acquire(pg_sys::LWLockMode::LW_SHARED)
    }

    /// Held by this process alone.
    pub fn exclusive(self) -> Held {
        self.acquire(pg_sys::LWLockMode::LW_EXCLUSIVE)
    }

    fn acquire(self, mode: pg_sys::LWLockMode::Type) -> Held {
        // SAFETY: a lock of shared memory that was initialised. Cancel and terminate are held off until it is let go.
        unsafe { pg_sys::LWLockAcquire(self.0.as_ptr(), mode) };
        Held { lock: self.0, is_in_error: std::thread::panicking() }
    }
}

/// Lets go of a lock when it is dropped.
pub struct Held {
    lock: NonNull<pg_sys::LWLock>,
    /// It was acquired on the way out of an error.
    is_in_error: bool,
}

impl Drop for Held {
    fn drop(&mut self) {
        // An error that comes while it is held resets what letting go counts down; then PostgreSQL lets go of all locks
        // itself, when it undoes the transaction or savepoint.
        if std::thread::panicking() && !self.is_in_error {
            return;
        }
        // SAFETY: held by this process since it was acquired.
        unsafe { pg_sys::LWLockRelease(self.lock.as_ptr()) };
    }
}
