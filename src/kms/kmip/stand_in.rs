//! A server for the tests of what is asked of one. It speaks KMIP, and has no cipher worth the name.

use std::future::Future;
use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::message::Version;
use super::numbers as n;
use super::session::Lost;
use super::ttlv::{HEADER_LEN, Malformed, Structure, Tag, Writer, message_len};

/// A request as it came, without its header of 8 bytes.
pub(super) struct Request(Vec<u8>);

impl Request {
    pub(super) fn version(&self) -> Result<Version, Malformed> {
        let header = Structure::new(&self.0).first(n::REQUEST_HEADER)?.structure()?;
        Version::read(header.first(n::PROTOCOL_VERSION)?.structure()?)
    }

    pub(super) fn operation(&self) -> Result<u32, Malformed> {
        let item = Structure::new(&self.0).first(n::BATCH_ITEM)?.structure()?;
        item.first(n::OPERATION)?.enumeration()
    }

    pub(super) fn bytes(&self, tag: Tag) -> Result<&[u8], Malformed> {
        let item = Structure::new(&self.0).first(n::BATCH_ITEM)?.structure()?;
        item.first(n::REQUEST_PAYLOAD)?.structure()?.first(tag)?.bytes()
    }
}

/// What a server answers.
pub(super) trait Script:
    FnMut(&Request) -> Result<Vec<u8>, Malformed> + Send + 'static
{
}

impl<F: FnMut(&Request) -> Result<Vec<u8>, Malformed> + Send + 'static> Script for F {}

/// What `work` gives on a connection to a server that answers as `script` says.
pub(super) fn with<T, F: Future<Output = T>>(
    script: impl Script,
    work: impl FnOnce(DuplexStream) -> F,
) -> io::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let (ours, theirs) = duplex(256);
    runtime.spawn(serve(theirs, script));
    Ok(runtime.block_on(work(ours)))
}

/// Answers one request after the other. What is no request, or has no answer, ends the connection.
async fn serve(mut stream: DuplexStream, mut script: impl Script) -> Result<(), Lost> {
    loop {
        let mut header = [0; HEADER_LEN];
        stream.read_exact(&mut header).await?;
        let len = message_len(&header, n::REQUEST_MESSAGE, 1 << 20).ok_or(Lost::NotKmip)?;
        let mut message = vec![0; len - HEADER_LEN];
        stream.read_exact(&mut message).await?;
        let answer = script(&Request(message))?;
        stream.write_all(&answer).await?;
    }
}

/// A message of one batch item.
pub(super) fn answer(version: Version, item: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer::with_capacity(0);
    writer.structure(n::RESPONSE_MESSAGE, |writer| {
        writer.structure(n::RESPONSE_HEADER, |writer| {
            version.write(writer);
            writer.text(n::SERVER_CORRELATION_VALUE, "c-1");
            writer.integer(n::BATCH_COUNT, 1);
        });
        writer.structure(n::BATCH_ITEM, item);
    });
    writer.into_bytes().to_vec()
}

pub(super) fn refused(version: Version, reason: u32) -> Vec<u8> {
    answer(version, |writer| {
        writer.enumeration(n::RESULT_STATUS, 1);
        writer.enumeration(n::RESULT_REASON, reason);
        writer.text(n::RESULT_MESSAGE, "by the test");
    })
}

pub(super) fn done(version: Version, operation: u32, payload: impl FnOnce(&mut Writer)) -> Vec<u8> {
    answer(version, |writer| {
        writer.enumeration(n::OPERATION, operation);
        writer.enumeration(n::RESULT_STATUS, 0);
        writer.structure(n::RESPONSE_PAYLOAD, payload);
    })
}
