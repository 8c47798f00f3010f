//! Which KEK unwraps in the place of one that is out of reach, and who is told of it.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;

use super::failures;
use super::provider::KmsResult;
use crate::catalog::rows::WrappedKey;
use crate::kms::{Binding, KekUri, KmsError};
use crate::pg::report;
use crate::settings;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
    /// KEKs that were told of and have not answered since.
    static TOLD: RefCell<HashSet<String>> = RefCell::new(HashSet::new());
}

/// What `work` gives for the first of `wraps` whose KEK is in reach, and the error of one before it
/// that is not; `None` when there are no wraps. A KEK that refuses is not passed over.
///
/// Nor does a KEK step in that binds less than one out of reach, unless
/// `envelope.fallover_to_weaker` lets it: who cuts the server off from its KMS would get rid of the
/// KMS's policy and of its log.
pub fn first_in_reach<'a, T>(
    wraps: &'a [WrappedKey],
    work: impl Fn(&'a WrappedKey) -> KmsResult<T>,
) -> Option<KmsResult<(T, Option<KmsError>)>> {
    let mut away: Vec<KmsError> = Vec::new();
    let mut strongest = None;
    let mut is_passed_over = false;
    for wrap in wraps {
        let binding = binding(&wrap.kek);
        if binding < strongest && !settings::kms::fallover_to_weaker() {
            is_passed_over = true;
            continue;
        }
        match work(wrap) {
            Ok(done) => return Some(Ok((done, away.pop()))),
            Err(error) if failures::is_out_of_reach(error.kind) => {
                strongest = strongest.max(binding);
                away.push(error);
            }
            Err(error) => return Some(Err(error)),
        }
    }
    if is_passed_over {
        let first = away.into_iter().next()?;
        return Some(Err(first.with_more_hint(
            "Another KEK wraps the key as well, but its KMS does not decide by the encryption context, nor log \
             it. To use it all the same, a superuser can set envelope.fallover_to_weaker.",
        )));
    }
    away.pop().map(Err)
}

/// Of a KEK's name in the catalog; `None`, the least, for one that is none.
fn binding(kek: &str) -> Option<Binding> {
    kek.parse::<KekUri>().ok().map(|kek| kek.binding())
}

/// A data key was unwrapped by `kek`, since the one before it gave `error`. A WARNING says so, once
/// in a session until that KEK answers again.
pub fn note(error: &KmsError, kek: &str) {
    COUNT.set(COUNT.get() + 1);
    if TOLD.with_borrow_mut(|told| told.insert(error.kek.to_string())) {
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
