//! The one error of all providers. It carries what an operator needs and nothing secret: no key, no
//! wrap.

/// What went wrong, one kind for each SQLSTATE and each way to react.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The KEK's URI, or a setting of its provider, cannot be used (22023).
    BadUri,
    /// The KMS or the file system refuses this server the use of the KEK (28000).
    Denied,
    /// No credentials, or ones that are expired or unknown (28000).
    Credentials,
    /// The KEK is disabled, missing, being deleted, or of the wrong sort (55000).
    KeyState,
    /// Too many requests for the account's quota (53400).
    Throttled,
    /// Out of reach or out of order: timeout, connection, TLS, 5xx, an answer that makes no sense
    /// (58030).
    Unavailable,
    /// The wrap does not open under this KEK and context, or holds no data key (XX001).
    InvalidWrap,
}

/// Why a provider could not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("KEK \"{kek}\": {message}")]
pub struct KmsError {
    /// Which SQLSTATE, and whether another KEK may be tried.
    pub kind: Kind,
    /// The KEK as it was asked for.
    pub kek: String,
    /// What happened, for the message.
    pub message: String,
    /// The KMS's own number of the request, for the detail.
    pub request_id: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
}

impl KmsError {
    /// An error that no KMS request stands behind.
    pub(super) fn new(kind: Kind, kek: impl ToString, message: impl Into<String>) -> Self {
        Self { kind, kek: kek.to_string(), message: message.into(), request_id: None, hint: None }
    }

    /// The same with what to do about it.
    pub(super) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The kind for a failed system call: a refusal, a missing thing, or a broken machine.
    pub(super) fn io_kind(error: &std::io::Error) -> Kind {
        use std::io::ErrorKind;
        match error.kind() {
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Kind::Denied,
            ErrorKind::NotFound | ErrorKind::NotADirectory => Kind::KeyState,
            _ => Kind::Unavailable,
        }
    }
}
