//! Which KEK unwraps in the place of one that is out of reach, and who is told of it.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;

use super::failures;
use super::provider::KmsResult;
use super::weaker::binding;
use crate::catalog::rows::WrappedKey;
use crate::kms::{KekUri, Kind, KmsError};
use crate::pg::report;
use crate::settings;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
    /// KEKs that were told of and have not answered since.
    static TOLD: RefCell<HashSet<String>> = RefCell::new(HashSet::new());
}

/// What `work` gives for the first of `wraps` whose KEK is in reach, and the error of one before it
/// that is not; `None` when there are no wraps. A KEK that refuses is not passed over. One that this build has no provider
/// for is: nobody was asked, and nobody has refused. What `work` could not do for want of another KEK, it could not
/// do by the next wrap either.
///
/// Nor does a KEK step in that binds less than one out of reach, unless
/// `envelope.fallover_to_weaker` lets it: who cuts the server off from its KMS would get rid of the
/// KMS's policy and of its log.
pub fn first_in_reach<'a, T>(
    wraps: &'a [WrappedKey],
    work: impl Fn(&'a WrappedKey) -> KmsResult<T>,
) -> Option<KmsResult<(T, Option<KmsError>)>> {
    let mut away: Vec<KmsError> = Vec::new();
    let mut not_built_in = None;
    let mut strongest = None;
    let mut is_passed_over = false;
    for wrap in wraps {
        let binding = binding(&wrap.kek);
        if binding < strongest && !settings::kms::fallover_to_weaker() {
            is_passed_over = true;
            continue;
        }
        match work(wrap) {
            Ok(done) => return Some(Ok((done, away.pop().or(not_built_in)))),
            Err(error) if !is_of(&error, wrap) => return Some(Err(error)),
            Err(error) if failures::is_out_of_reach(error.kind) => {
                strongest = strongest.max(binding);
                away.push(error);
            }
            Err(error) if error.kind == Kind::NotBuiltIn => {
                strongest = strongest.max(binding);
                not_built_in.get_or_insert(error);
            }
            Err(error) => return Some(Err(error)),
        }
    }
    if is_passed_over {
        let first = away.into_iter().next().or(not_built_in)?;
        return Some(Err(first.with_more_hint(
            "Another KEK wraps the key as well, but its KMS does not decide by the encryption context, nor log \
             it. To use it all the same, a superuser can set envelope.fallover_to_weaker.",
        )));
    }
    away.pop().or(not_built_in).map(Err)
}

/// Whether `error` is of the wrap's own KEK, and not of one that `work` asks for something else.
fn is_of(error: &KmsError, wrap: &WrappedKey) -> bool {
    let shown = || wrap.kek.parse::<KekUri>().map(|kek| kek.to_string());
    *error.kek == *wrap.kek || shown().is_ok_and(|shown| *error.kek == *shown)
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

#[cfg(test)]
mod tests {
    use envelope::wrap::EncryptionContext;

    use super::*;

    /// Who unwraps, or whose error it is, of KEKs that answer so.
    fn first(keks: &[(&str, Option<Kind>)]) -> Option<std::result::Result<String, (Kind, String)>> {
        let wraps: Vec<WrappedKey> = keks
            .iter()
            .map(|(kek, _)| WrappedKey {
                kek: (*kek).to_owned(),
                kms_context: EncryptionContext::default(),
                wrapped: Vec::new(),
            })
            .collect();
        let found = first_in_reach(&wraps, |wrap| {
            let said = keks.iter().find(|(kek, _)| *kek == wrap.kek).and_then(|(_, said)| *said);
            said.map_or_else(
                || Ok(wrap.kek.clone()),
                |kind| Err(KmsError::new(kind, &wrap.kek, "no")),
            )
        });
        found.map(|found| found.map(|(kek, _)| kek).map_err(|error| (error.kind, error.kek.into())))
    }

    #[test]
    fn what_another_kek_did_not_do_is_not_asked_of_the_next() {
        let (one, other, new) = ("pkcs11:token=t;object=o", "kmip://h/1", "kmip://h/2");
        let wraps = [one, other].map(|kek| WrappedKey {
            kek: kek.to_owned(),
            kms_context: EncryptionContext::default(),
            wrapped: Vec::new(),
        });
        let asked = Cell::new(0);
        let found = first_in_reach::<()>(&wraps, |_| {
            asked.set(asked.get() + 1);
            Err(KmsError::new(Kind::Unavailable, new, "no"))
        });
        assert!(found.is_some_and(|found| found.is_err_and(|error| *error.kek == *new)));
        assert_eq!(asked.get(), 1);
    }

    #[test]
    fn what_this_build_lacks_is_passed_over_and_what_refuses_is_not() {
        let (kmip, token, vault) = ("kmip://h/1", "pkcs11:token=t;object=o", "vault://h/t/keys/a");
        let (lacks, away, denied) = (Kind::NotBuiltIn, Kind::Unavailable, Kind::Denied);
        let by = |kek: &str| Some(Ok(kek.to_owned()));
        let fails = |kind: Kind, kek: &str| Some(Err((kind, kek.to_owned())));
        for (keks, expected) in [
            (&[(kmip, Some(lacks)), (token, None)][..], by(token)),
            (&[(kmip, Some(lacks)), (vault, None)], by(vault)),
            (&[(kmip, Some(lacks)), (token, Some(away)), (vault, None)], by(vault)),
            (&[(kmip, Some(denied)), (token, None)], fails(denied, kmip)),
            (&[(kmip, Some(lacks)), (token, Some(denied)), (vault, None)], fails(denied, token)),
            (&[(kmip, Some(lacks))], fails(lacks, kmip)),
            (&[(kmip, Some(lacks)), (token, Some(lacks))], fails(lacks, kmip)),
            // A key that is still in memory may bridge this one.
            (&[(kmip, Some(away)), (token, Some(lacks))], fails(away, kmip)),
            // It binds less.
            (&[(vault, Some(lacks)), (token, None)], fails(lacks, vault)),
            (&[(vault, Some(away)), (token, None)], fails(away, vault)),
            (&[], None),
        ] {
            assert_eq!(first(keks), expected, "{keks:?}");
        }
    }
}
