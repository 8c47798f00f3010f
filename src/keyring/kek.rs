//! Which KEK wraps a new data key, and which KEKs may wrap at all.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;

use crate::catalog::rows;
use crate::error::{Error, Result};
use crate::keyring::identity::{self, Identity};
use crate::kms::{self, KekUri, Kind, KmsError, Provider};
use crate::pg::{acl, clock, report};
use crate::settings;

type KmsResult<T> = std::result::Result<T, KmsError>;

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
        allowed = is_allowed(&resolved(&text).map_err(|error| not_resolved(&text, error))?)?;
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
/// `envelope.default_kek`, the files of `envelope.file_kek_directory`, and what wraps an active key here
/// already, if that is a key file as it must be: after a move or a restore the files are where they
/// were. An alias among the patterns also lets in the key it stands for, which the KMS is asked once in
/// `envelope.cache_ttl`.
pub fn is_allowed(uri: &str) -> Result<bool> {
    let let_in = is_let_in(uri, resolved);
    if let_in.map_err(|Unresolved { alias, error }| not_resolved(&alias, *error))? {
        return Ok(true);
    }
    let Some(file) = file_by_default(uri) else { return Ok(false) };
    // The catalog first: nobody learns of other files by naming them.
    if !rows::any_active_under_kek(uri)? {
        return Ok(false);
    }
    require_fit(&file, "use a key file".into()).map(|()| true)
}

/// An error unless the KEK `uri`, which wraps the active key of `table`, is allowed to: whoever holds
/// it could read what is sealed. `resolve` says what aliases stand for.
pub fn require_sealing(
    uri: &str,
    table: impl Fn() -> String,
    resolve: impl FnMut(&str) -> KmsResult<String>,
) -> Result<()> {
    match is_let_in(uri, resolve) {
        Ok(true) => return Ok(()),
        Ok(false) => {}
        Err(Unresolved { alias, error }) => {
            let by = format!(
                "resolve {alias}, by which {} allows the KEK of table {}",
                setting(),
                table()
            );
            let is_refused = matches!(error.kind, Kind::KeyState | Kind::Denied);
            let to_go_on = format!(
                "To go on without the alias, name {uri} itself in {}, or move the table's keys to \
                 another KEK: envelope.rewrap.",
                setting()
            );
            let error = if is_refused { error.with_more_hint(&to_go_on) } else { *error };
            return Err(kms_error(error, by));
        }
    }
    match file_by_default(uri) {
        Some(file) => require_fit(&file, format!("seal values of table {}", table())),
        None => Err(not_for_sealing(uri, table())),
    }
}

/// The KEK `uri` wraps the active key of `table`, and is not allowed to.
pub fn not_for_sealing(uri: &str, table: String) -> Error {
    Error::SealingKekNotAllowed { kek: uri.to_string(), table, setting: setting() }
}

/// `envelope.default_kek`, if it is set, and whether new keys may be made under it. Whether the KMS would
/// make them is not asked, but what an alias stands for is.
pub fn require_default(
    mut resolve: impl FnMut(&str) -> KmsResult<String>,
) -> Option<(String, Result<()>)> {
    let uri = settings::default_kek()?;
    let is_as_named = patterns().iter().any(|pattern| matches(pattern, &uri));
    let mut checked = || {
        let parsed = uri.parse::<KekUri>();
        parsed.map_err(|error| kms_error(error, "use the KEK of envelope.default_kek".into()))?;
        let (key, shown) = if is_alias(&uri) {
            match resolve(&uri) {
                Ok(key) => (key.clone(), format!("{uri}, which stands for {key},")),
                // No right to look it up: nor is there a need, where both are named.
                Err(error)
                    if error.kind == Kind::Denied
                        && is_as_named
                        && settings::allowed_keks().is_some() =>
                {
                    return Ok(());
                }
                Err(error) => {
                    return Err(kms_error(error, format!("resolve {uri} of envelope.default_kek")));
                }
            }
        } else {
            (uri.clone(), uri.clone())
        };
        match is_let_in(&key, &mut resolve) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::DefaultKekNotAllowed(shown)),
            Err(Unresolved { alias, error }) => Err(not_resolved(&alias, *error)),
        }
    };
    let outcome = checked();
    Some((uri, outcome))
}

/// The setting that decides which KEKs are allowed.
fn setting() -> &'static str {
    match settings::allowed_keks() {
        Some(_) => "envelope.allowed_keks",
        None => "envelope.default_kek",
    }
}

/// What the settings say, aliases resolved. One that cannot be is an error if it might have been the one.
fn is_let_in(
    uri: &str,
    mut resolve: impl FnMut(&str) -> KmsResult<String>,
) -> std::result::Result<bool, Unresolved> {
    let patterns = patterns();
    if patterns.iter().any(|pattern| matches(pattern, uri)) {
        return Ok(true);
    }
    let is_of_aws = uri.starts_with("aws-kms:");
    let mut unresolved = None;
    for alias in patterns.into_iter().filter(|pattern| is_of_aws && is_alias(pattern)) {
        if alias.parse::<KekUri>().is_err() {
            continue;
        }
        match resolve(&alias) {
            Ok(key) if key == uri => return Ok(true),
            Ok(_) => {}
            Err(error) => unresolved = Some(Unresolved { alias, error: Box::new(error) }),
        }
    }
    unresolved.map_or(Ok(false), Err)
}

/// An alias of which it is not known what it stands for.
struct Unresolved {
    alias: String,
    error: Box<KmsError>,
}

fn patterns() -> Vec<String> {
    settings::allowed_keks().unwrap_or_else(|| {
        let files = format!("file://{}/*", settings::file_kek_directory());
        settings::default_kek().into_iter().chain([files]).collect()
    })
}

/// The key file `uri`, where the default decides whether it is allowed.
fn file_by_default(uri: &str) -> Option<KekUri> {
    if settings::allowed_keks().is_some() {
        return None;
    }
    uri.parse().ok().filter(|uri| matches!(uri, KekUri::File(_)))
}

/// An error unless a key file is there and as it must be.
fn require_fit(file: &KekUri, failed: String) -> Result<()> {
    provider(file)?.check().map(|_| ()).map_err(|error| kms_error(error, failed))
}

fn is_alias(pattern: &str) -> bool {
    pattern.starts_with("aws-kms://") && pattern.contains("alias/") && !pattern.contains('*')
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
    let key = kms::provider(&uri, &settings::kms())?.check()?.to_string();
    note_alias(alias.to_string(), key.clone());
    Ok(key)
}

fn not_resolved(alias: &str, error: KmsError) -> Error {
    kms_error(error, format!("resolve {alias}"))
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
