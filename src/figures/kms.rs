//! What this process has asked of KMSs.

use std::cell::RefCell;
use std::time::Instant;

use crate::error::kms::{Kind, KmsError};
use crate::figures::latency::Latency;
use crate::figures::shared;
use crate::pg::clock;

/// What a KMS was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// To make a data key.
    Generate,
    /// To wrap one that exists.
    Wrap,
    /// To unwrap one.
    Unwrap,
    /// To move a wrap from one KEK to another, the same or not.
    Rewrap,
    /// To describe the KEK.
    Describe,
}

/// What came of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    Ok,
    Denied,
    Credentials,
    KeyState,
    Throttled,
    Unavailable,
    InvalidWrap,
    BadUri,
    NotBuiltIn,
    /// Whoever asked did not wait for the answer.
    Cancelled,
}

impl Operation {
    pub(super) const ALL: [Operation; 5] = [
        Operation::Generate,
        Operation::Wrap,
        Operation::Unwrap,
        Operation::Rewrap,
        Operation::Describe,
    ];

    /// As SQL shows it.
    pub fn shown(self) -> &'static str {
        match self {
            Operation::Generate => "generate",
            Operation::Wrap => "wrap",
            Operation::Unwrap => "unwrap",
            Operation::Rewrap => "rewrap",
            Operation::Describe => "describe",
        }
    }

    pub(super) fn numbered(number: u32) -> Option<Operation> {
        Operation::ALL.into_iter().find(|one| *one as u32 == number)
    }
}

impl Outcome {
    pub(super) const ALL: [Outcome; 10] = [
        Outcome::Ok,
        Outcome::Denied,
        Outcome::Credentials,
        Outcome::KeyState,
        Outcome::Throttled,
        Outcome::Unavailable,
        Outcome::InvalidWrap,
        Outcome::BadUri,
        Outcome::NotBuiltIn,
        Outcome::Cancelled,
    ];

    /// As SQL shows it.
    pub fn shown(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::Denied => "denied",
            Outcome::Credentials => "credentials",
            Outcome::KeyState => "key_state",
            Outcome::Throttled => "throttled",
            Outcome::Unavailable => "unavailable",
            Outcome::InvalidWrap => "invalid_wrap",
            Outcome::BadUri => "bad_uri",
            Outcome::NotBuiltIn => "not_built_in",
            Outcome::Cancelled => "cancelled",
        }
    }

    pub(super) fn numbered(number: u32) -> Option<Outcome> {
        Outcome::ALL.into_iter().find(|one| *one as u32 == number)
    }
}

impl From<Kind> for Outcome {
    fn from(kind: Kind) -> Outcome {
        match kind {
            Kind::BadUri => Outcome::BadUri,
            Kind::NotBuiltIn => Outcome::NotBuiltIn,
            Kind::Denied => Outcome::Denied,
            Kind::Credentials => Outcome::Credentials,
            Kind::KeyState => Outcome::KeyState,
            Kind::Throttled => Outcome::Throttled,
            Kind::Unavailable => Outcome::Unavailable,
            Kind::InvalidWrap => Outcome::InvalidWrap,
        }
    }
}

/// What one KEK was asked and answered.
pub(super) struct Of {
    pub kek: Box<str>,
    pub operation: Operation,
    pub outcome: Outcome,
    /// Since it was last added up.
    pub latency: Latency,
    /// PostgreSQL's microseconds.
    pub last_at: i64,
}

thread_local! {
    /// A process has few KEKs.
    static ASKED: RefCell<Vec<Of>> = const { RefCell::new(Vec::new()) };
    /// What is asked now: one at a time. Known here, since a process that is terminated does not unwind.
    static ASKING: RefCell<Option<Asked>> = const { RefCell::new(None) };
}

/// Does `work`, which is one operation on `kek`, and counts it, also when it unwinds out of its wait.
pub fn kms_operation<T>(
    kek: impl FnOnce() -> String,
    operation: Operation,
    work: impl FnOnce() -> Result<T, KmsError>,
) -> Result<T, KmsError> {
    let asked = Asked { kek: kek(), operation, outcome: Outcome::Cancelled, since: Instant::now() };
    ASKING.set(Some(asked));
    let _asking = Asking;
    let answer = work();
    ASKING.with_borrow_mut(|asked| {
        if let Some(asked) = asked {
            let outcome = answer.as_ref().map_or_else(|error| error.kind.into(), |_| Outcome::Ok);
            asked.outcome = outcome;
        }
    });
    answer
}

/// The process ends without an answer to what it asks.
pub(super) fn leave() {
    drop(Asking);
}

/// An operation that began.
struct Asked {
    kek: String,
    operation: Operation,
    outcome: Outcome,
    since: Instant,
}

/// Counts what is asked now, when it is dropped: a cancel unwinds.
struct Asking;

impl Drop for Asking {
    fn drop(&mut self) {
        if let Some(asked) = ASKING.take() {
            asked.count();
        }
    }
}

impl Asked {
    fn count(mut self) {
        let took = self.since.elapsed();
        let (operation, outcome) = (self.operation, self.outcome);
        ASKED.with_borrow_mut(|asked| {
            let known = asked.iter().position(|known| {
                (known.operation, known.outcome) == (operation, outcome) && *known.kek == self.kek
            });
            let at = known.unwrap_or_else(|| {
                let kek = std::mem::take(&mut self.kek).into();
                asked.push(Of { kek, operation, outcome, latency: Latency::NONE, last_at: 0 });
                asked.len() - 1
            });
            if let Some(known) = asked.get_mut(at) {
                known.latency.note(took);
                known.last_at = clock::now_us();
            }
        });
        shared::something_is_new();
    }
}

/// What of `kek` this process itself has seen: for each operation and outcome, when that was last.
pub(super) fn own(kek: &str) -> Vec<shared::Seen> {
    ASKED.with_borrow(|asked| {
        let of_kek = asked.iter().filter(|known| *known.kek == *kek);
        of_kek
            .map(|known| shared::Seen {
                operation: known.operation,
                outcome: known.outcome,
                at: known.last_at,
            })
            .collect()
    })
}

/// Calls `add` with what has come since it was last called.
pub(super) fn add_to(mut add: impl FnMut(&Of)) {
    ASKED.with_borrow_mut(|asked| {
        for of in asked.iter_mut().filter(|of| of.latency.count > 0) {
            add(of);
            of.latency = Latency::NONE;
        }
    });
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    #[test]
    fn numbers_are_as_they_were_given() {
        for operation in Operation::ALL {
            assert_eq!(Operation::numbered(operation as u32), Some(operation));
        }
        for outcome in Outcome::ALL {
            assert_eq!(Outcome::numbered(outcome as u32), Some(outcome));
        }
        assert_eq!((Operation::numbered(5), Outcome::numbered(10)), (None, None));
    }

    #[test]
    fn what_unwinds_was_cancelled() {
        let ask = |answer: fn() -> Result<(), KmsError>| {
            let _ = catch_unwind(|| kms_operation(|| "k".into(), Operation::Unwrap, answer));
        };
        ask(|| Ok(()));
        ask(|| Err(KmsError::new(Kind::Denied, "k", "m")));
        ask(|| std::panic::resume_unwind(Box::new(())));
        ask(|| Ok(()));
        let mut counted = Vec::new();
        add_to(|of| counted.push((of.outcome, of.latency.count)));
        assert_eq!(counted, [(Outcome::Ok, 2), (Outcome::Denied, 1), (Outcome::Cancelled, 1)]);
        add_to(|of| counted.push((of.outcome, of.latency.count)));
        assert_eq!(counted.len(), 3, "counted twice");
        assert_eq!(own("k").len(), 3);
        assert!(own("other").is_empty());
    }
}
