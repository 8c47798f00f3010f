//! From a wrapped key in the catalog to an unwrapped one in the cache.

use envelope::header::KeyId;
use envelope::secret::DataKey;

use crate::catalog::rows::{self, WrappedKey};
use crate::error::{Error, Result};
use crate::keyring::table::Table;
use crate::keyring::{cache, kek};
use crate::kms::{KekUri, Kind, KmsError};

/// Unwraps `key_id` for `table` and keeps it.
pub fn into_cache(key_id: KeyId, table: &Table) -> Result<()> {
    let row = cache::row(key_id)?.ok_or(Error::UnknownKey(key_id))?;
    let data_key = unwrap(key_id, &rows::wrapped_keys(key_id)?, &table.name())?;
    cache::insert(row, &data_key, None)
}

/// Tries the wraps in the catalog's order. An unavailable or throttled KEK lets the next be tried;
/// one that refuses does not.
fn unwrap(key_id: KeyId, wraps: &[WrappedKey], table: &str) -> Result<Box<DataKey>> {
    let mut last = None;
    for wrap in wraps {
        match unwrap_one(key_id, wrap) {
            Ok(data_key) => return Ok(data_key),
            Err(error) => {
                let try_next = matches!(error.kind, Kind::Unavailable | Kind::Throttled);
                last = Some(kek::kms_error(error, failed(key_id, table)));
                if !try_next {
                    break;
                }
            }
        }
    }
    Err(last.unwrap_or_else(|| {
        Error::Corrupt(format!("data key {key_id} of table {table} has no wrapped key"))
    }))
}

fn unwrap_one(key_id: KeyId, wrap: &WrappedKey) -> std::result::Result<Box<DataKey>, KmsError> {
    let uri: KekUri = wrap.kek.parse()?;
    let provider = crate::kms::provider(&uri, &crate::settings::kms())?;
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

fn failed(key_id: KeyId, table: &str) -> String {
    format!("unwrap data key {key_id} of table {table}")
}
