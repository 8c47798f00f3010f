//! State of this backend that every row looks at. PostgreSQL runs an extension on one thread, so
//! that nothing is ordered here; a thread-local of a library that is loaded at run time would cost
//! a call each time.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// Yes or no.
pub struct Flag(AtomicBool);

/// A number.
pub struct Number(AtomicU64);

impl Flag {
    /// A flag that is `raised` at first.
    pub const fn new(raised: bool) -> Flag {
        Flag(AtomicBool::new(raised))
    }

    /// Sets it.
    pub fn set(&self, raised: bool) {
        self.0.store(raised, Relaxed);
    }

    /// Whether it is raised.
    pub fn get(&self) -> bool {
        self.0.load(Relaxed)
    }

    /// Whether it was raised; it no longer is.
    #[inline]
    pub fn take(&self) -> bool {
        // Not a swap, for which the processor waits.
        let raised = self.get();
        if raised {
            self.set(false);
        }
        raised
    }
}

impl Number {
    /// A number that is `first` at first.
    pub const fn new(first: u64) -> Number {
        Number(AtomicU64::new(first))
    }

    /// Sets it.
    pub fn set(&self, number: u64) {
        self.0.store(number, Relaxed);
    }

    /// What it is.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    /// Adds one. Nobody else does meanwhile.
    pub fn count(&self) {
        // Not a fetch_add, for which the processor waits.
        self.set(self.get() + 1);
    }
}
