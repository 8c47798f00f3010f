//! Requests over HTTP/1.1 and their answers, one after the other on a connection.
//!
//! What is read is bounded, and so is what any part of it may take: headers by hyper's own buffer,
//! the body by [`LONGEST`], the time by whoever calls. Redirects are not followed.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue, RETRY_AFTER};
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
#[derive(Clone)]
pub(super) struct Sent<'a> {
    /// From the root, without the API's version.
    pub(super) path: &'a str,
    /// `None`: GET. All copies are one, which is wiped with the last of them.
    pub(super) body: Option<Bytes>,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
}

/// What came.
pub(super) struct Received {
    pub(super) status: u16,
    pub(super) body: Zeroizing<Vec<u8>>,
    /// Its `Retry-After` header.
    pub(super) retry_after: Option<String>,
    /// It is a refusal of the login that was in the request, and not of what was asked.
    pub(super) is_about_login: bool,
}

/// Why nothing came.
#[derive(Debug)]
pub(super) enum Lost {
    /// There is no connection, or no TLS on it.
    Unconnected(Failed),
    /// The connection broke before there was the head of an answer, or what came is no HTTP.
    Unanswered(hyper::Error),
    /// It broke in the middle of the answer.
    Broken(hyper::Error),
    /// Without TLS, and not on this machine. Nothing was sent.
    Elsewhere,
    /// More than an answer can be.
    TooLong,
    /// The request cannot be put into words.
    Request,
}

/// A connection that stands, with nothing on its way.
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    moves: Moves,
}

/// What moves the bytes of a connection, while it is polled. `None`: it has ended.
type Moves = Option<Pin<Box<dyn Future<Output = ()> + Send>>>;

fn poll_moves(moves: &mut Moves, context: &mut Context<'_>) {
    if moves.as_mut().is_some_and(|moves| moves.as_mut().poll(context).is_ready()) {
        *moves = None;
    }
}

impl Connection {
    /// A new one. Its errors speak of `kek`.
    ///
    /// # Errors
    /// [`Lost::Unconnected`], [`Lost::Elsewhere`].
    pub(super) async fn new(server: &Server, kek: &KekUri) -> Result<Self, Lost> {
        let authority = &server.authority;
        let tcp = tls::tcp(authority, VaultKey::PORT, kek).await.map_err(Lost::Unconnected)?;
        match &server.tls {
            None if tcp.peer_addr().is_ok_and(|peer| peer.ip().to_canonical().is_loopback()) => {
                Self::over(tcp).await
            }
            // A resolver gave the name `localhost` to another machine.
            None => Err(Lost::Elsewhere),
            Some(tls) => {
                let stream = tls.handshake(tcp, authority, kek).await;
                Self::over(stream.map_err(Lost::Unconnected)?).await
            }
        }
    }

    async fn over(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Result<Self, Lost> {
        let (sender, connection) = Builder::new()
            .max_buf_size(LONGEST_HEAD)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(Lost::Unanswered)?;
        // Its own error reaches the answer as well.
        let moves = async { drop(connection.await) };
        Ok(Self { sender, moves: Some(Box::pin(moves)) })
    }

    /// Sends a request and gives its answer. Where that is not whole, or is not awaited to its end,
    /// the connection is of no use any more.
    ///
    /// # Errors
    /// [`Lost`].
    pub(super) async fn exchange(
        &mut self,
        server: &Server,
        sent: Sent<'_>,
    ) -> Result<Received, Lost> {
        let request = request(server, sent)?;
        let Self { sender, moves } = self;
        let answer = async {
            let answer = sender.send_request(request).await.map_err(Lost::Unanswered)?;
            let status = answer.status().as_u16();
            let retry_after = answer.headers().get(RETRY_AFTER);
            let retry_after = retry_after.and_then(|value| value.to_str().ok().map(str::to_owned));
            let is_about_login =
                status != 200 && answer.headers().contains_key("x-vault-inline-auth-failed");
            let body = whole(answer.into_body()).await?;
            Ok(Received { status, body, retry_after, is_about_login })
        };
        let mut answer = pin!(answer);
        poll_fn(|context| {
            if let Poll::Ready(answer) = answer.as_mut().poll(context) {
                return Poll::Ready(answer);
            }
            poll_moves(moves, context);
            answer.as_mut().poll(context)
        })
        .await
    }

    /// Whether another request can go over it. The server may have closed it, or have said that it would.
    pub(super) async fn stands(&mut self) -> bool {
        poll_fn(|context| {
            poll_moves(&mut self.moves, context);
            Poll::Ready(matches!(self.sender.poll_ready(context), Poll::Ready(Ok(()))))
        })
        .await
    }
}

fn request(server: &Server, sent: Sent<'_>) -> Result<Request<Full<Bytes>>, Lost> {
    let method = if sent.body.is_some() { Method::POST } else { Method::GET };
    let mut builder = Request::builder()
        .method(method)
        .uri(format!("/v1/{}", sent.path))
        .header(HOST, server.authority.to_string())
        .header(CONTENT_TYPE, "application/json")
        // An agent in between may ask for it: what makes a browser send it cannot be a web page.
        .header("x-vault-request", "true");
    for (name, value) in sent.headers {
        builder = builder.header(name, value);
    }
    builder.body(Full::new(sent.body.unwrap_or_default())).map_err(|_| Lost::Request)
}

/// The body, if it is not too long to be one.
async fn whole(mut body: Incoming) -> Result<Zeroizing<Vec<u8>>, Lost> {
    let mut read = Zeroizing::new(Vec::with_capacity(4096));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(Lost::Broken)?;
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
            Self::Unanswered(error) | Self::Broken(error) if error.is_parse() => {
                "the answer is not HTTP".into()
            }
            Self::Unanswered(error) | Self::Broken(error) if error.is_incomplete_message() => {
                "the connection was closed before the answer was whole".into()
            }
            Self::Unanswered(error) | Self::Broken(error) => {
                format!("the connection broke: {error}")
            }
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
