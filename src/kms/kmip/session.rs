//! A conversation with a server: one request, one answer, and so on until the connection is dropped.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use zeroize::Zeroizing;

use super::message::{self, Answer, MOST_ANSWERED, Operation, Version};
use super::numbers::RESPONSE_MESSAGE;
use super::payload;
use super::ttlv::{HEADER_LEN, Malformed, Writer, message_len};

/// Why there is no answer that can be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Lost {
    /// The connection broke.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// What came begins as no answer does, or says that it is longer than any.
    #[error("what came back is no KMIP")]
    NotKmip,
    #[error("the answer makes no sense ({0})")]
    Malformed(#[from] Malformed),
    /// The server speaks other versions alone: those that it told.
    #[error("the server does not speak KMIP {}", Version::LEAST)]
    OtherVersions(Vec<Version>),
    /// It did what was asked for, and says that it is of another version.
    #[error("the server answers in KMIP {0}, which it was not asked in")]
    AnotherVersion(Version),
    /// It refuses to tell which versions it speaks.
    #[error("the server refuses to tell its versions")]
    Refused(Received),
}

/// Reasons to ask in another version: Invalid Message, Operation Not Supported, Unsupported Protocol
/// Version.
const OTHER_VERSION: [u32; 3] = [0x04, 0x05, 0x3F];

/// An answer as it came. Wiped when dropped.
pub(super) struct Received {
    operation: Operation,
    message: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for Received {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.message.len())
    }
}

impl Received {
    /// The same, taken apart.
    pub(super) fn answer(&self) -> Result<Answer<'_>, Malformed> {
        Answer::read(&self.message, self.operation)
    }
}

/// An open connection and the version that is spoken on it.
pub(super) struct Session<S> {
    stream: S,
    version: Version,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Goes on in the `version` that the server is known to speak.
    pub(super) fn resume(stream: S, version: Version) -> Self {
        Self { stream, version }
    }

    /// Agrees with the server on a version.
    pub(super) async fn begin(stream: S) -> Result<Self, Lost> {
        let mut session = Self { stream, version: Version::LEAST };
        let mut told = Vec::new();
        // A server that does not know the version of the question cannot tell which it knows.
        for version in Version::SPOKEN {
            session.version = version;
            let received = session.send(Operation::DiscoverVersions, payload::discover).await?;
            let answer = received.answer()?;
            match answer.result {
                Ok(payload) => told.extend(payload::discovered(payload)?),
                Err(refusal) if refusal.reason.is_some_and(|r| OTHER_VERSION.contains(&r)) => {}
                Err(_) => return Err(Lost::Refused(received)),
            }
            if let Some(version) = Version::SPOKEN.into_iter().find(|v| told.contains(v)) {
                session.version = version;
                return Ok(session);
            }
        }
        Err(Lost::OtherVersions(told))
    }

    pub(super) fn version(&self) -> Version {
        self.version
    }

    /// Asks for `operation` with what `payload` writes. A success in another version does not count.
    pub(super) async fn ask(
        &mut self,
        operation: Operation,
        payload: impl FnOnce(&mut Writer),
    ) -> Result<Received, Lost> {
        let received = self.send(operation, payload).await?;
        let answer = received.answer()?;
        if answer.result.is_ok() && answer.version != self.version {
            return Err(Lost::AnotherVersion(answer.version));
        }
        Ok(received)
    }

    async fn send(
        &mut self,
        operation: Operation,
        payload: impl FnOnce(&mut Writer),
    ) -> Result<Received, Lost> {
        let request = message::request(self.version, operation, payload);
        self.stream.write_all(&request).await?;
        self.stream.flush().await?;
        drop(request);
        let mut header = [0; HEADER_LEN];
        self.stream.read_exact(&mut header).await?;
        let len = message_len(&header, RESPONSE_MESSAGE, MOST_ANSWERED).ok_or(Lost::NotKmip)?;
        let mut message = Zeroizing::new(vec![0; len]);
        message[..HEADER_LEN].copy_from_slice(&header);
        self.stream.read_exact(&mut message[HEADER_LEN..]).await?;
        Ok(Received { operation, message })
    }
}

#[cfg(test)]
mod tests;
