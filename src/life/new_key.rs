//! A new data key: drawn by the first of its KEKs, wrapped by each, and every wrap tried. Nothing
//! is locked and nothing is written here.

use envelope::derive;
use envelope::header::KeyId;
use envelope::secret::DataKey;
use envelope::wrap::EncryptionContext;
use uuid::Uuid;

use crate::audit::{self, Action};
use crate::catalog::rows::{self, Purpose, State, WrappedKey};
use crate::catalog::write::events;
use crate::error::{Error, Result};
use crate::kek;
use crate::kms::{Generated, KmsError, Wrap};

/// A KEK that is to wrap a new key, and the encryption context to do it with.
pub struct Under {
    pub kek: kek::Named,
    pub context: EncryptionContext,
}

/// A data key that no catalog has yet.
pub struct NewKey {
    pub key_id: KeyId,
    pub data_key: Box<DataKey>,
    pub wraps: Vec<WrappedKey>,
    /// The KMS's own number of the request that drew it.
    request_id: Option<String>,
}

impl NewKey {
    /// Tells that it is in the catalog now; `reason`: why it takes the place of another.
    pub fn tell(
        &self,
        action: Action,
        purpose: Purpose,
        state: State,
        table: &str,
        keyring_id: Uuid,
        reason: Option<&str>,
    ) -> Result<()> {
        events::tell(action, |event| {
            event.table = Some(table.to_string());
            event.keyring_id = audit::keyring(keyring_id);
            event.key_id = audit::key(self.key_id);
            event.kek = self.wraps.first().map(|wrap| wrap.kek.clone());
            event.kms_request_id = self.request_id.clone();
            let index = (purpose == Purpose::Index).then_some("index key");
            let pending = (state == State::Pending).then_some("pending");
            let kind: Vec<&str> = index.into_iter().chain(pending).collect();
            let kind = (!kind.is_empty()).then(|| kind.join(", "));
            event.detail = match (kind, reason) {
                (Some(kind), Some(reason)) => Some(format!("{kind}: {reason}")),
                (kind, reason) => kind.or_else(|| reason.map(Into::into)),
            };
        })
    }
}

/// The KEKs that wrap `key_id`, for the key of `table` that shall follow it. All of them must be allowed.
pub fn as_for(key_id: KeyId, table: &str) -> Result<Vec<Under>> {
    let under = |wrap: WrappedKey| {
        let kek = kek::named(&wrap.kek).map_err(|error| match error {
            Error::KekNotAllowed(kek) => kek::not_for_sealing(&kek, table.to_string()),
            other => other,
        })?;
        Ok(Under { kek, context: wrap.kms_context })
    };
    rows::wrapped_keys(key_id)?.into_iter().map(under).collect()
}

/// Makes a key for `table`. A KEK that is out of reach is an error: a key that it cannot unwrap
/// would be missing when the others are gone.
pub fn make(under: &[Under], table: &str) -> Result<NewKey> {
    let failed = |error| kek::kms_error(error, format!("make a data key for table {table}"));
    let Some((first, others)) = under.split_first() else {
        return Err(Error::Corrupt(format!("no KEK is left to wrap a data key of table {table}")));
    };
    let generated = first.kek.ask(|provider| provider.generate(&first.context));
    let Generated { data_key, wrap, request_id } = generated.map_err(failed)?;
    let key_id = derive::key_id(&data_key);
    let mut wraps = vec![tried(key_id, first, wrap, table, failed)?];
    for other in others {
        let wrap = other.kek.ask(|provider| provider.wrap(&data_key, &other.context));
        wraps.push(tried(key_id, other, wrap.map_err(failed)?, table, failed)?);
    }
    Ok(NewKey { key_id, data_key, wraps, request_id })
}

/// The wrap as it is to be stored, once its KEK is allowed and it gives the key back. Trying costs
/// a KMS request a wrap; a wrap that does not open would cost every value sealed under the key.
fn tried(
    key_id: KeyId,
    under: &Under,
    wrap: Wrap,
    table: &str,
    failed: impl Fn(KmsError) -> Error,
) -> Result<WrappedKey> {
    under.kek.note_resolved(&wrap.kek);
    let kek = wrap.kek.to_string();
    if !kek::is_allowed(&kek)? {
        return Err(Error::KekNotAllowed(kek));
    }
    let wrap = WrappedKey { kek, kms_context: under.context.clone(), wrapped: wrap.bytes };
    kek::ask(key_id, &wrap, table).map_err(failed)?;
    Ok(wrap)
}
