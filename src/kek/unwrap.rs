//! From a wrapped key in the catalog to an unwrapped one in the cache: by a lease, where the server's backends share
//! what the KMS has answered, else by asking the KMS.
//!
//! While a backend asks for others as well, it takes no lock, runs no query and reads no catalog: one who waits for it
//! may hold what it would wait for, and nobody would see that as a deadlock. So all that it needs is read before, and
//! all that it tells is told after.

use std::cell::RefCell;
use std::time::Instant;

use envelope::derive;
use envelope::header::KeyId;
use envelope::secret::DataKey;
use envelope::wrap::EncryptionContext;

use super::provider::{self, KmsResult, kms_error};
use super::shared::{Shared, is_denial};
use super::{failures, fallover};
use crate::audit::{self, Action};
use crate::catalog::rows::{self, DataKeyRow, WrappedKey};
use crate::error::{Error, Result};
use crate::figures::{self, Operation};
use crate::keyring::table::Table;
use crate::keyring::{self, without_wraps};
use crate::kms::{Kind, KmsError, Provider, Unwrapped};
use crate::memory::cache;
use crate::memory::leases::{self, Asking, Found, Lease, Taken};
use crate::pg::clock;

/// Milliseconds for which a stale key is used before the KMS is asked again; also a lease whose next one nobody gets.
const STALE_LEASE: u64 = 1_000;

/// Makes `key_id` usable for `table`: finds its lease, or unwraps it, and keeps it. While every KEK is out of reach, a
/// key that is still in memory goes on within `envelope.cache_max_stale`; one that the KMS refuses is wiped at once.
pub fn into_cache(key_id: KeyId, table: &Table) -> Result<()> {
    let mut waiting = None;
    loop {
        match attempt(key_id, table, &mut waiting)? {
            Then::Done => return Ok(()),
            // Keys may have been taken out of use meanwhile. A commit takes leases away before it tells of what it changed:
            // what is read anew is there.
            Then::Again => {
                keyring::catch_up();
                keyring::look_again();
            }
        }
    }
}

/// What comes after an attempt.
enum Then {
    Done,
    /// Another backend that asked for the key was waited for. All is looked at anew.
    Again,
}

/// As [`into_cache`], up to where another backend was waited for: since `waiting`.
fn attempt(key_id: KeyId, table: &Table, waiting: &mut Option<Instant>) -> Result<Then> {
    // Before the catalog is read: what is taken away from here on is not shared again by what is read now.
    let as_of = leases::as_of(key_id);
    let row = cache::row(key_id)?.ok_or(Error::UnknownKey(key_id))?;
    let shared = as_of.map_or(Ok(None), |as_of| Shared::new(row, as_of))?;
    if let Some(shared) = &shared {
        let found = shared.find()?;
        shared.note_lookup(matches!(found, Found::Ready(_)));
        if let Found::Ready(lease) = found
            && !lease.is_due()
        {
            return shared.keep(&lease, 0).map(|()| Then::Done);
        }
    }
    let wraps = Wraps::read(row)?;
    let table = table.name();
    if wraps.readable.is_empty() {
        return Err(wraps.unreadable.map_or_else(|| without_wraps(key_id, table), Ok)?);
    }
    let outcome = match shared {
        Some(shared) if !rows::is_any_wrap_of_own_writing(key_id)? => {
            wraps.together(&shared, waiting)
        }
        _ => wraps.alone(None),
    };
    // A cancel may end the telling: all else is in its place by then.
    wraps.tell(&table);
    let error = match outcome? {
        Ok(then) => return Ok(then),
        Err(error) => error,
    };
    if failures::is_out_of_reach(error.kind) {
        if cache::serve_stale(key_id, clock::monotonic_ms() + STALE_LEASE) {
            return Ok(Then::Done);
        }
    } else {
        cache::wipe(key_id);
    }
    Err(kms_error(error, format!("unwrap data key {key_id} of table {table}")))
}

fn done((): ()) -> KmsResult<Then> {
    Ok(Then::Done)
}

/// What a KMS gave.
pub struct Answer {
    pub data_key: Box<DataKey>,
    /// The KEK that it came by.
    pub kek: String,
}

/// The wraps of a key, with all that it takes to ask for it, and what was asked.
struct Wraps {
    row: DataKeyRow,
    readable: Vec<WrappedKey>,
    /// What is wrong with one that is not.
    unreadable: Option<Error>,
    /// Who holds the KEK of each.
    providers: Vec<KmsResult<Box<dyn Provider>>>,
    told: RefCell<Told>,
}

/// What is told once nobody waits any more.
#[derive(Default)]
struct Told {
    /// By which KEK the key was unwrapped, and the KMS's number of the request.
    unwraps: Vec<(String, Option<String>)>,
    /// A KEK that was away, and the one that gave the key in its place.
    fallover: Option<(KmsError, String)>,
}

impl Wraps {
    fn read(row: DataKeyRow) -> Result<Wraps> {
        let (mut readable, mut unreadable) = (Vec::new(), None);
        for (_, wrap) in rows::each_wrapped_key(row.key_id)? {
            match wrap {
                Ok(wrap) => readable.push(wrap),
                Err(error) => unreadable = Some(error),
            }
        }
        let providers = readable.iter().map(provider_of).collect();
        Ok(Wraps { row, readable, unreadable, providers, told: RefCell::default() })
    }

    /// Asks for this backend alone. What the KMS refuses is everybody's news all the same, where the key is `shared`.
    fn alone(&self, shared: Option<&Shared>) -> Result<KmsResult<Then>> {
        match self.ask(shared) {
            Ok(answer) => cache::insert(self.row, &answer.data_key, None).map(done),
            Err(error) => {
                if let Some(shared) = shared.filter(|_| is_denial(&error)) {
                    shared.revoke();
                }
                Ok(Err(error))
            }
        }
    }

    /// Finds the key's lease, waits for the one who asks for it, or asks for all.
    fn together(&self, shared: &Shared, waiting: &mut Option<Instant>) -> Result<KmsResult<Then>> {
        let lease = match shared.find()? {
            Found::Ready(lease) if !lease.is_due() || self.standing(shared).is_some() => {
                return shared.keep(&lease, STALE_LEASE).map(done);
            }
            Found::Ready(lease) => Some(lease),
            Found::Asked | Found::Nothing if let Some(error) = self.standing(shared) => {
                return Ok(Err(error));
            }
            Found::Asked => {
                let since = *waiting.get_or_insert_with(Instant::now);
                let is_over = shared.wait(since, self.readable.len());
                let late = || shared.not_in_time(&self.readable);
                return Ok(is_over.then_some(Then::Again).ok_or_else(late));
            }
            Found::Nothing => None,
        };
        match shared.take(self.readable.len(), waiting.is_some()) {
            Taken::No => Ok(Ok(Then::Again)),
            Taken::Full => self.alone(Some(shared)),
            Taken::Yes(asking) => self.for_all(shared, asking, lease.as_ref()),
        }
    }

    /// Asks for all who wait, or for the lease that follows `lease`.
    fn for_all(
        &self,
        shared: &Shared,
        asking: Asking,
        lease: Option<&Lease>,
    ) -> Result<KmsResult<Then>> {
        let answer = self.ask(Some(shared));
        match (answer, lease) {
            (Ok(answer), _) => match shared.ready(asking, &answer)? {
                Some(bounds) => {
                    cache::insert_leased(self.row, &answer.data_key, bounds, true).map(done)
                }
                None => cache::insert(self.row, &answer.data_key, None).map(done),
            },
            (Err(error), _) if is_denial(&error) => {
                shared.revoke();
                Ok(Err(error))
            }
            // It has yet some time, and the KMS may be there again before that is over.
            (Err(_), Some(lease)) => {
                drop(asking);
                shared.keep(lease, STALE_LEASE).map(done)
            }
            (Err(error), None) => Ok(Err(error)),
        }
    }

    /// What every KEK of the key was found to be a moment ago, here or by another backend; `None` when there is one that
    /// is worth asking.
    fn standing(&self, shared: &Shared) -> Option<KmsError> {
        let answer = fallover::first_in_reach(&self.readable, |wrap| {
            self.refused(wrap, Some(shared)).map_or(Ok(()), Err)
        });
        answer?.err()
    }

    fn refused(&self, wrap: &WrappedKey, shared: Option<&Shared>) -> Option<KmsError> {
        failures::standing(&wrap.kek, Some(self.row.key_id))
            .or_else(|| shared.and_then(|shared| shared.standing(wrap)))
    }

    /// Tries the wraps in their order. A KEK out of reach lets the next be tried, one that refuses does not.
    fn ask(&self, shared: Option<&Shared>) -> KmsResult<Answer> {
        let unwrapped = fallover::first_in_reach(&self.readable, |wrap| {
            self.ask_one(wrap, shared).map(|data_key| (data_key, &wrap.kek))
        });
        let none = || Err(KmsError::new(Kind::InvalidWrap, "", "no wrap of the key is left"));
        let ((data_key, kek), away) = unwrapped.unwrap_or_else(none)?;
        self.told.borrow_mut().fallover = away.map(|error| (error, kek.clone()));
        Ok(Answer { data_key, kek: kek.clone() })
    }

    fn ask_one(&self, wrap: &WrappedKey, shared: Option<&Shared>) -> KmsResult<Box<DataKey>> {
        let key_id = self.row.key_id;
        if let Some(error) = self.refused(wrap, shared) {
            return Err(error);
        }
        let begun = Instant::now();
        match self.unwrap(wrap) {
            Ok(data_key) => {
                failures::forget(&wrap.kek, Some(key_id));
                fallover::is_back(&wrap.kek);
                if let Some(shared) = shared {
                    shared.forgive(wrap);
                }
                Ok(data_key)
            }
            Err(error) => {
                failures::remember(&wrap.kek, Some(key_id), &error);
                if let Some(shared) = shared {
                    shared.remember(wrap, &error, begun.elapsed());
                }
                Err(error)
            }
        }
    }

    fn unwrap(&self, wrap: &WrappedKey) -> KmsResult<Box<DataKey>> {
        let held = self.readable.iter().zip(&self.providers).find(|(known, _)| *known == wrap);
        let ask = || match held {
            Some((_, Ok(provider))) => provider.unwrap(&wrap.wrapped, &wrap.kms_context),
            Some((_, Err(error))) => provider::unasked(&wrap.kek, Operation::Unwrap, error.clone()),
            None => Err(KmsError::new(Kind::InvalidWrap, &wrap.kek, "an unknown wrap")),
        };
        let Unwrapped { data_key, request_id } = figures::kms_request(self.row.key_id, ask)?;
        let unwrap = (wrap.kek.clone(), request_id.clone());
        self.told.borrow_mut().unwraps.push(unwrap);
        same_key(self.row.key_id, wrap, data_key, request_id)
    }

    /// Tells the audit and the client what happened. Nobody waits any more.
    fn tell(&self, table: &str) {
        let Told { unwraps, fallover } = self.told.take();
        for (kek, request_id) in unwraps {
            tell_unwrap(self.row.key_id, &kek, request_id, table);
        }
        if let Some((error, kek)) = fallover {
            figures::fell_over(self.row.key_id);
            fallover::note(&error, &kek);
        }
    }
}

/// The data key behind `wrap`, past the cache; an error when it is another than `key_id`. `table`
/// is for the audit.
pub fn ask(key_id: KeyId, wrap: &WrappedKey, table: &str) -> KmsResult<Box<DataKey>> {
    let ask = || {
        let provider = provider::to(&wrap.kek.parse()?, Operation::Unwrap)?;
        provider.unwrap(&wrap.wrapped, &wrap.kms_context)
    };
    let Unwrapped { data_key, request_id } = figures::kms_request(key_id, ask)?;
    tell_unwrap(key_id, &wrap.kek, request_id.clone(), table);
    same_key(key_id, wrap, data_key, request_id)
}

fn tell_unwrap(key_id: KeyId, kek: &str, request_id: Option<String>, table: &str) {
    audit::log(Action::Unwrap, |event| {
        event.table = Some(table.to_string());
        event.key_id = audit::key(key_id);
        event.kek = Some(kek.to_string());
        event.kms_request_id = request_id;
    });
}

/// `data_key`, which `wrap` gave, if it is the one that the catalog says.
fn same_key(
    key_id: KeyId,
    wrap: &WrappedKey,
    data_key: Box<DataKey>,
    request_id: Option<String>,
) -> KmsResult<Box<DataKey>> {
    if derive::key_id(&data_key) == key_id {
        return Ok(data_key);
    }
    Err(KmsError {
        kind: Kind::InvalidWrap,
        kek: wrap.kek.as_str().into(),
        message: "unwrapped another data key than the one stored".into(),
        request_id,
        context: None,
        hint: Some("The wrapped key in the catalog was changed or swapped.".into()),
    })
}

/// The key of `wrap` under another KEK, as the KMS behind that gives it back. Where one KMS holds
/// both KEKs, the key does not leave it.
pub fn wrap_again(
    key_id: KeyId,
    wrap: &WrappedKey,
    to: &dyn Provider,
    context: &EncryptionContext,
    table: &str,
) -> KmsResult<WrappedKey> {
    let from = provider::to(&wrap.kek.parse()?, Operation::Rewrap)?;
    let new = from.rewrap(&wrap.wrapped, &wrap.kms_context, to, context)?;
    let (kek, kms_context) = (new.kek.to_string(), context.clone());
    let new = WrappedKey { kek, kms_context, wrapped: new.bytes };
    ask(key_id, &new, table)?;
    Ok(new)
}

/// What the KMS has recorded of a KEK that is stored under that name, if it tells.
pub fn record(kek: &str) -> Option<String> {
    provider::of(&kek.parse().ok()?).ok()?.record()
}

/// Who holds the KEK of `wrap`.
fn provider_of(wrap: &WrappedKey) -> KmsResult<Box<dyn Provider>> {
    provider::of(&wrap.kek.parse()?)
}
