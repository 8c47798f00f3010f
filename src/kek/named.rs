//! Which KEK wraps a new data key: the one that was named, or the settings'.

use std::path::Path;

use super::alias::{is_alias, not_resolved, note_alias, resolved};
use super::allowed::is_allowed;
use super::provider::{self, KmsResult, unusable};
use super::{failures, kms_error};
use crate::catalog::rows;
use crate::error::{Error, Result};
use crate::kms::{self, KekUri, Provider};
use crate::pg::{acl, report};
use crate::settings;

/// A KEK that was named and may be used.
pub struct Named {
    uri: KekUri,
    provider: Box<dyn Provider>,
}

/// The KEK with that URI: 22023 when it is none, 42501 when `envelope.allowed_keks` leaves it out.
///
/// An alias of a key that is allowed is allowed, too. Only for who may name any KEK is the KMS asked
/// what an alias stands for: its answer would tell others which aliases there are.
pub fn named(uri: &str) -> Result<Named> {
    let uri = parsed(uri)?;
    require_allowed(&uri)?;
    reached(uri)
}

/// The URI of a KEK; 22023 when it is none.
pub fn parsed(uri: &str) -> Result<KekUri> {
    uri.parse().map_err(unusable)
}

/// 42501 when `envelope.allowed_keks` leaves the KEK out.
pub fn require_allowed(uri: &KekUri) -> Result<()> {
    let text = uri.to_string();
    let mut allowed = is_allowed(&text)?;
    if !allowed && is_alias(&text) && may_be_looked_up(&text) {
        allowed = is_allowed(&resolved(&text).map_err(|error| not_resolved(&text, error))?)?;
    }
    if allowed { Ok(()) } else { Err(Error::KekNotAllowed(text)) }
}

/// A KEK that may be used, by what the settings say of its provider.
pub fn reached(uri: KekUri) -> Result<Named> {
    Ok(Named { provider: provider::named(&uri)?, uri })
}

/// The KEK for a keyring that names none: `envelope.default_kek`, or a key file made on first use.
/// Once data keys are wrapped by a KMS no key file is made.
pub fn default() -> Result<Named> {
    if let Some(uri) = settings::default_kek() {
        return named(&uri);
    }
    if rows::any_kek_beyond_files()? {
        return Err(Error::NoDefaultKek);
    }
    let directory = settings::file_kek_directory();
    let failed = |error| kms_error(error, "make a key file".into());
    let uri = kms::file::default_uri(Path::new(&directory)).map_err(failed)?;
    if rows::any_under_kek(&uri.to_string())? {
        // It was here once. A new file in its place would be a second KEK under the same name.
        return named(&uri.to_string());
    }
    let (uri, created) = kms::file::create_default(Path::new(&directory)).map_err(failed)?;
    if created {
        report::warning(
            format!("created key file {uri} to wrap data keys"),
            "A key file is for development and tests. For production set envelope.default_kek \
             to a key of your KMS. Back the file up: without it no value opens.",
        );
    }
    named(&uri.to_string())
}

/// Whether it was a superuser who named it, now or in the settings.
fn may_be_looked_up(alias: &str) -> bool {
    acl::is_superuser() || settings::default_kek().as_deref() == Some(alias)
}

impl Named {
    /// As it was named.
    pub fn uri(&self) -> String {
        self.uri.to_string()
    }

    /// What reaches it.
    pub fn provider(&self) -> &dyn Provider {
        self.provider.as_ref()
    }

    /// What it answers, unless it was out of reach a moment ago.
    pub fn ask<T>(&self, ask: impl FnOnce(&dyn Provider) -> KmsResult<T>) -> KmsResult<T> {
        let uri = self.uri();
        if let Some(error) = failures::standing(&uri, None) {
            return Err(error);
        }
        let answer = ask(self.provider());
        match &answer {
            Ok(_) => failures::forget(&uri, None),
            Err(error) if failures::is_out_of_reach(error.kind) => {
                failures::remember(&uri, None, error);
            }
            Err(_) => {}
        }
        answer
    }

    /// As it stands in the catalog; an alias or a bare key id is asked for at the KMS.
    pub fn stored_uri(&self) -> Result<String> {
        if self.uri.is_stored_form() {
            return Ok(self.uri());
        }
        resolved(&self.uri()).map_err(|error| not_resolved(&self.uri(), error))
    }

    /// The KMS answered that this KEK is the one to be stored as `resolved`.
    pub fn note_resolved(&self, resolved: &KekUri) {
        if self.uri != *resolved {
            note_alias(self.uri(), resolved.to_string());
        }
    }
}

/// A KEK by which keys are wrapped already, as it stands in the catalog: 22023 for an alias, which
/// may stand for another one by now.
pub fn as_stored(uri: &str) -> Result<String> {
    let parsed = parsed(uri)?;
    if parsed.is_stored_form() {
        return Ok(parsed.to_string());
    }
    Err(Error::BadArgument(format!("KEK {parsed} must be named as envelope.keys shows it")))
}
