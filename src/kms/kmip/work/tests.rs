use std::io;

use super::super::message::Version;
use super::super::numbers as n;
use super::super::stand_in::{Request, done, refused, with};
use super::super::ttlv::{Malformed, Writer};
use super::super::{KekUri, KmsError};
use super::*;

const V: Version = Version::LEAST;
const ENCRYPT: u32 = 0x1F;
const DECRYPT: u32 = 0x20;
const LOOK: u32 = 0x0B;
const DATA_KEY: [u8; 32] = [9; 32];
const CONTEXT: &[u8] = b"context";

/// How a server is, and what it is not.
#[derive(Clone, Copy)]
struct Server {
    /// The associated data count.
    binds: bool,
    gives_tag: bool,
    /// Decrypt gives what was encrypted.
    decrypts: bool,
    /// The identifier that answers bear.
    key: &'static str,
    state: u32,
    /// In bits.
    length: i32,
    look_refusal: Option<u32>,
    encrypt_refusal: Option<u32>,
    decrypt_refusal: Option<u32>,
    /// What a wrong tag is answered with.
    wrong_tag: u32,
}

const GOOD: Server = Server {
    binds: true,
    gives_tag: true,
    decrypts: true,
    key: "k",
    state: 2,
    length: 256,
    look_refusal: None,
    encrypt_refusal: None,
    decrypt_refusal: None,
    wrong_tag: 0x100,
};

fn tag(server: Server, data: &[u8], associated: &[u8]) -> [u8; 16] {
    let bound = if server.binds { associated } else { &[] };
    let mut tag = [0_u8; 16];
    for (at, byte) in data.iter().chain(bound).enumerate() {
        tag[at % 16] = tag[at % 16].wrapping_mul(31).wrapping_add(*byte);
    }
    tag
}

impl Server {
    fn answer(self, request: &Request) -> Result<Vec<u8>, Malformed> {
        let operation = request.operation()?;
        if operation == LOOK {
            if let Some(reason) = self.look_refusal {
                return Ok(refused(V, reason));
            }
            return Ok(done(V, operation, |writer| {
                writer.text(n::UNIQUE_IDENTIFIER, self.key);
                writer.structure(n::ATTRIBUTES, |w| {
                    w.enumeration(n::STATE, self.state);
                    w.integer(n::CRYPTOGRAPHIC_LENGTH, self.length);
                });
            }));
        }
        let is_encrypt = operation == ENCRYPT;
        if let Some(reason) = if is_encrypt { self.encrypt_refusal } else { self.decrypt_refusal } {
            return Ok(refused(V, reason));
        }
        let mut data: Vec<u8> = request.bytes(n::DATA)?.iter().map(|byte| byte ^ 0x55).collect();
        let associated = request.bytes(n::AUTHENTICATED_ENCRYPTION_ADDITIONAL_DATA)?;
        if is_encrypt {
            let tag = tag(self, &data, associated);
            return Ok(done(V, operation, |writer: &mut Writer| {
                writer.text(n::UNIQUE_IDENTIFIER, self.key);
                writer.bytes(n::DATA, &data);
                if self.gives_tag {
                    writer.bytes(n::AUTHENTICATED_ENCRYPTION_TAG, &tag);
                }
            }));
        }
        let sent = request.bytes(n::DATA)?;
        if request.bytes(n::AUTHENTICATED_ENCRYPTION_TAG)? != tag(self, sent, associated) {
            return Ok(refused(V, self.wrong_tag));
        }
        if !self.decrypts {
            data.fill(1);
        }
        Ok(done(V, operation, |writer: &mut Writer| {
            writer.text(n::UNIQUE_IDENTIFIER, self.key);
            writer.bytes(n::DATA, &data);
        }))
    }
}

/// What `task` gives, asked of `server`: the kind of its error, and whether it is tried again.
fn of<T: Task>(server: Server, task: T) -> io::Result<Result<T::Done, (Kind, bool)>> {
    let kek: KekUri = "kmip://h/k".parse().map_err(|error: KmsError| io::Error::other(error))?;
    let asked = Asked { kek, operation: T::OPERATION };
    with(
        move |request: &Request| server.answer(request),
        async |stream| {
            let session = Session::resume(stream, V);
            let mut kek = Kek { session, asked: &asked, tls: None, key: "k" };
            task.on(&mut kek).await.map_err(|failed| match failed {
                Failed::ForGood(error) => (error.kind, false),
                Failed::ForNow(error, _) => (error.kind, true),
            })
        },
    )
}

fn wrap(server: Server) -> io::Result<Result<Wrapped, (Kind, bool)>> {
    wrap_under(server, false)
}

/// By a key that was seen to be fit before, or not.
fn wrap_under(server: Server, is_seen: bool) -> io::Result<Result<Wrapped, (Kind, bool)>> {
    let data_key = Box::new(Zeroizing::new(DATA_KEY));
    of(server, Wrap { data_key, associated: CONTEXT.to_vec(), is_seen })
}

fn kind<T>(done: Result<T, (Kind, bool)>) -> Option<Kind> {
    done.err().map(|(kind, _)| kind)
}

/// A wrap that the good server has made.
fn wrapped() -> io::Result<Vec<u8>> {
    wrap(GOOD)?.map(|wrapped| wrapped.stored).map_err(|_| io::Error::other("no wrap"))
}

fn unwrap(server: Server, associated: &[u8]) -> io::Result<Result<Unwrapped, (Kind, bool)>> {
    of(server, Unwrap { wrapped: wrapped()?, associated: associated.to_vec() })
}

#[test]
fn a_wrap_gives_its_key_back() -> io::Result<()> {
    let made = wrap(GOOD)?;
    assert!(made.is_ok_and(|made| made.request_id.as_deref() == Some("c-1")));
    let back = unwrap(GOOD, CONTEXT)?;
    assert!(back.is_ok_and(|back| back.data_key.as_bytes() == &DATA_KEY));
    assert_eq!(kind(unwrap(GOOD, b"another")?), Some(Kind::InvalidWrap));
    Ok(())
}

#[test]
fn a_wrap_that_binds_nothing_is_refused() -> io::Result<()> {
    for bad in [
        Server { binds: false, ..GOOD },
        Server { gives_tag: false, ..GOOD },
        Server { decrypts: false, ..GOOD },
        Server { decrypt_refusal: Some(0x100), ..GOOD },
    ] {
        assert_eq!(kind(wrap(bad)?), Some(Kind::KeyState));
    }
    // Whatever reason it gives for the other associated data.
    for wrong_tag in [0x0A, 0x07, 0x0C, 0x8000_0001] {
        assert_eq!(kind(wrap(Server { wrong_tag, ..GOOD })?), None, "{wrong_tag:#x}");
    }
    // But that it is too busy to look.
    assert_eq!(wrap(Server { wrong_tag: 0x3A, ..GOOD })?.err(), Some((Kind::Throttled, true)));
    let denied = Server { decrypt_refusal: Some(0x0C), ..GOOD };
    assert_eq!(kind(wrap(denied)?), Some(Kind::Denied));
    Ok(())
}

#[test]
fn a_key_is_looked_at_before_it_wraps() -> io::Result<()> {
    for unfit in [Server { length: 128, ..GOOD }, Server { state: 1, ..GOOD }] {
        assert_eq!(wrap(unfit)?.err(), Some((Kind::KeyState, false)));
        // Once is enough.
        assert_eq!(kind(wrap_under(unfit, true)?), None);
        // Where that is not allowed, it is used as it is.
        assert_eq!(kind(wrap(Server { look_refusal: Some(0x0C), ..unfit })?), None);
    }
    let busy = Server { look_refusal: Some(0x3A), ..GOOD };
    assert_eq!(wrap(busy)?.err(), Some((Kind::Throttled, true)));
    Ok(())
}

#[test]
fn another_keys_answer_does_not_count() -> io::Result<()> {
    let other = Server { key: "K", ..GOOD };
    assert_eq!(kind(wrap(other)?), Some(Kind::InvalidWrap));
    assert_eq!(kind(unwrap(other, CONTEXT)?), Some(Kind::InvalidWrap));
    assert_eq!(kind(of(other, Look)?), Some(Kind::InvalidWrap));
    Ok(())
}

#[test]
fn a_denial_may_be_the_keys_state() -> io::Result<()> {
    let denied = Server { encrypt_refusal: Some(0x0C), decrypt_refusal: Some(0x0C), ..GOOD };
    for (state, expected) in [(2, Kind::Denied), (1, Kind::KeyState), (3, Kind::KeyState)] {
        let server = Server { state, ..denied };
        assert_eq!(wrap(server)?.err(), Some((expected, false)), "{state}");
        assert_eq!(unwrap(server, CONTEXT)?.err(), Some((expected, false)), "{state}");
    }
    Ok(())
}

#[test]
fn a_general_failure_is_the_wraps_or_the_servers() -> io::Result<()> {
    let fails = Server { decrypt_refusal: Some(0x100), ..GOOD };
    for (encrypt_refusal, expected) in [
        (None, Kind::InvalidWrap),
        (Some(0x100), Kind::Unavailable),
        (Some(0x2A), Kind::Unavailable),
        // Whoever may only decrypt is not told more.
        (Some(0x0C), Kind::InvalidWrap),
    ] {
        let server = Server { encrypt_refusal, ..fails };
        assert_eq!(kind(unwrap(server, CONTEXT)?), Some(expected), "{encrypt_refusal:?}");
    }
    // A reason that says it is believed.
    let told = Server { decrypt_refusal: Some(0x0A), encrypt_refusal: Some(0x100), ..GOOD };
    assert_eq!(kind(unwrap(told, CONTEXT)?), Some(Kind::InvalidWrap));
    Ok(())
}

#[test]
fn what_passes_is_tried_again() -> io::Result<()> {
    for (reason, expected) in [(0x3A, Kind::Throttled), (0x2A, Kind::Unavailable)] {
        let busy = Server { decrypt_refusal: Some(reason), encrypt_refusal: Some(reason), ..GOOD };
        assert_eq!(wrap(busy)?.err(), Some((expected, true)));
        assert_eq!(unwrap(busy, CONTEXT)?.err(), Some((expected, true)));
    }
    Ok(())
}

#[test]
fn a_data_key_has_32_bytes() -> io::Result<()> {
    let short = |request: &Request| {
        request.operation().map(|operation| {
            assert_eq!(operation, DECRYPT);
            done(V, operation, |writer| {
                writer.text(n::UNIQUE_IDENTIFIER, "k");
                writer.bytes(n::DATA, &[1; 31]);
            })
        })
    };
    let kek: KekUri = "kmip://h/k".parse().map_err(|error: KmsError| io::Error::other(error))?;
    let asked = Asked { kek, operation: Operation::Decrypt };
    let wrapped = wrapped()?;
    let told = with(short, async |stream| {
        let session = Session::resume(stream, V);
        let mut kek = Kek { session, asked: &asked, tls: None, key: "k" };
        Unwrap { wrapped, associated: CONTEXT.to_vec() }.on(&mut kek).await.err()
    })?;
    assert!(matches!(told, Some(Failed::ForGood(KmsError { kind: Kind::InvalidWrap, .. }))));
    Ok(())
}
