//! What KMS aliases stand for.

use std::cell::RefCell;
use std::collections::HashMap;

use super::kms_error;
use super::provider::{self, KmsResult};
use crate::error::Error;
use crate::error::kms::KmsError;
use crate::figures::Operation;
use crate::kms::KekUri;
use crate::memory::identity::{self, Identity};
use crate::pg::clock;
use crate::settings;

thread_local! {
    /// What KMS aliases stand for, as the KMS last said in this backend to one who asked: an alias is
    /// looked up in the account of that one.
    static ALIASES: RefCell<HashMap<(Identity, String), Resolved>> = RefCell::new(HashMap::new());
}

/// What an alias stood for, and until when that counts.
struct Resolved {
    key: String,
    until: u64,
}

/// Whether a text, which may also be a pattern of KEKs' names or none at all, is an alias.
pub fn is_alias(text: &str) -> bool {
    text.parse::<KekUri>().is_ok_and(|kek| kek.is_alias())
}

/// The URI of the key that an alias stands for.
pub fn resolved(alias: &str) -> KmsResult<String> {
    let now = clock::monotonic_ms();
    let known = ALIASES.with_borrow(|aliases| {
        let asked = (identity::current(), alias.to_string());
        let resolved = aliases.get(&asked).filter(|resolved| now < resolved.until)?;
        Some(resolved.key.clone())
    });
    known.map_or_else(|| resolve_now(alias), Ok)
}

/// As [`resolved`], as the KMS says now.
pub fn resolve_now(alias: &str) -> KmsResult<String> {
    let uri: KekUri = alias.parse()?;
    let key = provider::to(&uri, Operation::Describe)?.check()?.to_string();
    note_alias(alias.to_string(), key.clone());
    Ok(key)
}

pub fn not_resolved(alias: &str, error: KmsError) -> Error {
    kms_error(error, format!("resolve {alias}"))
}

pub fn note_alias(alias: String, key: String) {
    let until = clock::monotonic_ms() + settings::cache_limits().ttl_ms;
    ALIASES.with_borrow_mut(|aliases| {
        aliases.insert((identity::current(), alias), Resolved { key, until })
    });
}
