//! The one error of all KMS providers. It carries what an operator needs and nothing secret: no key,
//! no wrap.

use envelope::wrap::EncryptionContext;
use pgrx::PgSqlErrorCode;

/// What went wrong, one kind for each SQLSTATE and each way to react.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The KEK's URI, or a setting of its provider, cannot be used (22023).
    BadUri,
    /// This build has no provider for the KEK (0A000).
    NotBuiltIn,
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

impl Kind {
    /// One SQLSTATE a kind. Class 08 is left alone: connection pools take it for their own
    /// connection lost.
    pub fn sqlstate(self) -> PgSqlErrorCode {
        match self {
            Kind::BadUri => PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            Kind::NotBuiltIn => PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            Kind::Denied | Kind::Credentials => {
                PgSqlErrorCode::ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION
            }
            Kind::KeyState => PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            Kind::Throttled => PgSqlErrorCode::ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
            Kind::Unavailable => PgSqlErrorCode::ERRCODE_IO_ERROR,
            Kind::InvalidWrap => PgSqlErrorCode::ERRCODE_DATA_CORRUPTED,
        }
    }
}

/// Why a provider could not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("KEK \"{kek}\": {message}")]
pub struct KmsError {
    /// Which SQLSTATE, and whether another KEK may be tried.
    pub kind: Kind,
    /// The KEK as it was asked for.
    pub kek: Box<str>,
    /// What happened, for the message.
    pub message: String,
    /// The KMS's own number of the request, for the detail.
    pub request_id: Option<String>,
    /// The encryption context that the KMS was asked with, where it may be what it refused: a JSON object
    /// of strings, for the detail. No secret: the KMS's own log has it.
    pub context: Option<Box<str>>,
    /// What to do about it.
    pub hint: Option<Box<str>>,
}

impl KmsError {
    /// An error that no KMS request stands behind.
    pub fn new(kind: Kind, kek: impl ToString, message: impl Into<String>) -> Self {
        Self {
            kind,
            kek: kek.to_string().into(),
            message: message.into(),
            request_id: None,
            context: None,
            hint: None,
        }
    }

    /// The same, of a request with this encryption context.
    pub fn of_context(mut self, context: &EncryptionContext) -> Self {
        if matches!(self.kind, Kind::Denied | Kind::InvalidWrap) {
            self.context = Some(context.canonical_json().into());
        }
        self
    }

    /// As [`Self::of_context`], of a request with one to unwrap and another to wrap.
    pub fn of_contexts(self, from: &EncryptionContext, to: &EncryptionContext) -> Self {
        let mut error = self.of_context(from);
        let old = error.context.take();
        error.context = old.map(|old| match from == to {
            true => old,
            false => {
                format!("{old} for the old wrap, {} for the new one", to.canonical_json()).into()
            }
        });
        error
    }

    /// The same with one thing more to do about it.
    pub fn with_more_hint(mut self, more: &str) -> Self {
        let hint = self.hint.map(|hint| format!("{hint} {more}").into());
        self.hint = Some(hint.unwrap_or_else(|| more.into()));
        self
    }

    /// The same with what to do about it.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into().into());
        self
    }

    /// What the KMS's operator asks for, as DETAIL. `asked_as`: as whom, where that was not the server itself.
    pub fn detail(&self, asked_as: Option<&str>) -> Option<String> {
        let id = self.request_id.as_ref().map(|id| format!("KMS request id {id}."));
        let context = self.context.as_ref().map(|json| format!("Encryption context: {json}"));
        let role = asked_as.map(|role| format!("Asked as {role}."));
        let said: Vec<String> = id.into_iter().chain(role).chain(context).collect();
        (!said.is_empty()).then(|| said.join(" "))
    }

    /// The kind for a failed system call: a refusal, a missing thing, or a broken machine.
    pub fn io_kind(error: &std::io::Error) -> Kind {
        use std::io::ErrorKind;
        match error.kind() {
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Kind::Denied,
            ErrorKind::NotFound | ErrorKind::NotADirectory => Kind::KeyState,
            _ => Kind::Unavailable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_shows_the_context_and_an_outage_does_not() {
        let context: EncryptionContext =
            [("table", "l\u{e4}ge"), ("a", "\"")].into_iter().collect();
        let shown = |kind| KmsError::new(kind, "k", "m").of_context(&context).context;
        let expected = Some("{\"a\":\"\\\"\",\"table\":\"l\u{e4}ge\"}".into());
        for kind in [Kind::Denied, Kind::InvalidWrap] {
            assert_eq!(shown(kind), expected);
        }
        for kind in [Kind::Credentials, Kind::KeyState, Kind::Throttled, Kind::Unavailable] {
            assert_eq!(shown(kind), None);
        }
        let none = EncryptionContext::default();
        let both = KmsError::new(Kind::Denied, "k", "m").of_contexts(&none, &context).context;
        assert!(both.is_some_and(|both| both.starts_with("{} ") && both.contains("table")));
        let same = KmsError::new(Kind::Denied, "k", "m").of_contexts(&context, &context).context;
        assert_eq!(same, expected);
    }
}
