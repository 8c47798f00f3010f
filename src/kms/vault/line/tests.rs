#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use super::super::super::uri::Authority;
use super::*;

/// What a server answers to the requests of one connection, one after the other; then it closes.
/// Nothing: it closes when the request has come.
type Script = Vec<&'static [u8]>;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
const LAST: &[u8] = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}";
const CLOSE: &[u8] = b"";

/// A server with a script for each connection.
struct Scripted {
    server: Arc<Server>,
    /// Requests that each connection has brought.
    brought: Arc<Mutex<Vec<usize>>>,
}

impl Scripted {
    fn new(scripts: Vec<Script>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = server(&listener.local_addr().unwrap().to_string());
        let brought = Arc::<Mutex<Vec<usize>>>::default();
        let counts = brought.clone();
        thread::spawn(move || {
            for script in scripts {
                let (stream, _) = listener.accept().unwrap();
                counts.lock().unwrap().push(0);
                serve(stream, script, || *counts.lock().unwrap().last_mut().unwrap() += 1);
            }
        });
        Self { server, brought }
    }

    fn brought(&self) -> Vec<usize> {
        self.brought.lock().unwrap().clone()
    }
}

fn server(address: &str) -> Arc<Server> {
    Arc::new(Server { authority: Authority::parse(address).ok().unwrap(), tls: None })
}

fn serve(mut stream: TcpStream, script: Script, mut asked: impl FnMut()) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    for answer in script {
        if lines.by_ref().take_while(|line| !line.as_ref().is_ok_and(String::is_empty)).count() == 0
        {
            return;
        }
        asked();
        if answer == CLOSE {
            return;
        }
        stream.write_all(answer).unwrap();
    }
}

/// Asks each of the servers over one line; their statuses, or what is said of their failures.
fn asked(servers: &[&Arc<Server>], line: &Line) -> Vec<Result<u16, String>> {
    let kek: KekUri = "vault+http://127.0.0.1/transit/keys/k".parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    runtime.block_on(async {
        let mut all = Vec::new();
        for server in servers {
            let sent = Sent { path: "x", body: None, headers: Vec::new() };
            let answer = line.exchange(server, sent, &kek).await;
            all.push(answer.map(|answer| answer.status).map_err(|lost| lost.message()));
        }
        all
    })
}

#[test]
fn a_call_has_one_connection_while_the_server_keeps_it() {
    for (scripts, brought) in [
        (vec![vec![OK, OK, OK], vec![OK]], &[3][..]),
        // It said that it would close, did so without a word, or when the next request had come.
        (vec![vec![OK, LAST], vec![OK]], &[2, 1]),
        (vec![vec![OK, OK], vec![OK]], &[2, 1]),
        (vec![vec![OK, OK, CLOSE], vec![OK]], &[3, 1]),
    ] {
        let there = Scripted::new(scripts);
        let line = Line::default();
        assert_eq!(asked(&[&there.server; 3], &line), [Ok(200), Ok(200), Ok(200)]);
        assert_eq!(there.brought(), brought);
    }
}

#[test]
fn what_was_answered_is_not_asked_again() {
    for answer in
        [&b"SSH-2.0-OpenSSH_9.2\r\n"[..], b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"]
    {
        let there = Scripted::new(vec![vec![OK, answer], vec![OK]]);
        let answers = asked(&[&there.server; 2], &Line::default());
        assert!(answers[0].is_ok() && answers[1].is_err(), "{answers:?}");
        assert_eq!(there.brought(), [2]);
    }
}

#[test]
fn a_new_connection_that_breaks_is_not_made_again_here() {
    let there = Scripted::new(vec![vec![CLOSE], vec![OK]]);
    assert!(asked(&[&there.server], &Line::default())[0].is_err());
    assert_eq!(there.brought(), [1]);
}

/// What TLS shows of this side may differ, though the address does not.
#[test]
fn another_reading_of_the_files_has_a_connection_of_its_own() {
    let there = Scripted::new(vec![vec![OK, OK], vec![OK, OK]]);
    let again = server(&there.server.authority.to_string());
    assert_eq!(
        asked(&[&there.server, &again, &again], &Line::default()),
        [Ok(200), Ok(200), Ok(200)]
    );
    assert_eq!(there.brought(), [1, 2]);
}
