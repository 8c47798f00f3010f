//! What the server says, sorted: by status, and where one status means several things by text. Every
//! line was seen from a server; texts are those of OpenBao 2.7, which Vault shares.

use super::super::Kind;
use super::login::Method;
use super::operation::Operation;

/// An answer that is no success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refusal<'a> {
    pub(super) status: u16,
    /// What it says, one line; `None` when the answer is not in the API's form.
    pub(super) said: Option<&'a str>,
}

impl Refusal<'_> {
    fn says(&self, text: &str) -> bool {
        self.said.is_some_and(|said| said.contains(text))
    }
}

/// What a refused operation on a key means, and what to do.
pub(super) fn operation(refusal: Refusal<'_>, operation: Operation) -> (Kind, &'static str) {
    match refusal.status {
        // As an older Vault refuses a request whose login it does not see.
        400 if refusal.says("missing client token") => (Kind::Denied, ""),
        400 if refusal.said.is_some() => bad_request(refusal, operation),
        401 | 403 => (Kind::Denied, ""),
        404 if refusal.says("namespace not found") => (Kind::BadUri, NAMESPACE_HINT),
        404 | 405 if refusal.said.is_some() => (Kind::KeyState, MISSING_HINT),
        _ => elsewhere(refusal),
    }
}

fn bad_request(refusal: Refusal<'_>, operation: Operation) -> (Kind, &'static str) {
    const BY_TEXT: [(&str, Kind, &str); 9] = [
        ("message authentication failed", Kind::InvalidWrap, WRAP_HINT),
        ("version is too new", Kind::InvalidWrap, TOO_NEW_HINT),
        ("disallowed by policy (too old)", Kind::KeyState, TOO_OLD_HINT),
        ("invalid ciphertext", Kind::InvalidWrap, WRAP_HINT),
        ("missing ciphertext", Kind::InvalidWrap, WRAP_HINT),
        ("encryption key not found", Kind::KeyState, MISSING_HINT),
        ("soft-deleted", Kind::KeyState, SOFT_DELETED_HINT),
        ("key derivation", Kind::KeyState, SORT_HINT),
        ("key type", Kind::KeyState, SORT_HINT),
    ];
    let known = BY_TEXT.iter().find(|(text, ..)| refusal.says(text));
    match known {
        Some((_, kind, hint)) => (*kind, hint),
        None if operation.takes_wrap() => (Kind::InvalidWrap, WRAP_HINT),
        None => (Kind::KeyState, SORT_HINT),
    }
}

/// What a refused login means, and what to do.
pub(super) fn login(refusal: Refusal<'_>, method: Method) -> (Kind, &'static str) {
    match refusal.status {
        400 if refusal.said.is_some() => (Kind::Credentials, method.hint()),
        401 | 403 => (Kind::Credentials, method.hint()),
        // So is one told that has expired or is not for clients.
        500 if refusal.says("client's certificate") => (Kind::Credentials, method.hint()),
        404 if refusal.says("namespace not found") => (Kind::BadUri, NAMESPACE_HINT),
        404 | 405 if refusal.said.is_some() => (Kind::BadUri, MOUNT_HINT),
        _ => elsewhere(refusal),
    }
}

/// What means the same to an operation and to a login.
fn elsewhere(refusal: Refusal<'_>) -> (Kind, &'static str) {
    match refusal.status {
        429 => (Kind::Throttled, THROTTLED_HINT),
        300..400 => (Kind::Unavailable, REDIRECT_HINT),
        503 if refusal.says("sealed") => (Kind::Unavailable, SEALED_HINT),
        500..600 | 472 | 473 if refusal.said.is_some() => (Kind::Unavailable, BROKEN_HINT),
        _ => (Kind::Unavailable, NONSENSE_HINT),
    }
}

const WRAP_HINT: &str = "The wrap was changed, belongs to another key, or was made with another \
    encryption context.";

const TOO_NEW_HINT: &str = "The wrap was made under a version of the key that the server does not have: was the \
    key restored from an older backup, or is this another key of the same name?";

const TOO_OLD_HINT: &str = "Lower the key's min_decryption_version again, move the wraps to its newest version \
    (envelope.rewrap with the KEK as both), then raise it.";

const MISSING_HINT: &str = "Is there such a key, in a transit engine of that mount, in the namespace of \
    envelope.vault_namespace? A key that was deleted opens nothing any more; restore it from a backup.";

const SOFT_DELETED_HINT: &str = "An administrator of the server can bring it back: \
    POST <mount>/keys/<name>/soft-delete-restore.";

pub(super) const SORT_HINT: &str = "The key must be of type aes256-gcm96, chacha20-poly1305 or \
    xchacha20-poly1305, made with derived=true.";

const NAMESPACE_HINT: &str = "Check envelope.vault_namespace.";

const MOUNT_HINT: &str =
    "Check envelope.vault_auth_mount: where the auth method is mounted, without \"auth/\".";

const THROTTLED_HINT: &str =
    "A quota of the server is used up. A longer envelope.cache_ttl asks less often.";

const REDIRECT_HINT: &str = "Redirects are not followed: they would carry the token to another server. Name the \
    active node, or an address that leads to it.";

const SEALED_HINT: &str = "Unseal the server.";

const BROKEN_HINT: &str = "The server's own log says more. See envelope.kms_timeout and envelope.kms_max_attempts \
    for how long it is asked.";

pub(super) const NONSENSE_HINT: &str = "Does OpenBao or Vault answer at this address, with a transit engine at \
    this mount?";

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16, said: &str) -> Refusal<'_> {
        Refusal { status, said: Some(said) }
    }

    /// Each answer that was seen. A refusal that is taken for an outage would let another KEK or a key
    /// in memory bridge it.
    #[test]
    fn every_answer_has_its_kind_and_hint() {
        for (status, said, kind, hint) in [
            (400, "cipher: message authentication failed", Kind::InvalidWrap, WRAP_HINT),
            (400, "chacha20poly1305: message authentication failed", Kind::InvalidWrap, WRAP_HINT),
            (400, "invalid ciphertext: no prefix", Kind::InvalidWrap, WRAP_HINT),
            (400, "invalid ciphertext: could not decode base64", Kind::InvalidWrap, WRAP_HINT),
            (400, "invalid ciphertext length", Kind::InvalidWrap, WRAP_HINT),
            (400, "missing ciphertext to decrypt", Kind::InvalidWrap, WRAP_HINT),
            (400, "invalid ciphertext: version is too new", Kind::InvalidWrap, TOO_NEW_HINT),
            (
                400,
                "ciphertext or signature version is disallowed by policy (too old)",
                Kind::KeyState,
                TOO_OLD_HINT,
            ),
            (400, "encryption key not found", Kind::KeyState, MISSING_HINT),
            (400, "missing client token", Kind::Denied, ""),
            (400, "refusing to use soft-deleted key", Kind::KeyState, SOFT_DELETED_HINT),
            (
                400,
                "missing 'context' for key derivation; the key was created using a derived key",
                Kind::KeyState,
                SORT_HINT,
            ),
            (
                400,
                "message decryption not supported for key type ed25519",
                Kind::KeyState,
                SORT_HINT,
            ),
            (403, "permission denied", Kind::Denied, ""),
            (401, "", Kind::Denied, ""),
            (
                404,
                "no handler for route \"x\". route entry not found.",
                Kind::KeyState,
                MISSING_HINT,
            ),
            (404, "unsupported path", Kind::KeyState, MISSING_HINT),
            (404, "", Kind::KeyState, MISSING_HINT),
            (404, "namespace not found", Kind::BadUri, NAMESPACE_HINT),
            (405, "unsupported operation", Kind::KeyState, MISSING_HINT),
            (429, "rate limit quota exceeded", Kind::Throttled, THROTTLED_HINT),
            (500, "internal error", Kind::Unavailable, BROKEN_HINT),
            (502, "bad gateway", Kind::Unavailable, BROKEN_HINT),
            (503, "Vault is sealed", Kind::Unavailable, SEALED_HINT),
            (307, "", Kind::Unavailable, REDIRECT_HINT),
            (413, "http: request body too large", Kind::Unavailable, NONSENSE_HINT),
        ] {
            for asked in [Operation::Decrypt, Operation::DataKey] {
                assert_eq!(
                    operation(refusal(status, said), asked),
                    (kind, hint),
                    "{status} {said}"
                );
            }
        }
    }

    #[test]
    fn a_new_text_is_a_wrap_that_does_not_open_only_where_one_was_sent() {
        for (asked, kind) in [
            (Operation::Decrypt, Kind::InvalidWrap),
            (Operation::Rewrap, Kind::InvalidWrap),
            (Operation::DataKey, Kind::KeyState),
            (Operation::Encrypt, Kind::KeyState),
            (Operation::ReadKey, Kind::KeyState),
        ] {
            assert_eq!(operation(refusal(400, "something new"), asked).0, kind, "{asked:?}");
        }
    }

    /// Another server behind the port must not be believed that a wrap is damaged or a key is gone.
    #[test]
    fn what_is_not_in_the_apis_form_is_no_word_about_a_key() {
        for status in [200, 204, 400, 404, 405, 418, 500, 503] {
            let answer = Refusal { status, said: None };
            for asked in [Operation::Decrypt, Operation::DataKey] {
                assert_eq!(
                    operation(answer, asked),
                    (Kind::Unavailable, NONSENSE_HINT),
                    "{status}"
                );
            }
            assert_eq!(login(answer, Method::Jwt).0, Kind::Unavailable, "{status}");
        }
        // A gateway in between that refuses does refuse.
        for status in [401, 403] {
            let answer = Refusal { status, said: None };
            assert_eq!(operation(answer, Operation::Decrypt).0, Kind::Denied);
            assert_eq!(login(answer, Method::Jwt).0, Kind::Credentials);
        }
    }

    #[test]
    fn a_login_that_is_refused_says_what_its_method_needs() {
        for (status, said, method) in [
            (400, "invalid role or secret ID", Method::AppRole),
            (400, "role \"x\" could not be found", Method::Jwt),
            (400, "error validating token: invalid audience (aud) claim", Method::Jwt),
            (400, "could not load configuration", Method::Jwt),
            (400, "invalid role name \"x\"", Method::Kubernetes),
            (403, "permission denied", Method::Kubernetes),
            (403, "service account name not authorized", Method::Kubernetes),
            (400, "no client certificate found", Method::Cert),
            (400, "invalid certificate or no client certificate supplied", Method::Cert),
            (
                500,
                "failed to verify client's certificate: x509: certificate has expired",
                Method::Cert,
            ),
            (403, "permission denied", Method::AppRole),
        ] {
            let found = login(refusal(status, said), method);
            assert_eq!(found, (Kind::Credentials, method.hint()), "{status} {said}");
            assert!(!found.1.is_empty());
        }
        for (status, said, kind, hint) in [
            (404, "no handler for route \"auth/x/login\"", Kind::BadUri, MOUNT_HINT),
            (404, "namespace not found", Kind::BadUri, NAMESPACE_HINT),
            (429, "rate limit quota exceeded", Kind::Throttled, THROTTLED_HINT),
            (500, "internal error", Kind::Unavailable, BROKEN_HINT),
            (503, "Vault is sealed", Kind::Unavailable, SEALED_HINT),
        ] {
            assert_eq!(login(refusal(status, said), Method::Jwt), (kind, hint), "{status} {said}");
        }
    }
}
