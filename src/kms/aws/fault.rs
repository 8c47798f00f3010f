//! What KMS answered, and what that means: every error of the client becomes one [`Kind`] and a
//! hint that says what to do.

mod attempts;
mod classify;

use std::error::Error;
use std::time::Duration;

use aws_sdk_kms::config::http::HttpResponse;
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kms::operation::RequestId;

use super::super::{KekUri, Kind, KmsError};

pub(super) use self::classify::Operation;

/// A request, for the errors that speak of it and the checks of its answer.
#[derive(Debug, Clone)]
pub(super) struct Request {
    operation: Operation,
    kek: KekUri,
    said: attempts::Said,
}

impl Request {
    pub(super) fn new(operation: Operation, kek: KekUri) -> Self {
        Self { operation, kek, said: attempts::Said::default() }
    }

    /// An error that no answer of KMS stands behind.
    pub(super) fn fault(&self, kind: Kind, message: impl Into<String>) -> KmsError {
        let message = format!("{} failed: {}", self.operation.name(), message.into());
        KmsError::new(kind, &self.kek, message)
    }

    pub(super) fn answered(
        &self,
        kind: Kind,
        message: impl Into<String>,
        id: Option<&str>,
    ) -> KmsError {
        KmsError { request_id: id.map(str::to_owned), ..self.fault(kind, message) }
    }

    /// An answer that a KMS would not give.
    pub(super) fn nonsense(&self, what: &str, id: &Option<String>) -> KmsError {
        let message = format!("the answer makes no sense ({what})");
        self.answered(Kind::Unavailable, message, id.as_deref())
            .with_hint("Does the endpoint belong to AWS KMS? See envelope.aws_endpoint_url.")
    }

    /// The time is up: what KMS said last, or that nothing came.
    pub(super) fn timed_out(&self, limit: Duration) -> KmsError {
        if let Some(said) = self.said.when_time_is_up(limit) {
            return said;
        }
        self.fault(Kind::Unavailable, format!("no answer within {} ms", limit.as_millis()))
            .with_hint(
                "Can the server reach the KMS endpoint, and has it AWS credentials (looking for an \
             instance role takes its time)? The limit is envelope.kms_timeout.",
            )
    }

    /// The client's error, whatever it is.
    pub(super) fn refused<E>(&self, error: &SdkError<E, HttpResponse>) -> KmsError
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        match error {
            SdkError::ServiceError(service) => {
                let status = service.raw().status().as_u16();
                if status < 400 {
                    let id = error.request_id().map(str::to_owned);
                    return self.nonsense("a success that cannot be read", &id);
                }
                self.by_code(error.code(), status, error.message(), error.request_id())
            }
            SdkError::ResponseError(response) => {
                let what = format!("HTTP status {}", response.raw().status().as_u16());
                self.nonsense(&what, &error.request_id().map(str::to_owned))
            }
            _ => self.unsent(&causes(error)),
        }
    }

    /// KMS said no, and why.
    fn by_code(
        &self,
        code: Option<&str>,
        status: u16,
        said: Option<&str>,
        id: Option<&str>,
    ) -> KmsError {
        let kind = classify::kind(code, status);
        let mut message = code.map_or_else(|| format!("HTTP status {status}"), printable);
        if let Some(said) = said.filter(|said| !said.is_empty()) {
            message = format!("{message}: {}", printable(said));
        }
        self.answered(kind, message, id).with_hint(classify::hint(kind, self.operation))
    }

    /// There was no answer: no connection, no credentials, no time.
    fn unsent(&self, causes: &str) -> KmsError {
        let causes = causes.trim_start_matches("dispatch failure: ").trim_start_matches("other: ");
        let (kind, hint) = classify::unsent(causes);
        self.fault(kind, printable(causes)).with_hint(hint)
    }
}

/// An error and what caused it, outermost first.
fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

/// Text from outside, cut and without control characters: it goes into a log.
fn printable(text: &str) -> String {
    text.chars().take(400).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests;
