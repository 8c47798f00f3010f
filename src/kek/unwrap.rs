//! From a wrapped key in the catalog to an unwrapped one in the cache.

use envelope::header::KeyId;
use envelope::secret::DataKey;
use envelope::wrap::EncryptionContext;

use super::provider::{self, KmsResult, kms_error};
use super::{failures, fallover};
use crate::audit::{self, Action};
use crate::catalog::rows::{self, WrappedKey};
use crate::error::{Error, Result};
use crate::keyring::table::Table;
use crate::keyring::without_wraps;
use crate::kms::{Kind, KmsError, Provider, Unwrapped};
use crate::memory::cache;
use crate::pg::clock;

/// Makes `key_id` usable for `table`: unwraps and keeps it. While every KEK is out of reach, a key
/// that is still in memory goes on within `envelope.cache_max_stale`; one that the KMS refuses is
/// wiped at once.
pub fn into_cache(key_id: KeyId, table: &Table) -> Result<()> {
    let row = cache::row(key_id)?.ok_or(Error::UnknownKey(key_id))?;
    let mut wraps = Vec::new();
    let mut unreadable = None;
    for (_, wrap) in rows::each_wrapped_key(key_id)? {
        match wrap {
            Ok(wrap) => wraps.push(wrap),
            Err(error) => unreadable = Some(error),
        }
    }
    let table = table.name();
    let error = match unwrap(key_id, &wraps, &table) {
        Ok(Some(data_key)) => return cache::insert(row, &data_key, None),
        Ok(None) => return Err(unreadable.map_or_else(|| without_wraps(key_id, table), Ok)?),
        Err(error) => error,
    };
    if failures::is_out_of_reach(error.kind) {
        if cache::serve_stale(key_id, clock::monotonic_ms() + STALE_LEASE) {
            return Ok(());
        }
    } else {
        cache::wipe(key_id);
    }
    Err(kms_error(error, format!("unwrap data key {key_id} of table {table}")))
}

/// Milliseconds for which a stale key is used before the KMS is asked again.
const STALE_LEASE: u64 = 1_000;

/// Tries the wraps in their order; `None` when there is none. A KEK out of reach lets the
/// next be tried, one that refuses does not.
fn unwrap(key_id: KeyId, wraps: &[WrappedKey], table: &str) -> KmsResult<Option<Box<DataKey>>> {
    let unwrapped = fallover::first_in_reach(wraps, |wrap| {
        unwrap_one(key_id, wrap, table).map(|data_key| (data_key, &wrap.kek))
    });
    let Some(unwrapped) = unwrapped else { return Ok(None) };
    let ((data_key, kek), away) = unwrapped?;
    if let Some(error) = &away {
        fallover::note(error, kek);
    }
    Ok(Some(data_key))
}

fn unwrap_one(key_id: KeyId, wrap: &WrappedKey, table: &str) -> KmsResult<Box<DataKey>> {
    if let Some(error) = failures::standing(&wrap.kek, Some(key_id)) {
        return Err(error);
    }
    match ask(key_id, wrap, table) {
        Ok(data_key) => {
            failures::forget(&wrap.kek, Some(key_id));
            fallover::is_back(&wrap.kek);
            Ok(data_key)
        }
        Err(error) => {
            failures::remember(&wrap.kek, Some(key_id), &error);
            Err(error)
        }
    }
}

/// The data key behind `wrap`, past the cache; an error when it is another than `key_id`. `table`
/// is for the audit.
pub fn ask(key_id: KeyId, wrap: &WrappedKey, table: &str) -> KmsResult<Box<DataKey>> {
    let provider = provider_of(wrap)?;
    let Unwrapped { data_key, request_id } = provider.unwrap(&wrap.wrapped, &wrap.kms_context)?;
    audit::log(Action::Unwrap, |event| {
        event.table = Some(table.to_string());
        event.key_id = audit::key(key_id);
        event.kek = Some(wrap.kek.clone());
        event.kms_request_id = request_id.clone();
    });
    if envelope::derive::key_id(&data_key) == key_id {
        Ok(data_key)
    } else {
        Err(KmsError {
            kind: Kind::InvalidWrap,
            kek: wrap.kek.as_str().into(),
            message: "unwrapped another data key than the one stored".into(),
            request_id,
            context: None,
            hint: Some("The wrapped key in the catalog was changed or swapped.".into()),
        })
    }
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
    let new = provider_of(wrap)?.rewrap(&wrap.wrapped, &wrap.kms_context, to, context)?;
    let (kek, kms_context) = (new.kek.to_string(), context.clone());
    let new = WrappedKey { kek, kms_context, wrapped: new.bytes };
    ask(key_id, &new, table)?;
    Ok(new)
}

/// Who holds the KEK of `wrap`.
fn provider_of(wrap: &WrappedKey) -> KmsResult<Box<dyn Provider>> {
    provider::of(&wrap.kek.parse()?)
}
