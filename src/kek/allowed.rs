//! Which KEKs may wrap data keys: `envelope.allowed_keks`, or what counts while it is unset.

use super::alias::{self, is_alias, resolved};
use super::kms_error;
use super::provider::{self, KmsResult};
use crate::catalog::rows;
use crate::error::kms::{Kind, KmsError};
use crate::error::{Error, Result};
use crate::kms::KekUri;
use crate::settings;

/// Whether `envelope.allowed_keks` lets the KEK `uri` wrap data keys. Unset, it lets in
/// `envelope.default_kek`, the files of `envelope.file_kek_directory`, and what wraps an active key here
/// already, if that is a key file as it must be: after a move or a restore the files are where they
/// were. An alias among the patterns also lets in the key it stands for, which the KMS is asked once in
/// `envelope.cache_ttl`.
pub fn is_allowed(uri: &str) -> Result<bool> {
    let let_in = is_let_in(uri, resolved);
    if let_in.map_err(|Unresolved { alias, error }| alias::not_resolved(&alias, *error))? {
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
        parsed.map_err(|error| kms_error(error, "use envelope.default_kek".into()))?;
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
            Err(Unresolved { alias, error }) => Err(alias::not_resolved(&alias, *error)),
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
    let mut unresolved = None;
    for alias in patterns.into_iter().filter(|pattern| may_be_of(pattern, uri)) {
        match resolve(&alias) {
            Ok(key) if key == uri => return Ok(true),
            Ok(_) => {}
            Err(error) => unresolved = Some(Unresolved { alias, error: Box::new(error) }),
        }
    }
    unresolved.map_or(Ok(false), Err)
}

/// Whether `pattern` is an alias of the KMS that `uri` is of: no other is asked.
fn may_be_of(pattern: &str, uri: &str) -> bool {
    let alias = pattern.parse::<KekUri>().ok().filter(KekUri::is_alias);
    alias.is_some_and(|alias| uri.starts_with(alias.scheme()))
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
    provider::named(file)?.check().map(|_| ()).map_err(|error| kms_error(error, failed))
}

/// Whether the KEK `text` is one of `pattern`, where `*` stands for any characters, but for the `/` that ends a host:
/// whoever may name a KEK would send the server to a host of his own, with another one's name in the path.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((host, path)) = KekUri::split_at_host(text) else { return is_like(pattern, text) };
    let scheme = pattern.find("://").map_or(0, |at| at + "://".len());
    let end = pattern.get(scheme..).and_then(|rest| rest.find('/'));
    match end.and_then(|end| pattern.split_at_checked(scheme + end)) {
        Some((hosts, paths)) => is_like(hosts, host) && is_like(paths, path),
        None => pattern.ends_with('*') && is_like(pattern, host),
    }
}

/// Whether `text` is `pattern`, where `*` stands for any characters.
fn is_like(pattern: &str, text: &str) -> bool {
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

    /// A server that is asked is sent credentials, and keys.
    #[test]
    fn a_path_makes_no_host_of_anothers() {
        for (pattern, text, expected) in [
            ("vault://*.example.com/transit/keys/*", "vault://a.example.com/transit/keys/k", true),
            ("vault://*.example.com:*/*", "vault://a.example.com:8200/team/transit/keys/k", true),
            ("vault://*.example.com*", "vault://a.example.com:8200/transit/keys/k", true),
            ("vault://*/transit/keys/k", "vault://h/transit/keys/k", true),
            ("vault://h/*/keys/k", "vault://h/a/b/keys/k", true),
            ("vault*", "vault+http://localhost/transit/keys/k", true),
            ("*", "vault://h/transit/keys/k", true),
            ("kmip://*.example.com/*", "kmip://a.example.com/1", true),
            ("file://*/kek", "file:///a/b/kek", true),
            (
                "vault://*.example.com/transit/keys/*",
                "vault://h/a.example.com/transit/keys/k",
                false,
            ),
            ("vault://*.example.com*", "vault://h/a.example.com/keys/k", false),
            ("vault*.example.com/*", "vault://h/a.example.com/keys/k", false),
            ("*.example.com/*", "vault+http://localhost/a.example.com/keys/k", false),
            ("vault://*/transit/keys/k", "vault://h/a/transit/keys/k", false),
            ("vault://h", "vault://h/transit/keys/k", false),
            ("kmip://*1", "kmip://h/1", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
