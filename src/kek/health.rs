//! How each KEK in use is: by what was seen of it last, or by asking it now.

use std::time::{Duration, Instant};

use envelope::derive;
use envelope::header::KeyId;

use super::allowed::is_allowed;
use super::check::trial_context;
use super::provider::{self, KmsResult};
use crate::audit::{self, Action};
use crate::catalog::rows::{self, KekInUse, WrappedKey};
use crate::error::Result;
use crate::figures::{self, Operation, Outcome, Seen};
use crate::kms::{KekUri, Kind, KmsError, Provider};
use crate::pg::clock;
use crate::settings;

/// How a KEK is. `None`: not known.
pub struct Health {
    pub kek: String,
    /// Data keys that it wraps.
    pub keys: usize,
    /// Its KMS answers, whatever it says; `None` also where it was not asked, for want of credentials or of settings.
    pub reachable: Option<bool>,
    /// It unwraps a data key.
    pub unwraps: Option<bool>,
    /// It would make one.
    pub makes_keys: Option<bool>,
    /// In PostgreSQL's microseconds.
    pub last_success: Option<i64>,
    /// When, and what was the matter.
    pub last_failure: Option<(i64, Outcome)>,
    /// It was asked just now.
    pub was_asked: bool,
}

/// A row for each KEK that wraps a data key of this database, and for `envelope.default_kek`. Of a KMS that fails it
/// says so and raises nothing. All questions together take `envelope.kms_timeout` at most.
pub fn health(ask: bool) -> Result<Vec<Health>> {
    settings::check_unplanted()?;
    let keks = keks()?;
    let until = Instant::now() + settings::kms_timeout();
    let mut left = u32::try_from(keks.len()).unwrap_or(u32::MAX);
    let mut all = Vec::with_capacity(keks.len());
    for kek in keks {
        let mut health = Health::seen(&kek);
        if ask {
            let share = until.saturating_duration_since(Instant::now()) / left.max(1);
            health.ask(&kek, Instant::now() + share)?;
        }
        left = left.saturating_sub(1);
        all.push(health);
    }
    Ok(all)
}

/// In the order of their names.
fn keks() -> Result<Vec<KekInUse>> {
    let mut keks = rows::keks_in_use()?;
    // By its alias, where that is how it is set: keys are made by that name.
    if let Some(default) = settings::default_kek()
        && let Err(at) = keks.binary_search_by(|known| known.kek.cmp(&default))
    {
        keks.insert(at, KekInUse { kek: default, keys: 0, key_id: None });
    }
    Ok(keks)
}

impl Health {
    /// By what processes have seen of it.
    fn seen(kek: &KekInUse) -> Health {
        let seen = figures::seen(&kek.kek);
        let is_ok = |seen: &Seen| seen.outcome == Outcome::Ok;
        // What was not waited for says nothing of the KEK, and what this build lacks nothing of the KMS.
        let says = |seen: &&Seen| !matches!(seen.outcome, Outcome::Cancelled | Outcome::NotBuiltIn);
        let last = |of: &dyn Fn(&Seen) -> bool| {
            let last = seen.iter().filter(says).filter(|seen| of(seen)).max_by_key(|seen| seen.at);
            last.copied()
        };
        Health {
            kek: kek.kek.clone(),
            keys: kek.keys,
            reachable: last(&|_| true).and_then(|seen| match seen.outcome {
                Outcome::Unavailable => Some(false),
                // Either need no answer of a KMS.
                Outcome::BadUri | Outcome::Credentials => None,
                _ => Some(true),
            }),
            // A wrap that does not open is the catalog's fault.
            unwraps: last(&|seen| {
                seen.operation == Operation::Unwrap && seen.outcome != Outcome::InvalidWrap
            })
            .as_ref()
            .map(is_ok),
            makes_keys: last(&|seen| seen.operation == Operation::Generate).as_ref().map(is_ok),
            last_success: last(&is_ok).map(|seen| seen.at),
            last_failure: last(&|seen| !is_ok(seen)).map(|seen| (seen.at, seen.outcome)),
            was_asked: false,
        }
    }

    /// By asking it, until `until`. A data key of its own is unwrapped, and one is made for nobody.
    fn ask(&mut self, kek: &KekInUse, until: Instant) -> Result<()> {
        self.was_asked = true;
        let wrap = wrap_of(kek)?;
        let mut asked = Asked { until, reachable: None, is_hopeless: false, failed: None };
        let context =
            wrap.as_ref().map_or_else(trial_context, |(_, wrap)| wrap.kms_context.clone());
        self.unwraps = wrap.as_ref().map(|(key_id, wrap)| {
            asked.is_well(kek, Operation::Unwrap, |provider| {
                let unwrapped = figures::kms_request(*key_id, || {
                    provider.unwrap(&wrap.wrapped, &wrap.kms_context)
                })?;
                audit::log(Action::Check, |event| {
                    event.key_id = audit::key(*key_id);
                    event.kek = Some(kek.kek.clone());
                    event.kms_request_id = unwrapped.request_id.clone();
                });
                match derive::key_id(&unwrapped.data_key) == *key_id {
                    true => Ok(()),
                    false => Err(another_key(kek)),
                }
            })
        });
        // What may not wrap new keys makes none, and is not asked to.
        let mut made = None;
        self.makes_keys = Some(
            !asked.is_hopeless
                && is_allowed(&kek.kek).unwrap_or(false)
                && asked.is_well(kek, Operation::Generate, |provider| {
                    made = Some(provider.generate(&context)?);
                    Ok(())
                }),
        );
        if let (None, Some(made)) = (&wrap, made) {
            self.unwraps = Some(asked.is_well(kek, Operation::Unwrap, |provider| {
                let unwrapped = provider.unwrap(&made.wrap.bytes, &context)?;
                match derive::key_id(&unwrapped.data_key) == derive::key_id(&made.data_key) {
                    true => Ok(()),
                    false => Err(another_key(kek)),
                }
            }));
        }
        self.reachable = asked.reachable;
        if let Some(kind) = asked.failed {
            self.last_failure = Some((clock::now_us(), kind.into()));
        }
        if self.unwraps == Some(true) || self.makes_keys == Some(true) {
            self.last_success = Some(clock::now_us());
        }
        Ok(())
    }
}

/// What came of the questions to one KEK.
struct Asked {
    until: Instant,
    /// Whether it answered.
    reachable: Option<bool>,
    /// It gave no answer, or cannot be asked at all: it is not asked again.
    is_hopeless: bool,
    /// The last failure.
    failed: Option<Kind>,
}

impl Asked {
    fn is_well(
        &mut self,
        kek: &KekInUse,
        operation: Operation,
        question: impl FnOnce(&dyn Provider) -> KmsResult<()>,
    ) -> bool {
        if self.is_hopeless {
            return false;
        }
        let limit = limit(self.until.saturating_duration_since(Instant::now()));
        let answer = kek.kek.parse::<KekUri>().and_then(|uri| {
            let provider = provider::of_within(&uri, limit, operation)?;
            question(provider.as_ref())
        });
        let Err(error) = answer else {
            self.reachable = Some(true);
            return true;
        };
        match error.kind {
            Kind::Unavailable => {
                self.reachable = Some(false);
                self.is_hopeless = true;
            }
            Kind::NotBuiltIn => self.is_hopeless = true,
            // Found to be missing or wrong here, unless it was the KMS that said so.
            Kind::BadUri | Kind::Credentials if error.request_id.is_none() => {}
            _ => self.reachable = Some(true),
        }
        self.failed = Some(error.kind);
        audit::refused(&provider::unusable(error));
        false
    }
}

fn another_key(kek: &KekInUse) -> KmsError {
    KmsError::new(Kind::InvalidWrap, &kek.kek, "unwrapped another data key than was wrapped")
}

/// By this part of the whole time a question may take longer than there is time: what went before it has taken some, on
/// a busy machine more.
const SLACK: u32 = 20;

/// How long a question may take while there is so much time: few different times, for each has a client of its own.
fn limit(left: Duration) -> Duration {
    let whole = settings::kms_timeout();
    let shares = (0..6).map(|halved| whole / (1 << halved));
    shares.into_iter().find(|share| *share <= left + whole / SLACK).unwrap_or(whole / 64)
}

/// A data key that the KEK wraps, of those that can be read.
fn wrap_of(kek: &KekInUse) -> Result<Option<(KeyId, WrappedKey)>> {
    let Some(key_id) = kek.key_id else { return Ok(None) };
    let wraps = rows::each_wrapped_key(key_id)?;
    let wraps = wraps.into_iter().filter_map(|(_, wrap)| wrap.ok());
    Ok(wraps.into_iter().find(|wrap| wrap.kek == kek.kek).map(|wrap| (key_id, wrap)))
}
