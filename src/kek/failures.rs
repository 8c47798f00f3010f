//! A brief memory of what the KMS refused, so that a sick KMS is not asked once a row by every
//! backend. Each failure in a row doubles the time during which its answer stands.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use envelope::header::KeyId;

use crate::error::Error;
use crate::keyring;
use crate::kms::{Kind, KmsError};
use crate::memory::identity::{self, Identity};
use crate::pg::clock;

/// Milliseconds after the first failure, and at most. Short beside the patience of a user who has
/// just mended the KMS.
const FIRST: u64 = 100;
const LONGEST: u64 = 5_000;

thread_local! {
    static FAILURES: RefCell<HashMap<Subject, Failure>> = RefCell::new(HashMap::new());
    /// What [`keyring::resets`] was when the first of them was remembered.
    static SINCE: Cell<u64> = const { Cell::new(0) };
}

/// Forgets what was answered before the settings changed, or before the cache was flushed.
fn forget_before_reset() {
    let resets = keyring::resets();
    if SINCE.replace(resets) != resets {
        FAILURES.with_borrow_mut(HashMap::clear);
    }
}

/// A KEK that is out of reach is so for every key; one that refuses does so for one key. Both for
/// who asked: another identity may be let in, or ask elsewhere for its own credentials.
#[derive(PartialEq, Eq, Hash)]
struct Subject {
    kek: String,
    key: Option<KeyId>,
    identity: Identity,
}

impl Subject {
    fn new(kek: &str, key: Option<KeyId>, identity: Identity) -> Subject {
        Subject { kek: kek.to_string(), key, identity }
    }
}

struct Failure {
    error: KmsError,
    delay: u64,
    until: u64,
}

/// The failure that still stands for `key` under `kek`, if one does.
pub fn standing(kek: &str, key: Option<KeyId>) -> Option<KmsError> {
    forget_before_reset();
    if FAILURES.with_borrow(HashMap::is_empty) {
        return None;
    }
    standing_for(identity::current(), kek, key)
}

fn standing_for(identity: Identity, kek: &str, key: Option<KeyId>) -> Option<KmsError> {
    let now = clock::monotonic_ms();
    FAILURES.with_borrow(|failures| {
        [None, key].into_iter().find_map(|key| {
            let failure = failures.get(&Subject::new(kek, key, identity))?;
            (now < failure.until).then(|| failure.error.clone())
        })
    })
}

/// Remembers `error`, if it is the KMS's: what is wrong with a wrap or a URI is mended in the
/// catalog, and looked at again at once.
pub fn remember(kek: &str, key: Option<KeyId>, error: &KmsError) {
    forget_before_reset();
    remember_for(identity::current(), kek, key, error);
}

fn remember_for(identity: Identity, kek: &str, key: Option<KeyId>, error: &KmsError) {
    if matches!(error.kind, Kind::InvalidWrap | Kind::BadUri | Kind::NotBuiltIn) {
        return;
    }
    let key = if is_out_of_reach(error.kind) { None } else { key };
    let now = clock::monotonic_ms();
    FAILURES.with_borrow_mut(|failures| {
        let subject = Subject::new(kek, key, identity);
        let delay =
            failures.get(&subject).map_or(FIRST, |failure| (failure.delay * 2).min(LONGEST));
        failures.insert(subject, Failure { error: error.clone(), delay, until: now + delay });
    });
}

/// The KMS answered: what stood for `key` and for the KEK is over.
pub fn forget(kek: &str, key: Option<KeyId>) {
    forget_before_reset();
    if !FAILURES.with_borrow(HashMap::is_empty) {
        forget_for(identity::current(), kek, key);
    }
}

fn forget_for(identity: Identity, kek: &str, key: Option<KeyId>) {
    FAILURES.with_borrow_mut(|failures| {
        failures.remove(&Subject::new(kek, None, identity));
        failures.remove(&Subject::new(kek, key, identity));
    });
}

/// The KEK may be there again at any moment, and another may stand in for it.
pub fn is_out_of_reach(kind: Kind) -> bool {
    matches!(kind, Kind::Unavailable | Kind::Throttled)
}

/// As [`is_out_of_reach`], of any error.
pub fn is_kms_away(error: &Error) -> bool {
    matches!(error, Error::Kms { error, .. } if is_out_of_reach(error.kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(kind: Kind) -> KmsError {
        let (kek, message) = ("k".into(), "m".into());
        KmsError { kind, kek, message, request_id: None, context: None, hint: None }
    }

    fn delay(kek: &str) -> u64 {
        FAILURES.with_borrow(|failures| {
            failures
                .get(&Subject::new(kek, None, Identity::SERVER))
                .map_or(0, |failure| failure.delay)
        })
    }

    #[test]
    fn the_delay_doubles_up_to_its_bound_and_starts_again_after_success() {
        let delays: Vec<u64> = std::iter::repeat_with(|| {
            remember_for(Identity::SERVER, "k", None, &error(Kind::Unavailable));
            delay("k")
        })
        .take(8)
        .collect();
        assert_eq!(delays, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert!(standing_for(Identity::SERVER, "k", None).is_some());
        forget_for(Identity::SERVER, "k", None);
        assert!(standing_for(Identity::SERVER, "k", None).is_none());
        remember_for(Identity::SERVER, "k", None, &error(Kind::Unavailable));
        assert_eq!(delay("k"), 100);
    }

    #[test]
    fn what_the_catalog_mends_is_not_remembered() {
        remember_for(Identity::SERVER, "wrap", None, &error(Kind::InvalidWrap));
        assert!(standing_for(Identity::SERVER, "wrap", None).is_none());
    }

    #[test]
    fn a_kek_out_of_reach_is_so_for_every_key_a_refusal_for_one() {
        let (one, other) = (Some(KeyId([1; 16])), Some(KeyId([2; 16])));
        // Each pause is twice the last: long enough for any machine.
        for _ in 0..6 {
            remember_for(Identity::SERVER, "away", one, &error(Kind::Throttled));
            remember_for(Identity::SERVER, "strict", one, &error(Kind::Denied));
        }
        assert!(standing_for(Identity::SERVER, "away", other).is_some());
        assert!(standing_for(Identity::SERVER, "strict", one).is_some());
        assert!(standing_for(Identity::SERVER, "strict", other).is_none());
        assert!(standing_for(Identity::SERVER, "elsewhere", one).is_none());
        assert!(standing_for(Identity::ANOTHER, "away", one).is_none());
        assert!(standing_for(Identity::ANOTHER, "strict", one).is_none());
    }
}
