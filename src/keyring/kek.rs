//! Which KEK wraps a new data key, and which KEKs may wrap at all.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;

use crate::catalog::rows;
use crate::error::{Error, Result};
use crate::keyring::identity::{self, Identity};
use crate::kms::{self, KekUri, KmsError, Provider};
use crate::pg::{acl, clock, report};
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
    let parsed: KekUri = uri.parse().map_err(|error| kms_error(error, "use a KEK".into()))?;
    let text = parsed.to_string();
    let mut allowed = is_allowed(&text)?;
    if !allowed && is_alias(&text) && may_be_looked_up(&text) {
        allowed = match resolved(&text)? {
            Some(key) => is_allowed(&key)?,
            None => false,
        };
    }
    if !allowed {
        return Err(Error::KekNotAllowed(text));
    }
    Ok(Named { provider: provider(&parsed)?, uri: parsed })
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

    /// As it stands in the catalog; an alias or a bare key id is asked for at the KMS.
    pub fn stored_uri(&self) -> Result<String> {
        if self.uri.is_stored_form() {
            return Ok(self.uri());
        }
        resolved(&self.uri())?.ok_or_else(|| Error::KekNotAllowed(self.uri()))
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
    let parsed: KekUri = uri.parse().map_err(|error| kms_error(error, "use a KEK".into()))?;
    if parsed.is_stored_form() {
        return Ok(parsed.to_string());
    }
    Err(Error::BadArgument(format!("KEK {parsed} must be named as envelope.keys shows it")))
}

/// What reaches the KEK `uri`, allowed or not: what was sealed under it must open.
pub fn provider(uri: &KekUri) -> Result<Box<dyn Provider>> {
    kms::provider(uri, &settings::kms()).map_err(|error| kms_error(error, "use a KEK".into()))
}

/// Whether `envelope.allowed_keks` lets the KEK `uri` wrap data keys. Unset, it lets in
/// `envelope.default_kek` and the files of `envelope.file_kek_directory`. An alias among the
/// patterns also lets in the key it stands for, which the KMS is asked once in
/// `envelope.cache_ttl`.
pub fn is_allowed(uri: &str) -> Result<bool> {
    let patterns = settings::allowed_keks().unwrap_or_else(default_patterns);
    if patterns.iter().any(|pattern| matches(pattern, uri)) {
        return Ok(true);
    }
    for alias in patterns.iter().filter(|pattern| is_alias(pattern)) {
        if resolved(alias)?.as_deref() == Some(uri) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn default_patterns() -> Vec<String> {
    let files = format!("file://{}/*", settings::file_kek_directory());
    settings::default_kek().into_iter().chain([files]).collect()
}

fn is_alias(pattern: &str) -> bool {
    pattern.starts_with("aws-kms://") && pattern.contains("alias/") && !pattern.contains('*')
}

/// The URI of the key that an alias stands for; `None` when the text is no KEK URI.
fn resolved(alias: &str) -> Result<Option<String>> {
    let now = clock::monotonic_ms();
    let known = ALIASES.with_borrow(|aliases| {
        let asked = (identity::current(), alias.to_string());
        let resolved = aliases.get(&asked).filter(|resolved| now < resolved.until)?;
        Some(resolved.key.clone())
    });
    if known.is_some() {
        return Ok(known);
    }
    let Ok(uri) = alias.parse::<KekUri>() else { return Ok(None) };
    let key = provider(&uri)?
        .check()
        .map_err(|error| kms_error(error, format!("resolve {alias}")))?
        .to_string();
    note_alias(alias.to_string(), key.clone());
    Ok(Some(key))
}

fn note_alias(alias: String, key: String) {
    let until = clock::monotonic_ms() + settings::cache_limits().ttl_ms;
    ALIASES.with_borrow_mut(|aliases| {
        aliases.insert((identity::current(), alias), Resolved { key, until })
    });
}

/// A KMS error with what it was for.
pub fn kms_error(error: KmsError, failed: String) -> Error {
    Error::Kms { failed, error: Box::new(error) }
}

/// Whether `text` is `pattern`, where `*` stands for any characters.
fn matches(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut pieces = pieces.peekable();
    if pieces.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            return rest.ends_with(piece);
        }
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns() {
        for (pattern, text, expected) in [
            ("file:///k/a", "file:///k/a", true),
            ("file:///k/a", "file:///k/ab", false),
            ("file:///k/*", "file:///k/a", true),
            ("file:///k/*", "file:///j/a", false),
            ("aws-kms://arn:aws:kms:*:123:key/*", "aws-kms://arn:aws:kms:eu:123:key/1", true),
            ("aws-kms://arn:aws:kms:*:123:key/*", "aws-kms://arn:aws:kms:eu:124:key/1", false),
            ("*a*b", "xaxbxb", true),
            ("*a*b", "xaxbx", false),
            ("ab*ab", "ab", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
