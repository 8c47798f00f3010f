use std::future::Future;

use tokio::io::{DuplexStream, duplex};

use super::*;
use crate::kms::kmip::numbers as n;
use crate::kms::kmip::ttlv::Structure;

const V1_2: Version = Version { major: 1, minor: 2 };
const V1_4: Version = Version { major: 1, minor: 4 };
const V2_0: Version = Version { major: 2, minor: 0 };

/// What a server answers to a request's version and operation.
type Script = fn(Version, u32) -> Vec<u8>;

fn run<T>(work: impl Future<Output = T>) -> io::Result<T> {
    Ok(tokio::runtime::Builder::new_current_thread().build()?.block_on(work))
}

/// Answers each request as `script` says, until the other side goes.
async fn serve(mut stream: DuplexStream, script: Script) -> Result<(), Lost> {
    loop {
        let mut header = [0; HEADER_LEN];
        stream.read_exact(&mut header).await?;
        let len = message_len(&header, n::REQUEST_MESSAGE, 1 << 20).ok_or(Lost::NotKmip)?;
        let mut rest = vec![0; len - HEADER_LEN];
        stream.read_exact(&mut rest).await?;
        let message = Structure::new(&rest);
        let header = message.first(n::REQUEST_HEADER)?.structure()?;
        let version = Version::read(header.first(n::PROTOCOL_VERSION)?.structure()?)?;
        let item = message.first(n::BATCH_ITEM)?.structure()?;
        let operation = item.first(n::OPERATION)?.enumeration()?;
        stream.write_all(&script(version, operation)).await?;
    }
}

/// What `work` gives on a connection to such a server.
fn with<T, F: Future<Output = T>>(
    script: Script,
    work: impl FnOnce(DuplexStream) -> F,
) -> io::Result<T> {
    let (ours, theirs) = duplex(256);
    run(async {
        let served = serve(theirs, script);
        tokio::pin!(served);
        let work = work(ours);
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                _ = &mut served => {}
            }
        }
    })
}

fn answer(version: Version, item: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer::with_capacity(0);
    writer.structure(n::RESPONSE_MESSAGE, |writer| {
        writer.structure(n::RESPONSE_HEADER, |writer| {
            version.write(writer);
            writer.integer(n::BATCH_COUNT, 1);
        });
        writer.structure(n::BATCH_ITEM, item);
    });
    writer.into_bytes().to_vec()
}

fn refused(version: Version, reason: u32) -> Vec<u8> {
    answer(version, |writer| {
        writer.enumeration(n::RESULT_STATUS, 1);
        writer.enumeration(n::RESULT_REASON, reason);
    })
}

fn versions(version: Version, told: &[Version]) -> Vec<u8> {
    answer(version, |writer| {
        writer.enumeration(n::OPERATION, 0x1E);
        writer.enumeration(n::RESULT_STATUS, 0);
        writer.structure(n::RESPONSE_PAYLOAD, |writer| {
            told.iter().for_each(|version| version.write(writer));
        });
    })
}

fn agreed(script: Script) -> io::Result<Result<Version, String>> {
    with(script, async |stream| {
        Session::begin(stream).await.map(|session| session.version()).map_err(|e| format!("{e:?}"))
    })
}

#[test]
fn the_version_is_one_that_both_speak() -> io::Result<()> {
    assert_eq!(agreed(|v, _| versions(v, &[V2_0, V1_4, V1_2]))?, Ok(V1_4));
    assert_eq!(agreed(|v, _| versions(v, &[V2_0]))?, Ok(V2_0));
    // One that knows nothing of 1.x.
    assert_eq!(
        agreed(|v, _| if v == V2_0 { versions(v, &[V2_0]) } else { refused(v, 0x04) })?,
        Ok(V2_0)
    );
    Ok(())
}

#[test]
fn older_servers_are_refused() -> io::Result<()> {
    let scripts: [Script; 4] = [
        |v, _| versions(v, &[V1_2]),
        |v, _| versions(v, &[]),
        |v, _| refused(v, 0x04),
        |_, _| refused(V1_2, 0x3F),
    ];
    for script in scripts {
        assert!(agreed(script)?.is_err_and(|lost| lost.starts_with("OtherVersions")));
    }
    // Not the versions' fault.
    let lost = agreed(|v, _| refused(v, 0x03))?;
    assert!(lost.is_err_and(|lost| lost.starts_with("Refused")));
    Ok(())
}

/// What comes of asking to encrypt.
fn asked(script: Script) -> io::Result<Result<(), String>> {
    with(script, async |stream| {
        let mut session = Session::resume(stream, V1_4);
        let received = session.ask(Operation::Encrypt, |_| {}).await;
        received.map(|_| ()).map_err(|lost| format!("{lost:?}"))
    })
}

fn encrypted(version: Version) -> Vec<u8> {
    answer(version, |writer| {
        writer.enumeration(n::OPERATION, 0x1F);
        writer.enumeration(n::RESULT_STATUS, 0);
        writer.structure(n::RESPONSE_PAYLOAD, |_| {});
    })
}

#[test]
fn a_success_in_another_version_does_not_count() -> io::Result<()> {
    assert_eq!(asked(|_, _| encrypted(V1_4))?, Ok(()));
    assert!(asked(|_, _| encrypted(V1_2))?.is_err_and(|l| l.starts_with("AnotherVersion")));
    // A refusal is one in any.
    assert_eq!(asked(|_, _| refused(V1_2, 0x03))?, Ok(()));
    Ok(())
}

#[test]
fn what_is_no_answer_is_told() -> io::Result<()> {
    let scripts: [Script; 4] = [
        |_, _| b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
        |_, _| b"SSH-2.0-OpenSSH_9.2p1\r\n".to_vec(),
        // As long as it may say, and longer than is read.
        |_, _| vec![0x42, 0, 0x7B, 1, 0xFF, 0xFF, 0xFF, 0xF8],
        |_, _| vec![0x42, 0, 0x7B, 1, 0, 1, 0, 0],
    ];
    for script in scripts {
        assert_eq!(asked(script)?, Err("NotKmip".into()));
    }
    let empty = asked(|_, _| vec![0x42, 0, 0x7B, 1, 0, 0, 0, 0])?;
    assert_eq!(empty, Err("Malformed(Missing)".into()));
    Ok(())
}

#[test]
fn half_an_answer_is_a_broken_connection() -> io::Result<()> {
    let (ours, theirs) = duplex(256);
    let told = run(async {
        let half = async move {
            let mut theirs = theirs;
            let mut header = [0; HEADER_LEN];
            theirs.read_exact(&mut header).await?;
            let whole = encrypted(V1_4);
            theirs.write_all(&whole[..whole.len() - 8]).await?;
            theirs.shutdown().await
        };
        let mut session = Session::resume(ours, V1_4);
        let (_, told) = tokio::join!(half, session.ask(Operation::Encrypt, |_| {}));
        told.map(|_| ()).err()
    })?;
    assert!(matches!(told, Some(Lost::Io(_))), "{told:?}");
    Ok(())
}
