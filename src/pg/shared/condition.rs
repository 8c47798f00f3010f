//! Waiting for another process of the server, which says when there is something to look at.

use std::cell::UnsafeCell;
use std::time::{Duration, Instant};

use pgrx::pg_sys;

use crate::pg::wait;

/// A condition variable in shared memory.
#[repr(transparent)]
pub struct Condition(UnsafeCell<pg_sys::ConditionVariable>);

// SAFETY: PostgreSQL's functions lock it.
unsafe impl Sync for Condition {}

impl Condition {
    /// Ready for use. In memory that is new.
    pub fn init(&self) {
        // SAFETY: nobody uses it yet.
        unsafe { pg_sys::ConditionVariableInit(self.0.get()) };
    }

    /// All who wait look again.
    pub fn wake_all(&self) {
        // SAFETY: initialised.
        unsafe { pg_sys::ConditionVariableBroadcast(self.0.get()) };
    }

    /// Waits until `is_over` says so, which is asked whenever somebody wakes those who wait; whether it did within
    /// `limit`. An ordinary PostgreSQL wait: cancel, terminate and `statement_timeout` end it (this unwinds), so does
    /// the death of the postmaster; `pg_stat_activity` shows the wait event `EnvelopeLease` (`Extension` before
    /// PostgreSQL 17). No lightweight lock is held.
    pub fn wait(&self, limit: Duration, mut is_over: impl FnMut() -> bool) -> bool {
        let until = Instant::now() + limit;
        let event = wait::lease_event();
        // SAFETY: initialised; this process leaves the list of those who wait when `waiting` goes, or when PostgreSQL
        // undoes the transaction.
        unsafe { pg_sys::ConditionVariablePrepareToSleep(self.0.get()) };
        let _waiting = Waiting;
        loop {
            if is_over() {
                return true;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let left = i64::try_from(left.as_millis()).unwrap_or(i64::MAX).saturating_add(1);
            // SAFETY: as above.
            unsafe { pg_sys::ConditionVariableTimedSleep(self.0.get(), left as _, event) };
        }
    }
}

struct Waiting;

impl Drop for Waiting {
    fn drop(&mut self) {
        // SAFETY: concerns this process alone; nothing happens when it does not wait any more.
        unsafe { pg_sys::ConditionVariableCancelSleep() };
    }
}
