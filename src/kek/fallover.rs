//! A KEK that is out of reach is told of, when another unwraps in its place.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;

use crate::kms::KmsError;
use crate::pg::report;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
    /// KEKs that were told of and have not answered since.
    static TOLD: RefCell<HashSet<String>> = RefCell::new(HashSet::new());
}

/// A data key was unwrapped by `kek`, since the one before it gave `error`. A WARNING says so, once
/// in a session until that KEK answers again.
pub fn note(error: &KmsError, kek: &str) {
    COUNT.set(COUNT.get() + 1);
    if TOLD.with_borrow_mut(|told| told.insert(error.kek.clone())) {
        report::warning(
            format!("unwrapped by {kek} instead: {error}"),
            "Values open and are sealed as before. envelope.stats counts kek_fallovers.",
        );
    }
}

/// The KEK answered.
pub fn is_back(kek: &str) {
    TOLD.with_borrow_mut(|told| {
        if !told.is_empty() {
            told.remove(kek);
        }
    });
}

/// Data keys that this session unwrapped by another KEK than the first.
pub fn count() -> u64 {
    COUNT.get()
}
