//! Providers of key-encryption keys (KEKs): what wraps and unwraps data keys.
//!
//! A provider knows neither SQL nor PostgreSQL nor the catalog: bytes and an encryption context go
//! in, a data key or its wrap comes out. The one thing taken from the rest is the wait in
//! [`runtime`], so that a slow KMS can be cancelled like any other wait of a backend.

#[cfg(feature = "kms-aws")]
mod aws;
#[cfg(any(feature = "kms-vault", feature = "kms-kmip", test))]
mod by_server;
mod call;
mod config;
pub mod file;
mod identity;
#[cfg(feature = "kms-kmip")]
mod kmip;
#[cfg(feature = "kms-pkcs11")]
mod pkcs11;
#[cfg(any(feature = "_network", feature = "kms-pkcs11", test))]
mod reply;
#[cfg(any(feature = "_tls", test))]
mod retry;
#[cfg(feature = "_network")]
mod runtime;
#[cfg(any(feature = "_tls", feature = "kms-pkcs11", test))]
mod secret_file;
#[cfg(any(feature = "_network", feature = "kms-pkcs11"))]
mod signals;
#[cfg(feature = "_tls")]
mod tls;
mod uri;
#[cfg(feature = "kms-vault")]
mod vault;

use std::any::Any;

use envelope::secret::DataKey;
use envelope::wrap::EncryptionContext;

pub use crate::error::kms::{Kind, KmsError};

pub use self::call::{failures, requests};
pub use self::config::{AwsSettings, Config, KmipSettings, Limits, Pkcs11Settings, VaultSettings};
pub use self::identity::Identity;
#[cfg(feature = "nodes")]
pub use self::runtime::block_on_node;
pub use self::uri::{Binding, KekUri};

/// A new data key and its first wrap.
pub struct Generated {
    /// The key itself, wiped when dropped.
    pub data_key: Box<DataKey>,
    /// The same key under the KEK.
    pub wrap: Wrap,
    /// The KMS's own number of the request.
    pub request_id: Option<String>,
}

/// A data key that a wrap gave back.
pub struct Unwrapped {
    /// The key itself, wiped when dropped.
    pub data_key: Box<DataKey>,
    /// The KMS's own number of the request.
    pub request_id: Option<String>,
}

/// A data key under a KEK, as the catalog stores it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrap {
    /// The KEK as it must be stored: the provider's own name for it, an alias resolved.
    pub kek: KekUri,
    /// The wrapped key, opaque to everyone but the provider.
    pub bytes: Vec<u8>,
}

/// One KEK and what can be done with it. Each call is at most one KMS operation, two for a default
/// [`Self::rewrap`].
///
/// Every call may unwind out of the wait with a PostgreSQL error (cancel, terminate): whoever calls
/// holds no lock of ours. The statement's own, on the row that an UPDATE changes, are held.
pub trait Provider: Any {
    /// Draws a new data key and wraps it under this KEK and `context`.
    ///
    /// # Errors
    /// The KEK's or the KMS's refusal, as a [`KmsError`].
    fn generate(&self, context: &EncryptionContext) -> Result<Generated, KmsError>;

    /// Wraps a key that exists already: another KEK's, or an index key.
    ///
    /// # Errors
    /// As [`Self::generate`].
    fn wrap(&self, data_key: &DataKey, context: &EncryptionContext) -> Result<Wrap, KmsError>;

    /// Gives the data key back. `context` must be the one it was wrapped with.
    ///
    /// # Errors
    /// As [`Self::generate`]; [`Kind::InvalidWrap`] when the wrap, the KEK and the context do not
    /// belong together.
    fn unwrap(&self, wrapped: &[u8], context: &EncryptionContext) -> Result<Unwrapped, KmsError>;

    /// Moves a wrap of this KEK under the KEK of `to`. A provider that can keep the key inside the
    /// KMS overrides this.
    ///
    /// # Errors
    /// As [`Self::unwrap`] and [`Self::wrap`].
    fn rewrap(
        &self,
        wrapped: &[u8],
        context: &EncryptionContext,
        to: &dyn Provider,
        to_context: &EncryptionContext,
    ) -> Result<Wrap, KmsError> {
        unwrap_and_wrap(self, wrapped, context, to, to_context)
    }

    /// Is the KEK there, enabled and of the right sort? Answers with its name as it must be stored.
    ///
    /// # Errors
    /// What stands against using it, as a [`KmsError`].
    fn check(&self) -> Result<KekUri, KmsError>;

    /// Looks at the KEK itself, as far as the KMS shows it: what an administrator is to be warned of in
    /// one that can serve. What is known of it from earlier is seen anew.
    ///
    /// # Errors
    /// Why it cannot serve, as a [`KmsError`].
    fn examine(&self) -> Result<Vec<String>, KmsError> {
        Ok(Vec::new())
    }

    /// What the KMS has recorded of the KEK's use, in words; `None` where it records nothing, or does not tell. Nothing
    /// depends on it.
    fn record(&self) -> Option<String> {
        None
    }

    /// The provider itself, so that another of its kind can find out that it talks to its like.
    #[allow(dead_code, reason = "for providers, which a build may leave out")]
    fn as_any(&self) -> &dyn Any;
}

/// The schemes of KEKs that this build can use.
pub fn built_in() -> Vec<&'static str> {
    [
        ("file", true),
        ("aws-kms", cfg!(feature = "kms-aws")),
        ("vault", cfg!(feature = "kms-vault")),
        ("pkcs11", cfg!(feature = "kms-pkcs11")),
        ("kmip", cfg!(feature = "kms-kmip")),
    ]
    .into_iter()
    .filter_map(|(scheme, is_in)| is_in.then_some(scheme))
    .collect()
}

/// Moves a wrap from one KEK to another by way of this process.
fn unwrap_and_wrap(
    from: &(impl Provider + ?Sized),
    wrapped: &[u8],
    context: &EncryptionContext,
    to: &dyn Provider,
    to_context: &EncryptionContext,
) -> Result<Wrap, KmsError> {
    to.wrap(&from.unwrap(wrapped, context)?.data_key, to_context)
}

/// The provider for `kek`. Nothing is opened or sent yet.
///
/// # Errors
/// [`Kind::BadUri`] when a setting in `config` cannot be read; [`Kind::NotBuiltIn`] when this build
/// has no such provider.
#[allow(unused_variables, reason = "a build without providers")]
pub fn provider(kek: &KekUri, config: &Config) -> Result<Box<dyn Provider>, KmsError> {
    Ok(match kek {
        KekUri::File(path) => Box::new(file::FileProvider::new(path)?),
        #[cfg(feature = "kms-aws")]
        KekUri::Aws(key) => Box::new(aws::AwsProvider::new(key, config)?),
        #[cfg(not(feature = "kms-aws"))]
        KekUri::Aws(_) => return Err(not_built_in(kek, "kms-aws")),
        #[cfg(feature = "kms-vault")]
        KekUri::Vault(key) => Box::new(vault::VaultProvider::new(key, config)?),
        #[cfg(not(feature = "kms-vault"))]
        KekUri::Vault(_) => return Err(not_built_in(kek, "kms-vault")),
        #[cfg(feature = "kms-pkcs11")]
        KekUri::Pkcs11(key) => Box::new(pkcs11::Pkcs11Provider::new(key, config)?),
        #[cfg(not(feature = "kms-pkcs11"))]
        KekUri::Pkcs11(_) => return Err(not_built_in(kek, "kms-pkcs11")),
        #[cfg(feature = "kms-kmip")]
        KekUri::Kmip(key) => Box::new(kmip::KmipProvider::new(key, config)?),
        #[cfg(not(feature = "kms-kmip"))]
        KekUri::Kmip(_) => return Err(not_built_in(kek, "kms-kmip")),
    })
}

/// Ends what this process keeps running for its KMS clients, without waiting for it.
pub fn shutdown() {
    #[cfg(feature = "_network")]
    runtime::shutdown();
    #[cfg(feature = "kms-pkcs11")]
    pkcs11::shutdown();
}

/// A KEK whose provider was left out of this build.
#[allow(dead_code, reason = "a build with all providers")]
fn not_built_in(kek: &KekUri, feature: &str) -> KmsError {
    let message = format!("this library was built without cargo feature {feature}");
    KmsError::new(Kind::NotBuiltIn, kek, message).with_hint(format!(
        "Install a build that has it: make install FEATURES=\"{feature} ...\". What is under this KEK alone does \
         not open until then."
    ))
}

/// Which provider is in this build, by what [`provider`] answers.
#[cfg(any(test, feature = "pg_test"))]
pub mod built_in {
    use super::*;

    /// KEKs, and the feature that each needs.
    const KEKS: [(&str, &str, bool); 4] = [
        ("aws-kms://alias/a", "kms-aws", cfg!(feature = "kms-aws")),
        ("vault://h/transit/keys/a", "kms-vault", cfg!(feature = "kms-vault")),
        ("pkcs11:token=t;object=o", "kms-pkcs11", cfg!(feature = "kms-pkcs11")),
        ("kmip://h/1", "kms-kmip", cfg!(feature = "kms-kmip")),
    ];

    /// The features that are in and told as left out, and those that are left out and not told so by name.
    pub fn mistold() -> Vec<&'static str> {
        let is_mistold = |(uri, feature, is_in): &(&str, &'static str, bool)| {
            let made = uri.parse().and_then(|kek| provider(&kek, &Config::default()));
            let left_out = made.err().filter(|error| error.kind == Kind::NotBuiltIn);
            match left_out {
                None => !is_in,
                Some(error) => *is_in || !error.message.contains(feature),
            }
        };
        KEKS.into_iter().filter(is_mistold).map(|(_, feature, _)| feature).collect()
    }

    // A build with a provider that waits is of the server: it is asked there (`crate::tests`).
    #[cfg(all(test, not(any(feature = "_network", feature = "kms-pkcs11"))))]
    #[test]
    fn a_provider_that_was_left_out_is_told_by_its_feature() {
        assert!(mistold().is_empty(), "{:?}", mistold());
    }
}
