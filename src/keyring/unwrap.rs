//! From a wrapped key in the catalog to an unwrapped one in the cache.

use envelope::header::KeyId;
use envelope::secret::DataKey;

use crate::catalog::rows::{self, WrappedKey};
use crate::error::{Error, Result};
use crate::keyring::table::Table;
use crate::keyring::{cache, failures, fallover, kek};
use crate::kms::{self, KekUri, Kind, KmsError};
use crate::pg::clock;
use crate::settings;

/// Makes `key_id` usable for `table`: unwraps and keeps it. While every KEK is out of reach, a key
/// that is still in memory goes on within `envelope.cache_max_stale`; one that the KMS refuses is
/// wiped at once.
pub fn into_cache(key_id: KeyId, table: &Table) -> Result<()> {
    let row = cache::row(key_id)?.ok_or(Error::UnknownKey(key_id))?;
    let wraps = rows::wrapped_keys(key_id)?;
    let error = match unwrap(key_id, &wraps) {
        Ok(Some(data_key)) => return cache::insert(row, &data_key, None),
        Ok(None) => {
            return Err(Error::Corrupt(format!(
                "data key {key_id} of table {} has no wrapped key",
                table.name()
            )));
        }
        Err(error) => error,
    };
    if failures::is_out_of_reach(error.kind) {
        if cache::serve_stale(key_id, clock::monotonic_ms() + STALE_LEASE) {
            return Ok(());
        }
    } else {
        cache::wipe(key_id);
    }
    Err(kek::kms_error(error, format!("unwrap data key {key_id} of table {}", table.name())))
}

/// Milliseconds for which a stale key is used before the KMS is asked again.
const STALE_LEASE: u64 = 1_000;

/// Tries the wraps in their order; `None` when there is none. A KEK out of reach lets the
/// next be tried, one that refuses does not.
fn unwrap(
    key_id: KeyId,
    wraps: &[WrappedKey],
) -> std::result::Result<Option<Box<DataKey>>, KmsError> {
    let mut away = None;
    for wrap in wraps {
        match unwrap_one(key_id, wrap) {
            Ok(data_key) => {
                if let Some(error) = &away {
                    fallover::note(error, &wrap.kek);
                }
                return Ok(Some(data_key));
            }
            Err(error) if failures::is_out_of_reach(error.kind) => away = Some(error),
            Err(error) => return Err(error),
        }
    }
    away.map_or(Ok(None), Err)
}

fn unwrap_one(key_id: KeyId, wrap: &WrappedKey) -> std::result::Result<Box<DataKey>, KmsError> {
    if let Some(error) = failures::standing(&wrap.kek, Some(key_id)) {
        return Err(error);
    }
    match ask(key_id, wrap) {
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

/// The data key behind `wrap`, past the cache; an error when it is another than `key_id`.
pub fn ask(key_id: KeyId, wrap: &WrappedKey) -> std::result::Result<Box<DataKey>, KmsError> {
    let uri: KekUri = wrap.kek.parse()?;
    let provider = kms::provider(&uri, &settings::kms())?;
    let data_key = provider.unwrap(&wrap.wrapped, &wrap.kms_context)?;
    if envelope::derive::key_id(&data_key) == key_id {
        Ok(data_key)
    } else {
        Err(KmsError {
            kind: Kind::InvalidWrap,
            kek: wrap.kek.clone(),
            message: "unwrapped another data key than the one stored".into(),
            request_id: None,
            hint: Some("The wrapped key in the catalog was changed or swapped.".into()),
        })
    }
}
