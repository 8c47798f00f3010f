//! What reaches a KEK, by the settings and for whoever asks now.

use std::path::Path;
use std::time::Duration;

use envelope::lease;

use crate::error::kms::{Kind, KmsError};
use crate::error::{Error, Result};
use crate::figures::{self, Operation};
use crate::kms::{
    self, AwsSettings, Config, KekUri, KmipSettings, Limits, Pkcs11Settings, Provider,
    VaultSettings,
};
use crate::memory::identity;
use crate::pg::{acl, guc};
use crate::settings;

/// What a KMS gives.
pub type KmsResult<T> = std::result::Result<T, KmsError>;

/// The provider of `kek`, allowed or not: what was sealed under it must open.
pub fn of(kek: &KekUri) -> KmsResult<Box<dyn Provider>> {
    kms::provider(kek, &config())
}

/// As [`of`], to have `operation` done: where nothing can be asked, for want of a setting, that counts as what came of it.
pub fn to(kek: &KekUri, operation: Operation) -> KmsResult<Box<dyn Provider>> {
    of(kek).or_else(|error| unasked(&kek.to_string(), operation, error))
}

/// As [`to`], each operation within `timeout`.
pub fn of_within(
    kek: &KekUri,
    timeout: Duration,
    operation: Operation,
) -> KmsResult<Box<dyn Provider>> {
    let mut config = config();
    config.limits.timeout = timeout;
    kms::provider(kek, &config).or_else(|error| unasked(&kek.to_string(), operation, error))
}

/// As [`of`], of a KEK that somebody named.
pub fn named(kek: &KekUri) -> Result<Box<dyn Provider>> {
    to(kek, Operation::Describe).map_err(unusable)
}

/// Counts an operation on `kek` that came to `error` before anything was asked.
pub fn unasked<T>(kek: &str, operation: Operation, error: KmsError) -> KmsResult<T> {
    figures::kms_operation(|| kek.to_string(), operation, || Err(error))
}

/// What stands for all that a KMS decides by but the KEK and the wrap: as whom it is asked now, and by which settings.
/// Who differs in any of them is answered for himself.
pub fn way() -> [u8; lease::NAME_LEN] {
    lease::name(&Config { limits: Limits::default(), ..config() })
}

fn config() -> Config {
    use settings::kms::*;
    Config {
        limits: Limits {
            timeout: settings::kms_timeout(),
            max_attempts: settings::kms_max_attempts(),
        },
        identity: identity::of(acl::current_role()),
        aws: AwsSettings { region: AWS_REGION.get(), endpoint_url: AWS_ENDPOINT_URL.get() },
        vault: VaultSettings {
            auth: VAULT_AUTH.get(),
            auth_mount: VAULT_AUTH_MOUNT.get(),
            namespace: VAULT_NAMESPACE.get(),
            token_file: VAULT_TOKEN_FILE.get(),
            role_id: VAULT_ROLE_ID.get(),
            secret_id_file: VAULT_SECRET_ID_FILE.get(),
            jwt_file: VAULT_JWT_FILE.get(),
            client_cert_file: VAULT_CLIENT_CERT_FILE.get(),
            client_key_file: VAULT_CLIENT_KEY_FILE.get(),
            ca_file: VAULT_CA_FILE.get(),
        },
        pkcs11: Pkcs11Settings {
            module: PKCS11_MODULE.get(),
            pin_file: PKCS11_PIN_FILE.get(),
            token_chooses_iv: pkcs11_token_chooses_iv(),
            remembered_in: Path::new(&guc::data_directory()).join("pg_stat_tmp"),
        },
        kmip: KmipSettings {
            ca_file: KMIP_CA_FILE.get(),
            client_cert_file: KMIP_CLIENT_CERT_FILE.get(),
            client_key_file: KMIP_CLIENT_KEY_FILE.get(),
        },
    }
}

/// A KMS error of a KEK that cannot be used, whatever for.
pub fn unusable(error: KmsError) -> Error {
    kms_error(error, String::new())
}

/// A KMS error with what it was for.
pub fn kms_error(error: KmsError, failed: String) -> Error {
    let is_about_who = matches!(error.kind, Kind::Denied | Kind::Credentials);
    let identity = is_about_who.then(|| identity::of(acl::current_role())).flatten();
    let asked_as = identity.and_then(|it| it.shown_for(&error.kek)).map(Into::into);
    Error::Kms { failed, error: Box::new(error), asked_as }
}
