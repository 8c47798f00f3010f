//! What a server or the way to it did not do, as an error of the KEK that was asked for.

use std::io;
use std::time::Duration;

use super::super::retry::Failed;
use super::super::tls::Tls;
use super::super::{KekUri, Kind, KmsError};
use super::message::{Answer, Operation, Refusal, Version};
use super::payload::Unfit;
use super::reason;
use super::session::Lost;

const ANOTHER_PORT: &str =
    "Does the port belong to a KMIP server, and to its binary protocol and not to HTTP?";
const TOO_OLD: &str = "Use a server that speaks KMIP 1.4 or later, or allow it there: before 1.4 a server may drop \
    what binds a wrapped key to its context, and the tag, and call it a success.";
const NOT_BOUND: &str = "Use a server that encrypts with AES-GCM, associated data and a tag of 16 bytes, as KMIP 1.4 \
    defines them. Nothing was stored.";
const UNFIT_KEY: &str = "Name an active AES-256 key of the KMIP server whose Cryptographic Usage Mask has Encrypt and Decrypt.";

/// A request, for the errors that speak of it.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) kek: KekUri,
    pub(super) operation: Operation,
}

impl Asked {
    /// An error that no answer of the server stands behind.
    pub(super) fn fault(&self, kind: Kind, message: impl AsRef<str>) -> KmsError {
        let message = format!("{} failed: {}", self.operation.name(), message.as_ref());
        KmsError::new(kind, &self.kek, message)
    }

    /// The time is up.
    pub(super) fn timed_out(&self, limit: Duration) -> KmsError {
        self.fault(Kind::Unavailable, format!("no answer within {} ms", limit.as_millis()))
            .with_hint("Can the server reach the KMIP server? The limit is envelope.kms_timeout.")
    }

    /// What the server refused, with what it means.
    pub(super) fn refused(
        &self,
        refusal: Refusal<'_>,
        correlation: Option<&str>,
        kind: Kind,
        hint: &str,
    ) -> KmsError {
        let mut message = match refusal.reason {
            None => "the server refused, without a reason".to_owned(),
            Some(number) => reason::name(number)
                .map_or_else(|| format!("result reason {number:#x}"), str::to_owned),
        };
        if !refusal.said.is_empty() {
            message = format!("{message}: {}", printable(refusal.said));
        }
        let error = self.fault(kind, message).with_hint(hint);
        KmsError { request_id: correlation.map(printable), ..error }
    }

    /// What a refusal means by itself, tried again where that can help.
    pub(super) fn by_reason(&self, refusal: Refusal<'_>, correlation: Option<&str>) -> Failed {
        let (kind, hint) = reason::meaning(refusal.reason, self.operation);
        let error = self.refused(refusal, correlation, kind, hint);
        match reason::is_passing(refusal.reason) {
            true => Failed::ForNow(error, None),
            false => Failed::ForGood(error),
        }
    }

    /// None that can be read, or none that counts. A broken connection may be TLS's doing: a server may
    /// refuse a certificate when it is first read from.
    pub(super) fn lost(&self, lost: Lost, tls: Option<&Tls>) -> Failed {
        let said = lost.to_string();
        let error = match lost {
            Lost::Io(error) => return self.broken(&error, tls),
            Lost::NotKmip | Lost::Malformed(_) => {
                self.fault(Kind::Unavailable, said).with_hint(ANOTHER_PORT)
            }
            Lost::OtherVersions(told) => self.too_old(&told),
            Lost::AnotherVersion(_) => self.fault(Kind::KeyState, said).with_hint(TOO_OLD),
            Lost::Refused(received) => match received.answer() {
                Ok(Answer { result: Err(refusal), correlation, .. }) => {
                    let discover = Operation::DiscoverVersions;
                    let asked = Self { operation: discover, ..self.clone() };
                    return asked.by_reason(refusal, correlation);
                }
                _ => self.fault(Kind::Unavailable, said).with_hint(ANOTHER_PORT),
            },
        };
        Failed::ForGood(error)
    }

    fn broken(&self, error: &io::Error, tls: Option<&Tls>) -> Failed {
        match tls.and_then(|tls| tls.fault(error, &self.kek)) {
            Some(fault) => Failed::ForGood(fault),
            None => {
                let message = format!("the connection broke before there was an answer: {error}");
                let hint = "Does the KMIP server's log say more?";
                Failed::ForNow(self.fault(Kind::Unavailable, message).with_hint(hint), None)
            }
        }
    }

    fn too_old(&self, told: &[Version]) -> KmsError {
        let spoken = list(&Version::SPOKEN);
        let message = match told {
            [] => format!(
                "the server speaks none of the versions of KMIP that are spoken here ({spoken})"
            ),
            told => format!("the server speaks KMIP {}; spoken here are {spoken}", list(told)),
        };
        self.fault(Kind::KeyState, message).with_hint(TOO_OLD)
    }

    /// A success that does not count.
    pub(super) fn unfit(&self, unfit: Unfit) -> Failed {
        let (kind, hint) = match unfit {
            Unfit::Malformed(_) => (Kind::Unavailable, ANOTHER_PORT),
            Unfit::OtherKey => (
                Kind::InvalidWrap,
                "Name the key by its unique identifier, as the server gives it.",
            ),
            Unfit::NoTag | Unfit::BadIv => (Kind::KeyState, NOT_BOUND),
        };
        Failed::ForGood(self.fault(kind, unfit.to_string()).with_hint(hint))
    }

    /// A key that cannot be a KEK.
    pub(super) fn unfit_key(&self, why: &str) -> KmsError {
        KmsError::new(Kind::KeyState, &self.kek, why).with_hint(UNFIT_KEY)
    }

    /// A new wrap that would not do what a wrap must.
    pub(super) fn not_bound(&self, why: &str) -> Failed {
        Failed::ForGood(self.fault(Kind::KeyState, why).with_hint(NOT_BOUND))
    }
}

fn list(versions: &[Version]) -> String {
    versions.iter().map(Version::to_string).collect::<Vec<_>>().join(", ")
}

/// Text from outside, cut and without control characters: it goes into a log.
pub(super) fn printable(text: &str) -> String {
    text.chars().take(400).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::super::ttlv::Malformed;
    use super::*;

    fn asked() -> Result<Asked, KmsError> {
        Ok(Asked { kek: "kmip://h/1".parse()?, operation: Operation::Decrypt })
    }

    fn error(failed: Failed) -> KmsError {
        match failed {
            Failed::ForGood(error) | Failed::ForNow(error, _) => error,
        }
    }

    #[test]
    fn what_cannot_count_has_its_kind_and_hint() -> Result<(), KmsError> {
        let asked = asked()?;
        let of = |lost| error(asked.lost(lost, None));
        for (error, kind) in [
            (of(Lost::NotKmip), Kind::Unavailable),
            (of(Lost::Malformed(Malformed::CutOff)), Kind::Unavailable),
            (of(Lost::OtherVersions(vec![])), Kind::KeyState),
            (of(Lost::OtherVersions(vec![Version { major: 1, minor: 2 }])), Kind::KeyState),
            (of(Lost::AnotherVersion(Version { major: 1, minor: 2 })), Kind::KeyState),
            (error(asked.unfit(Unfit::Malformed(Malformed::Missing))), Kind::Unavailable),
            (error(asked.unfit(Unfit::OtherKey)), Kind::InvalidWrap),
            (error(asked.unfit(Unfit::NoTag)), Kind::KeyState),
            (error(asked.unfit(Unfit::BadIv)), Kind::KeyState),
            (error(asked.not_bound("")), Kind::KeyState),
            (asked.timed_out(Duration::from_secs(1)), Kind::Unavailable),
        ] {
            assert_eq!(error.kind, kind, "{error}");
            assert!(error.hint.is_some(), "{error}");
        }
        let broken = asked.lost(Lost::Io(io::ErrorKind::UnexpectedEof.into()), None);
        assert!(matches!(broken, Failed::ForNow(KmsError { kind: Kind::Unavailable, .. }, None)));
        Ok(())
    }

    #[test]
    fn a_refusal_says_what_the_server_said() -> Result<(), KmsError> {
        let asked = asked()?;
        let said = "no\nsuch key";
        let refusal = |reason| Refusal { reason, said };
        let told = error(asked.by_reason(refusal(Some(0x01)), Some("c-7\t")));
        assert_eq!(told.message, "Decrypt failed: Item Not Found: no such key");
        assert_eq!((told.kind, told.request_id.as_deref()), (Kind::KeyState, Some("c-7 ")));
        let told = error(asked.by_reason(refusal(Some(0x8000_0001)), None));
        assert!(told.message.contains("0x80000001"));
        let passing = asked.by_reason(refusal(Some(0x3A)), None);
        assert!(matches!(passing, Failed::ForNow(..)));
        let long = "x".repeat(10_000);
        let told = error(asked.by_reason(Refusal { reason: None, said: &long }, None));
        assert!(told.message.len() < 500);
        Ok(())
    }
}
