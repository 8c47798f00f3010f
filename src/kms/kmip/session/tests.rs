use std::io;

use tokio::io::duplex;

use super::*;
use crate::kms::kmip::numbers as n;
use crate::kms::kmip::stand_in::{Request, answer, done, refused, with};

const V1_2: Version = Version { major: 1, minor: 2 };
const V1_4: Version = Version { major: 1, minor: 4 };
const V2_0: Version = Version { major: 2, minor: 0 };

fn versions(version: Version, told: &[Version]) -> Vec<u8> {
    done(version, 0x1E, |writer| told.iter().for_each(|version| version.write(writer)))
}

/// The version that is agreed on with a server that answers as `script` says.
fn agreed(script: fn(Version) -> Vec<u8>) -> io::Result<Result<Version, String>> {
    with(
        move |request: &Request| request.version().map(script),
        async |stream| {
            Session::begin(stream)
                .await
                .map(|session| session.version())
                .map_err(|e| format!("{e:?}"))
        },
    )
}

#[test]
fn the_version_is_one_that_both_speak() -> io::Result<()> {
    assert_eq!(agreed(|v| versions(v, &[V2_0, V1_4, V1_2]))?, Ok(V1_4));
    assert_eq!(agreed(|v| versions(v, &[V2_0]))?, Ok(V2_0));
    // One that knows nothing of 1.x.
    let only = |v| if v == V2_0 { versions(v, &[V2_0]) } else { refused(v, 0x04) };
    assert_eq!(agreed(only)?, Ok(V2_0));
    Ok(())
}

#[test]
fn older_servers_are_refused() -> io::Result<()> {
    let scripts: [fn(Version) -> Vec<u8>; 4] = [
        |v| versions(v, &[V1_2]),
        |v| versions(v, &[]),
        |v| refused(v, 0x04),
        |_| refused(V1_2, 0x3F),
    ];
    for script in scripts {
        assert!(agreed(script)?.is_err_and(|lost| lost.starts_with("OtherVersions")));
    }
    // Not the versions' fault.
    let lost = agreed(|v| refused(v, 0x03))?;
    assert!(lost.is_err_and(|lost| lost.starts_with("Refused")));
    Ok(())
}

/// What comes of asking in 1.4 to encrypt, and being answered so.
fn asked(told: Vec<u8>) -> io::Result<Result<(), String>> {
    with(
        move |_: &Request| Ok(told.clone()),
        async |stream| {
            let mut session = Session::resume(stream, V1_4);
            let received = session.ask(Operation::Encrypt, |_| {}).await;
            received.map(|_| ()).map_err(|lost| format!("{lost:?}"))
        },
    )
}

#[test]
fn a_success_in_another_version_does_not_count() -> io::Result<()> {
    assert_eq!(asked(done(V1_4, 0x1F, |_| {}))?, Ok(()));
    let other = asked(done(V1_2, 0x1F, |_| {}))?;
    assert!(other.is_err_and(|lost| lost.starts_with("AnotherVersion")));
    // A refusal is one in any.
    assert_eq!(asked(refused(V1_2, 0x03))?, Ok(()));
    Ok(())
}

#[test]
fn what_is_no_answer_is_told() -> io::Result<()> {
    for told in [
        b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
        b"SSH-2.0-OpenSSH_9.2p1\r\n".to_vec(),
        // As long as it may say, and longer than is read.
        vec![0x42, 0, 0x7B, 1, 0xFF, 0xFF, 0xFF, 0xF8],
        vec![0x42, 0, 0x7B, 1, 0, 1, 0, 0],
    ] {
        assert_eq!(asked(told)?, Err("NotKmip".into()));
    }
    let empty = asked(vec![0x42, 0, 0x7B, 1, 0, 0, 0, 0])?;
    assert_eq!(empty, Err("Malformed(Missing)".into()));
    let of_another = asked(done(V1_4, 0x20, |_| {}))?;
    assert_eq!(of_another, Err("Malformed(Value)".into()));
    let no_version = asked(answer(V1_4, |writer| writer.integer(n::BATCH_COUNT, 1)))?;
    assert_eq!(no_version, Err("Malformed(Missing)".into()));
    Ok(())
}

#[test]
fn half_an_answer_is_a_broken_connection() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let (ours, mut theirs) = duplex(1024);
    let told = runtime.block_on(async move {
        let whole = done(V1_4, 0x1F, |_| {});
        theirs.write_all(&whole[..whole.len() - 8]).await?;
        theirs.shutdown().await?;
        let mut session = Session::resume(ours, V1_4);
        Ok::<_, io::Error>(session.ask(Operation::Encrypt, |_| {}).await.map(|_| ()))
    })?;
    assert!(matches!(told, Err(Lost::Io(_))), "{told:?}");
    Ok(())
}
