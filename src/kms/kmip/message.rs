//! Requests and answers: one operation in each message.
//!
//! Source: KMIP Specification 1.4, sections 6 and 7.

use std::fmt;

use zeroize::Zeroizing;

use super::numbers as n;
use super::ttlv::{Malformed, Structure, Writer};

/// More than an answer to any of our requests has: attributes with names, groups and contacts.
pub(super) const MOST_ANSWERED: usize = 64 * 1024;

/// More than the longest request: an encryption context of 8 KiB and its frame. Longer ones would be
/// copied while they are written.
const CAPACITY: usize = 16 * 1024;

/// A version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version {
    pub(super) major: i32,
    pub(super) minor: i32,
}

impl Version {
    /// The least that binds associated data and gives the tag of AES-GCM back.
    pub(super) const LEAST: Version = Version { major: 1, minor: 4 };
    /// Those that are spoken, the one that is liked best first: what is used is the same in all of
    /// them, and most servers know 1.4.
    pub(super) const SPOKEN: [Version; 3] =
        [Self::LEAST, Version { major: 2, minor: 0 }, Version { major: 2, minor: 1 }];

    pub(super) fn write(self, writer: &mut Writer) {
        writer.structure(n::PROTOCOL_VERSION, |writer| {
            writer.integer(n::PROTOCOL_VERSION_MAJOR, self.major);
            writer.integer(n::PROTOCOL_VERSION_MINOR, self.minor);
        });
    }

    pub(super) fn read(version: Structure<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            major: version.first(n::PROTOCOL_VERSION_MAJOR)?.integer()?,
            minor: version.first(n::PROTOCOL_VERSION_MINOR)?.integer()?,
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// What is asked of a server. Get, which would hand a KEK out, is not among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    GetAttributes = 0x0B,
    DiscoverVersions = 0x1E,
    Encrypt = 0x1F,
    Decrypt = 0x20,
}

impl Operation {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::GetAttributes => "Get Attributes",
            Self::DiscoverVersions => "Discover Versions",
            Self::Encrypt => "Encrypt",
            Self::Decrypt => "Decrypt",
        }
    }
}

/// The message that asks for `operation` with what `payload` writes. Wiped when dropped.
pub(super) fn request(
    version: Version,
    operation: Operation,
    payload: impl FnOnce(&mut Writer),
) -> Zeroizing<Vec<u8>> {
    let mut writer = Writer::with_capacity(CAPACITY);
    writer.structure(n::REQUEST_MESSAGE, |writer| {
        writer.structure(n::REQUEST_HEADER, |writer| {
            version.write(writer);
            writer.integer(n::MAXIMUM_RESPONSE_SIZE, const { MOST_ANSWERED as i32 });
            writer.integer(n::BATCH_COUNT, 1);
        });
        writer.structure(n::BATCH_ITEM, |writer| {
            writer.enumeration(n::OPERATION, operation as u32);
            writer.structure(n::REQUEST_PAYLOAD, payload);
        });
    });
    writer.into_bytes()
}

/// What a server answered.
#[derive(Debug)]
pub(super) struct Answer<'a> {
    pub(super) version: Version,
    /// The server's own name for the exchange, where it gives one.
    pub(super) correlation: Option<&'a str>,
    pub(super) result: Result<Structure<'a>, Refusal<'a>>,
}

/// The server did not do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refusal<'a> {
    /// Result Reason; [`None`] where the server gives none.
    pub(super) reason: Option<u32>,
    /// What the server says about it.
    pub(super) said: &'a str,
}

impl<'a> Answer<'a> {
    /// Reads a whole message.
    pub(super) fn read(message: &'a [u8], operation: Operation) -> Result<Self, Malformed> {
        let message = Structure::new(message).first(n::RESPONSE_MESSAGE)?.structure()?;
        let header = message.first(n::RESPONSE_HEADER)?.structure()?;
        let version = Version::read(header.first(n::PROTOCOL_VERSION)?.structure()?)?;
        // Not worth an error, whatever it is.
        let correlation = header.find(n::SERVER_CORRELATION_VALUE)?.and_then(|i| i.text().ok());
        let item = message.first(n::BATCH_ITEM)?.structure()?;
        let result = match item.first(n::RESULT_STATUS)?.enumeration()? {
            0 => Ok(succeeded(item, operation)?),
            _ => Err(Refusal::read(item)?),
        };
        Ok(Self { version, correlation, result })
    }
}

fn succeeded(item: Structure<'_>, operation: Operation) -> Result<Structure<'_>, Malformed> {
    if item.first(n::OPERATION)?.enumeration()? != operation as u32 {
        return Err(Malformed::Value);
    }
    item.first(n::RESPONSE_PAYLOAD)?.structure()
}

impl<'a> Refusal<'a> {
    /// Also of what is still to be done, or was undone: neither is what was asked for.
    fn read(item: Structure<'a>) -> Result<Self, Malformed> {
        let reason = item.find(n::RESULT_REASON)?.map(|item| item.enumeration()).transpose()?;
        let said = item.find(n::RESULT_MESSAGE)?.map(|item| item.text()).transpose()?;
        Ok(Self { reason, said: said.unwrap_or_default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a server writes it.
    fn answer(item: impl FnOnce(&mut Writer)) -> Vec<u8> {
        let mut writer = Writer::with_capacity(0);
        writer.structure(n::RESPONSE_MESSAGE, |writer| {
            writer.structure(n::RESPONSE_HEADER, |writer| {
                Version::LEAST.write(writer);
                writer.text(n::SERVER_CORRELATION_VALUE, "c-1");
                writer.integer(n::BATCH_COUNT, 1);
            });
            writer.structure(n::BATCH_ITEM, item);
        });
        writer.into_bytes().to_vec()
    }

    #[test]
    fn a_request_says_what_is_wanted_and_how_much() -> Result<(), Malformed> {
        let bytes = request(Version::LEAST, Operation::Encrypt, |writer| {
            writer.text(n::UNIQUE_IDENTIFIER, "k");
        });
        let message = Structure::new(&bytes).first(n::REQUEST_MESSAGE)?.structure()?;
        let header = message.first(n::REQUEST_HEADER)?.structure()?;
        let version = Version::read(header.first(n::PROTOCOL_VERSION)?.structure()?)?;
        assert_eq!(version, Version { major: 1, minor: 4 });
        let most = header.first(n::MAXIMUM_RESPONSE_SIZE)?.integer()?;
        assert_eq!(usize::try_from(most), Ok(MOST_ANSWERED));
        let item = message.first(n::BATCH_ITEM)?.structure()?;
        assert_eq!(item.first(n::OPERATION)?.enumeration()?, 0x1F);
        let payload = item.first(n::REQUEST_PAYLOAD)?.structure()?;
        assert_eq!(payload.first(n::UNIQUE_IDENTIFIER)?.text()?, "k");
        Ok(())
    }

    #[test]
    fn success_gives_the_payload_of_what_was_asked_for() -> Result<(), Malformed> {
        let bytes = answer(|writer| {
            writer.enumeration(n::OPERATION, 0x20);
            writer.enumeration(n::RESULT_STATUS, 0);
            writer.structure(n::RESPONSE_PAYLOAD, |writer| writer.bytes(n::DATA, b"x"));
        });
        let read = Answer::read(&bytes, Operation::Decrypt)?;
        assert_eq!((read.version, read.correlation), (Version::LEAST, Some("c-1")));
        let payload = read.result.map_err(|_| Malformed::Value)?;
        assert_eq!(payload.first(n::DATA)?.bytes()?, b"x");
        assert_eq!(Answer::read(&bytes, Operation::Encrypt).err(), Some(Malformed::Value));
        Ok(())
    }

    #[test]
    fn whatever_is_no_success_is_a_refusal() -> Result<(), Malformed> {
        for status in [1, 2, 3, 77] {
            let bytes = answer(|writer| {
                writer.enumeration(n::RESULT_STATUS, status);
                writer.enumeration(n::RESULT_REASON, 0x0C);
                writer.text(n::RESULT_MESSAGE, "no");
            });
            let read = Answer::read(&bytes, Operation::Decrypt)?;
            assert_eq!(read.result.err(), Some(Refusal { reason: Some(0x0C), said: "no" }));
        }
        let bytes = answer(|writer| writer.enumeration(n::RESULT_STATUS, 1));
        let read = Answer::read(&bytes, Operation::Decrypt)?;
        assert_eq!(read.result.err(), Some(Refusal { reason: None, said: "" }));
        Ok(())
    }

    #[test]
    fn half_an_answer_is_none() {
        let whole = answer(|writer| {
            writer.enumeration(n::OPERATION, 0x20);
            writer.enumeration(n::RESULT_STATUS, 0);
            writer.structure(n::RESPONSE_PAYLOAD, |_| {});
        });
        assert!(Answer::read(&whole, Operation::Decrypt).is_ok());
        for at in 0..whole.len() {
            assert!(Answer::read(&whole[..at], Operation::Decrypt).is_err(), "{at}");
        }
        let no_payload = answer(|writer| {
            writer.enumeration(n::OPERATION, 0x20);
            writer.enumeration(n::RESULT_STATUS, 0);
        });
        let told = Answer::read(&no_payload, Operation::Decrypt).err();
        assert_eq!(told, Some(Malformed::Missing));
    }

    #[test]
    fn versions_stand_in_an_order() {
        let of = |major, minor| Version { major, minor };
        assert!(of(1, 3) < Version::LEAST && of(1, 2) < of(1, 10) && of(1, 10) < of(2, 0));
        assert!(Version::SPOKEN.iter().all(|version| *version >= Version::LEAST));
        assert_eq!(of(2, 1).to_string(), "2.1");
    }
}
