//! One request over HTTP/1.1 and its answer, on a connection of its own.
//!
//! The connection closes with the answer: kept open, its buffers would hold the data key until the
//! next one. What is read is bounded, and so is what any part of it may take: headers by hyper's own
//! buffer, the body by [`LONGEST`], the time by whoever calls. Redirects are not followed.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use zeroize::Zeroizing;

use super::super::KekUri;
use super::super::retry::Failed;
use super::super::tls::{self, Tls};
use super::super::uri::{Authority, VaultKey};

/// Many times what transit answers with for one wrap.
const LONGEST: usize = 256 * 1024;

/// The most that hyper keeps of an answer's head.
const LONGEST_HEAD: usize = 64 * 1024;

/// Where to.
pub(super) struct Server {
    pub(super) authority: Authority,
    /// `None`: HTTP without TLS.
    pub(super) tls: Option<Tls>,
}

/// What to send.
pub(super) struct Sent<'a> {
    /// From the root, without the API's version.
    pub(super) path: &'a str,
    /// `None`: GET.
    pub(super) body: Option<Zeroizing<Vec<u8>>>,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
}

/// What came.
pub(super) struct Received {
    pub(super) status: u16,
    pub(super) body: Zeroizing<Vec<u8>>,
    /// Its `Retry-After` header.
    pub(super) retry_after: Option<String>,
}

/// Why nothing came.
#[derive(Debug)]
pub(super) enum Lost {
    /// There is no connection, or no TLS on it.
    Unconnected(Failed),
    /// The connection broke, or what came is no HTTP.
    Http(hyper::Error),
    /// Without TLS, and not on this machine. Nothing was sent.
    Elsewhere,
    /// More than an answer can be.
    TooLong,
    /// The request cannot be put into words.
    Request,
}

/// Sends a request and gives its answer. Errors of the connection speak of `kek`.
///
/// # Errors
/// [`Lost`].
pub(super) async fn exchange(
    server: &Server,
    sent: Sent<'_>,
    kek: &KekUri,
) -> Result<Received, Lost> {
    let request = request(server, sent)?;
    let tcp = tls::tcp(&server.authority, VaultKey::PORT, kek).await.map_err(Lost::Unconnected)?;
    match &server.tls {
        None if tcp.peer_addr().is_ok_and(|peer| peer.ip().to_canonical().is_loopback()) => {
            over(tcp, request).await
        }
        // A resolver gave the name `localhost` to another machine.
        None => Err(Lost::Elsewhere),
        Some(tls) => {
            let stream = tls.handshake(tcp, &server.authority, kek).await;
            over(stream.map_err(Lost::Unconnected)?, request).await
        }
    }
}

fn request(server: &Server, sent: Sent<'_>) -> Result<Request<Full<Bytes>>, Lost> {
    let method = if sent.body.is_some() { Method::POST } else { Method::GET };
    let mut builder = Request::builder()
        .method(method)
        .uri(format!("/v1/{}", sent.path))
        .header(HOST, server.authority.to_string())
        .header(CONNECTION, "close")
        .header(CONTENT_TYPE, "application/json")
        // An agent in between may ask for it: what makes a browser send it cannot be a web page.
        .header("x-vault-request", "true");
    for (name, value) in sent.headers {
        builder = builder.header(name, value);
    }
    let body = sent.body.map_or_else(Bytes::new, Bytes::from_owner);
    builder.body(Full::new(body)).map_err(|_| Lost::Request)
}

/// The exchange on a connection that stands. Everything of it lives and ends with this future.
async fn over(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    request: Request<Full<Bytes>>,
) -> Result<Received, Lost> {
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(LONGEST_HEAD)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(Lost::Http)?;
    let answer = async {
        let answer = sender.send_request(request).await.map_err(Lost::Http)?;
        let status = answer.status().as_u16();
        let retry_after = answer.headers().get(RETRY_AFTER);
        let retry_after = retry_after.and_then(|value| value.to_str().ok().map(str::to_owned));
        Ok(Received { status, body: whole(answer.into_body()).await?, retry_after })
    };
    let (mut answer, mut connection) = (pin!(answer), pin!(connection));
    let mut is_open = true;
    poll_fn(|context| {
        if let Poll::Ready(answer) = answer.as_mut().poll(context) {
            return Poll::Ready(answer);
        }
        // It moves the bytes. Its own error reaches the answer as well.
        if is_open && connection.as_mut().poll(context).is_ready() {
            is_open = false;
        }
        answer.as_mut().poll(context)
    })
    .await
}

/// The body, if it is not too long to be one.
async fn whole(mut body: Incoming) -> Result<Zeroizing<Vec<u8>>, Lost> {
    let mut read = Zeroizing::new(Vec::with_capacity(4096));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(Lost::Http)?;
        let piece = frame.data_ref().map_or(&[][..], |data| data);
        if read.len() + piece.len() > LONGEST {
            return Err(Lost::TooLong);
        }
        read.extend_from_slice(piece);
    }
    Ok(read)
}

impl Lost {
    /// What happened on a connection that stood.
    pub(super) fn message(&self) -> String {
        match self {
            Self::Http(error) if error.is_parse() => "the answer is not HTTP".into(),
            Self::Http(error) if error.is_incomplete_message() => {
                "the connection was closed before the answer was whole".into()
            }
            Self::Http(error) => format!("the connection broke: {error}"),
            Self::Elsewhere => {
                "this address, which is asked without TLS, is not on this machine".into()
            }
            Self::TooLong => "the answer does not end".into(),
            Self::Request | Self::Unconnected(_) => "the request could not be made".into(),
        }
    }
}

#[cfg(test)]
mod tests;
