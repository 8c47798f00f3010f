//! What reaches a KEK, by the settings and for whoever asks now.

use crate::error::kms::KmsError;
use crate::error::{Error, Result};
use crate::kms::{self, Config, KekUri, Provider};
use crate::memory::identity;
use crate::pg::acl;
use crate::settings;

/// What a KMS gives.
pub type KmsResult<T> = std::result::Result<T, KmsError>;

/// The provider of `kek`, allowed or not: what was sealed under it must open.
pub fn of(kek: &KekUri) -> KmsResult<Box<dyn Provider>> {
    kms::provider(
        kek,
        &Config {
            aws_region: settings::aws_region(),
            aws_endpoint_url: settings::aws_endpoint_url(),
            aws_role: identity::assumed_by(acl::current_role()),
            timeout: settings::kms_timeout(),
            max_attempts: settings::kms_max_attempts(),
        },
    )
}

/// As [`of`], of a KEK that somebody named.
pub fn named(kek: &KekUri) -> Result<Box<dyn Provider>> {
    of(kek).map_err(|error| kms_error(error, "use a KEK".into()))
}

/// A KMS error with what it was for.
pub fn kms_error(error: KmsError, failed: String) -> Error {
    Error::Kms { failed, error: Box::new(error) }
}
