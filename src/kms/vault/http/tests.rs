#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use super::*;

fn kek() -> KekUri {
    "vault+http://127.0.0.1/transit/keys/k".parse().unwrap()
}

fn server(port: u16) -> Server {
    let authority = Authority::parse(&format!("127.0.0.1:{port}"));
    Server { authority: authority.ok().unwrap(), tls: None }
}

/// What a server that answers with `pieces`, the last again and again if `endless`, makes of a
/// request; and what it was sent.
fn answered(pieces: &[&[u8]], endless: bool) -> (Result<Received, Lost>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let pieces: Vec<Vec<u8>> = pieces.iter().map(|piece| piece.to_vec()).collect();
    let thread = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut got = Vec::new();
        while !got.ends_with(b"{\"a\":1}") {
            let mut piece = [0; 1024];
            let n = stream.read(&mut piece).unwrap();
            assert_ne!(n, 0, "the client went away");
            got.extend_from_slice(&piece[..n]);
        }
        for piece in &pieces {
            let _ = stream.write_all(piece);
        }
        while endless && stream.write_all(pieces.last().unwrap()).is_ok() {}
        String::from_utf8(got).unwrap()
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let to = server(port);
    let token = HeaderName::from_static("x-vault-token");
    let sent = Sent {
        path: "transit/decrypt/k",
        body: Some(Bytes::from_static(b"{\"a\":1}")),
        headers: vec![(token, HeaderValue::from_static("t"))],
    };
    let received = runtime.block_on(exchange(&to, sent));
    (received, thread.join().unwrap())
}

async fn exchange(to: &Server, sent: Sent<'_>) -> Result<Received, Lost> {
    Connection::new(to, &kek()).await?.exchange(to, sent).await
}

#[test]
fn a_request_is_one_post() {
    let (received, sent) =
        answered(&[b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{", b"}"], false);
    let received = received.ok().unwrap();
    assert_eq!((received.status, received.body.as_slice()), (200, &b"{}"[..]));
    assert_eq!(received.retry_after, None);
    let (head, _) = sent.split_once("\r\n\r\n").unwrap();
    let mut lines = head.lines();
    assert_eq!(lines.next(), Some("POST /v1/transit/decrypt/k HTTP/1.1"));
    let mut headers: Vec<_> = lines.collect();
    headers.sort_unstable();
    let host =
        headers.iter().find(|line| line.starts_with("host: 127.0.0.1:")).unwrap().to_string();
    assert_eq!(
        headers,
        [
            "content-length: 7",
            "content-type: application/json",
            host.as_str(),
            "x-vault-request: true",
            "x-vault-token: t",
        ]
    );
}

#[test]
fn a_refusal_comes_with_when_to_ask_again() {
    let answer = b"HTTP/1.1 429 Too Many\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n";
    let received = answered(&[answer], false).0.ok().unwrap();
    assert_eq!((received.status, received.retry_after.as_deref()), (429, Some("7")));
    let answer =
        b"HTTP/1.1 307 Elsewhere\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(answered(&[answer], false).0.ok().unwrap().status, 307);
}

#[test]
fn what_is_no_answer_is_told_by_what_it_is() {
    for (pieces, endless, said) in [
        (&[&b"SSH-2.0-OpenSSH_9.2\r\n"[..]][..], false, "not HTTP"),
        (&[b"\x16\x03\x01\x02\0\x01\0\x01\xFC\x03\x03"], false, "not HTTP"),
        (&[b""], false, "before the answer was whole"),
        (&[b"HTTP/1.1 200 OK\r\n"], false, "before the answer was whole"),
        (&[b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"], false, "connection broke"),
        (&[b"HTTP/1.1 200 OK\r\n\r\n", &[b'x'; 8192]], true, "does not end"),
        (
            &[b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"4\r\naaaa\r\n"],
            true,
            "does not end",
        ),
        (
            &[b"HTTP/1.1 200 OK\r\n", b"x-header: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n"],
            true,
            "not HTTP",
        ),
        (&[b"HTTP/1.1 200 OK\r\nx: ", &[b'x'; 8192]], true, "not HTTP"),
    ] {
        let error = answered(pieces, endless).0.err().unwrap().message();
        assert!(error.contains(said), "{error:?} has no {said:?}");
    }
}

#[test]
fn nobody_there_is_no_connection() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    // No port that the system gives to the tests beside this one.
    let to = server(1);
    let sent = Sent { path: "x", body: None, headers: Vec::new() };
    let lost = runtime.block_on(exchange(&to, sent)).err().unwrap();
    assert!(matches!(lost, Lost::Unconnected(Failed::ForNow(..))), "{lost:?}");
}

/// A machine has an address that others reach it by, whether they do or not: the way there needs no answer.
#[test]
fn without_tls_nothing_is_sent_to_an_address_that_is_no_loopback() {
    let way = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    if way.connect("192.0.2.1:9").is_err() {
        return;
    }
    let ip = way.local_addr().unwrap().ip();
    let listener = TcpListener::bind((ip, 0)).unwrap();
    let to = Authority::parse(&listener.local_addr().unwrap().to_string());
    let to = Server { authority: to.ok().unwrap(), tls: None };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let sent = Sent { path: "transit/decrypt/k", body: None, headers: Vec::new() };
    let received = runtime.block_on(exchange(&to, sent));
    assert!(matches!(received, Err(Lost::Elsewhere)));
    let (mut stream, _) = listener.accept().unwrap();
    assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
}
