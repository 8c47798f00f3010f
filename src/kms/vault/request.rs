//! A request, for the errors that speak of it and the checks of its answer.

use std::time::Duration;

use envelope::secret::DataKey;
use serde::de::DeserializeOwned;

use super::super::retry::Failed;
use super::super::tls::Tls;
use super::super::uri::VaultKey;
use super::super::{KekUri, Kind, KmsError, Wrap};
use super::body::{self, Answer, Data, NoDataKey};
use super::classify::{self, NONSENSE_HINT, Refusal};
use super::http::Lost;
use super::login::Method;
use super::operation::Operation;

/// What is asked, of which key.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) operation: Operation,
    pub(super) kek: KekUri,
    /// As a policy names it.
    pub(super) path: String,
    /// It logs in by itself.
    pub(super) is_inline: bool,
}

impl Request {
    pub(super) fn new(operation: Operation, key: &VaultKey, is_inline: bool) -> Self {
        let path = operation.path(key.mount(), key.name());
        Self { operation, kek: KekUri::Vault(key.clone()), path, is_inline }
    }

    /// The data of an answer, and the request's id.
    ///
    /// # Errors
    /// The server's refusal. A warning is one as well: it may say that the encryption context was
    /// ignored.
    pub(super) fn read<D: DeserializeOwned>(
        &self,
        status: u16,
        answer: &[u8],
    ) -> Result<(D, Option<String>), KmsError> {
        if status != 200 {
            return Err(self.refused(status, body::errors(answer).as_deref()));
        }
        let answer = Answer::<D>::parse(answer)
            .ok_or_else(|| self.nonsense("a success that cannot be read", None))?;
        let id = answer.request_id.as_deref();
        if let Some(warning) = answer.warning() {
            let message = format!("the server warns: {}", printable(warning));
            return Err(self.answered(Kind::KeyState, message, id).with_hint(WARNING_HINT));
        }
        match answer.data {
            // It goes into the audit.
            Some(data) => Ok((data, id.map(printable))),
            None => Err(self.nonsense("no data", id)),
        }
    }

    /// The data key in an answer.
    pub(super) fn data_key(&self, data: &Data, id: Option<&str>) -> Result<Box<DataKey>, KmsError> {
        data.data_key().map_err(|why| match why {
            NoDataKey::Missing => self.nonsense("no plaintext", id),
            NoDataKey::Length(len) => {
                let message = format!("it gave {len} bytes, which is no data key");
                self.answered(Kind::InvalidWrap, message, id)
            }
        })
    }

    /// The wrap in an answer.
    pub(super) fn wrap(&self, data: &Data, id: Option<&str>) -> Result<Wrap, KmsError> {
        let text = data.wrap().ok_or_else(|| self.nonsense("no wrap", id))?;
        Ok(Wrap { kek: self.kek.clone(), bytes: text.as_bytes().to_vec() })
    }

    /// An error that no answer stands behind.
    pub(super) fn fault(&self, kind: Kind, message: impl AsRef<str>) -> KmsError {
        KmsError::new(kind, &self.kek, format!("{} failed: {}", self.path, message.as_ref()))
    }

    /// As [`Self::fault`], of an answer with this request id.
    pub(super) fn answered(
        &self,
        kind: Kind,
        message: impl AsRef<str>,
        id: Option<&str>,
    ) -> KmsError {
        KmsError { request_id: id.map(printable), ..self.fault(kind, message) }
    }

    /// An answer that the engine would not give. It is not quoted: it may hold anything.
    pub(super) fn nonsense(&self, what: &str, id: Option<&str>) -> KmsError {
        self.answered(Kind::Unavailable, format!("the answer makes no sense ({what})"), id)
            .with_hint(NONSENSE_HINT)
    }

    /// The server said no to the operation.
    pub(super) fn refused(&self, status: u16, said: Option<&str>) -> KmsError {
        let (kind, hint) = classify::operation(Refusal { status, said }, self.operation);
        let error = self.fault(kind, spoken(status, said));
        if kind != Kind::Denied {
            return error.with_hint(hint);
        }
        let capability = self.operation.capability();
        let error = error.with_hint(format!(
            "Allow {capability} on {} to the policies of the token, with this encryption context. A token that \
             has just been had is refused like one that expired; the server's audit log tells which it was.",
            self.path
        ));
        if self.is_inline { error.with_more_hint(INLINE_HINT) } else { error }
    }

    /// The server said no to the login before it.
    pub(super) fn not_let_in(&self, status: u16, said: Option<&str>, method: Method) -> KmsError {
        let (kind, hint) = classify::login(Refusal { status, said }, method);
        let message = format!("login by {}: {}", method.name(), spoken(status, said));
        self.fault(kind, message).with_hint(hint)
    }

    /// No answer came.
    pub(super) fn lost(&self, lost: Lost, tls: Option<&Tls>) -> Failed {
        let message = lost.message();
        let unavailable =
            || self.fault(Kind::Unavailable, printable(&message)).with_hint(NONSENSE_HINT);
        match lost {
            Lost::Unconnected(failed) => failed,
            // A server may refuse a client's certificate only when it is read from.
            Lost::Unanswered(error) | Lost::Broken(error) => {
                match tls.and_then(|tls| tls.fault(&error, &self.kek)) {
                    Some(fault) => Failed::ForGood(fault),
                    None => Failed::ForNow(unavailable(), None),
                }
            }
            Lost::Elsewhere | Lost::TooLong | Lost::Request => Failed::ForGood(unavailable()),
        }
    }

    /// The time is up before anything was said.
    pub(super) fn timed_out(&self, limit: Duration) -> KmsError {
        self.fault(Kind::Unavailable, format!("no answer within {} ms", limit.as_millis()))
            .with_hint("Can the server reach that address? The limit is envelope.kms_timeout.")
    }
}

const INLINE_HINT: &str = "A server other than OpenBao 2.4 or later sees no login in such a request: take \
    \"inline-\" out of envelope.vault_auth.";

const WARNING_HINT: &str = "What is made so may not be bound to the encryption context, and is not used. Look into \
    the server's log.";

fn spoken(status: u16, said: Option<&str>) -> String {
    match said.filter(|said| !said.is_empty()) {
        Some(said) => said.to_owned(),
        None => format!("HTTP status {status}"),
    }
}

/// Text from outside, cut and without control characters: it goes into a log.
pub(super) fn printable(text: &str) -> String {
    text.chars().take(400).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
