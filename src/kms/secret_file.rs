//! Secrets and certificates in files that a setting names. What is checked is the open file, never
//! its name, so nothing can change in between. They are read anew each time: whoever renews one
//! writes it, and need tell nobody.

#![allow(dead_code, reason = "for providers, which a build may leave out")]

use std::fs::{File, Metadata, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use zeroize::Zeroizing;

use super::file::{effective_user, is_trusted};
use super::{KekUri, Kind, KmsError};

/// What a file holds, and so who may read and place it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    /// A secret that an administrator put there, by the rules that PostgreSQL has for
    /// `ssl_key_file`: the server's user's and its alone, or root's and perhaps its group's. No link.
    Secret,
    /// A token that another program renews. Orchestrators mount those as links, readable for
    /// everybody in the container.
    Token,
    /// Certificates: no secret, but who may write them decides who is believed.
    Certificates,
}

/// Many times a token, a key or a private CA's certificates.
const LONGEST: u64 = 64 * 1024;

/// The bytes in the file at `path`, which `setting` names. Wiped when dropped.
///
/// # Errors
/// [`Kind::BadUri`] for a path that is not absolute; [`Kind::Unavailable`] when the system has no
/// descriptor or the disk does not answer; else [`Kind::Credentials`], for certificates
/// [`Kind::BadUri`].
pub(super) fn read(
    path: &str,
    setting: &str,
    holds: Holds,
    kek: &KekUri,
) -> Result<Zeroizing<Vec<u8>>, KmsError> {
    let unfit = |why: String, hint: &str| {
        let kind = if holds == Holds::Certificates { Kind::BadUri } else { Kind::Credentials };
        KmsError::new(kind, kek, format!("file \"{path}\" of {setting} {why}")).with_hint(hint)
    };
    if !Path::new(path).is_absolute() {
        let message = format!("{setting} is not an absolute path");
        return Err(KmsError::new(Kind::BadUri, kek, message)
            .with_hint("Write the file's whole path, from the root directory."));
    }
    let failed = |error: std::io::Error| match KmsError::io_kind(&error) {
        Kind::Unavailable if error.raw_os_error() == Some(libc::ELOOP) => {
            unfit("is a symbolic link".into(), "Put the file itself there.")
        }
        Kind::Unavailable => {
            let message = format!("could not read file \"{path}\" of {setting}: {error}");
            KmsError::new(Kind::Unavailable, kek, message)
        }
        _ => unfit(
            format!("could not be read: {error}"),
            "The user that the server runs as must be able to read it.",
        ),
    };
    let file = open(Path::new(path), holds).map_err(failed)?;
    let found = Found::of(&file.metadata().map_err(failed)?);
    if let Some((why, hint)) = found.objection(holds, effective_user()) {
        return Err(unfit(why, hint));
    }
    // A file that grows meanwhile is cut, and does not outgrow the buffer, which would leave copies.
    let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST as usize + 1));
    file.take(LONGEST + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.is_empty() || bytes.len() as u64 > LONGEST {
        return Err(unfit("is empty, or longer than 64 KiB".into(), "Is it the right file?"));
    }
    Ok(bytes)
}

/// As [`read`], the one line that the file holds, without white space around it: what goes into a
/// request's header or body. An error when it has other than ASCII's visible characters.
pub(super) fn read_line(
    path: &str,
    setting: &str,
    holds: Holds,
    kek: &KekUri,
) -> Result<Zeroizing<String>, KmsError> {
    let bytes = read(path, setting, holds, kek)?;
    let line = bytes.trim_ascii();
    match std::str::from_utf8(line) {
        Ok(line) if !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Ok(Zeroizing::new(line.to_owned()))
        }
        _ => {
            let message = format!("file \"{path}\" of {setting} does not hold one line of text");
            Err(KmsError::new(Kind::Credentials, kek, message)
                .with_hint("It must hold the secret alone: no name before it, no second line."))
        }
    }
}

fn open(path: &Path, holds: Holds) -> std::io::Result<File> {
    let no_links = if holds == Holds::Secret { libc::O_NOFOLLOW } else { 0 };
    // O_NONBLOCK: opening a pipe would wait for its other end. Plain files take no notice of it.
    let flags = no_links | libc::O_CLOEXEC | libc::O_NONBLOCK;
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// What the file system says of an open file.
#[derive(Clone, Copy)]
struct Found {
    is_file: bool,
    mode: u32,
    owner: u32,
}

impl Found {
    fn of(metadata: &Metadata) -> Found {
        Found { is_file: metadata.is_file(), mode: metadata.mode() & 0o7777, owner: metadata.uid() }
    }

    /// What stands against it on a server that runs as `user`, and what to do.
    fn objection(self, holds: Holds, user: u32) -> Option<(String, &'static str)> {
        let Found { is_file, mode, owner } = self;
        if !is_file {
            return Some((
                "is not a regular file".into(),
                "Put a file there, and no directory or device.",
            ));
        }
        if !is_trusted(owner, user) {
            return Some((
                format!("belongs to user {owner}, neither to the server's nor to root"),
                "Give the file to the user that the server runs as, or to root.",
            ));
        }
        if mode & 0o022 != 0 {
            return Some((
                format!("has mode {mode:04o}, so that others than its owner can write it"),
                "Take the right to write it from all but its owner: chmod go-w.",
            ));
        }
        // Root's group is the administrator's to choose; the server's user has no say in it.
        let readers = if owner == 0 && user != 0 { 0o007 } else { 0o077 };
        if holds == Holds::Secret && mode & readers != 0 {
            return Some((
                format!("has mode {mode:04o}, so that others than its owner can read it"),
                "chmod 0600 it (0640 if it is root's). If somebody may have read it, have the secret \
                 replaced.",
            ));
        }
        None
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::PathBuf;

    use super::Holds::{Certificates, Secret, Token};
    use super::*;

    fn kek() -> KekUri {
        "kmip://h/1".parse().unwrap()
    }

    struct Directory(PathBuf);

    impl Directory {
        fn new() -> Directory {
            let path = std::env::temp_dir().join(format!("secret-{:x}", getrandom::u64().unwrap()));
            fs::create_dir(&path).unwrap();
            Directory(path)
        }

        fn file(&self, name: &str, mode: u32, bytes: &[u8]) -> String {
            let path = self.0.join(name);
            fs::write(&path, bytes).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            path.to_str().unwrap().into()
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn kind(path: &str, holds: Holds) -> Option<Kind> {
        read(path, "envelope.x", holds, &kek()).err().map(|error| error.kind)
    }

    #[test]
    fn what_a_file_holds_comes_back() {
        let directory = Directory::new();
        let secret = directory.file("secret", 0o600, b" s.ecret\r\n");
        for holds in [Secret, Token, Certificates] {
            assert_eq!(read(&secret, "x", holds, &kek()).unwrap().as_slice(), b" s.ecret\r\n");
            assert_eq!(read_line(&secret, "x", holds, &kek()).unwrap().as_str(), "s.ecret");
        }
        for (name, text) in [("two", "a\nb"), ("space", "a b"), ("none", "\n"), ("other", "\u{e9}")]
        {
            let path = directory.file(name, 0o600, text.as_bytes());
            assert!(read_line(&path, "x", Secret, &kek()).is_err(), "{name}");
        }
    }

    #[test]
    fn a_link_is_for_what_an_orchestrator_mounts() {
        let directory = Directory::new();
        directory.file("secret", 0o600, b"x");
        let link = directory.0.join("link");
        symlink("secret", &link).unwrap();
        let link = link.to_str().unwrap();
        assert_eq!(kind(link, Secret), Some(Kind::Credentials));
        assert_eq!(kind(link, Token), None);
        assert_eq!(kind(link, Certificates), None);
    }

    #[test]
    fn what_is_no_secret_file_is_refused() {
        let directory = Directory::new();
        let longest = directory.file("longest", 0o600, &[1; 64 * 1024]);
        let longer = directory.file("longer", 0o600, &[1; 64 * 1024 + 1]);
        let empty = directory.file("empty", 0o600, b"");
        let dir = directory.0.to_str().unwrap();
        let gone = format!("{dir}/gone");
        for (path, secret, certificates) in [
            (longest.as_str(), None, None),
            (&longer, Some(Kind::Credentials), Some(Kind::BadUri)),
            (&empty, Some(Kind::Credentials), Some(Kind::BadUri)),
            (&gone, Some(Kind::Credentials), Some(Kind::BadUri)),
            (dir, Some(Kind::Credentials), Some(Kind::BadUri)),
            ("/dev/zero", Some(Kind::Credentials), Some(Kind::BadUri)),
            ("secret", Some(Kind::BadUri), Some(Kind::BadUri)),
            ("", Some(Kind::BadUri), Some(Kind::BadUri)),
        ] {
            assert_eq!(kind(path, Secret), secret, "{path}");
            assert_eq!(kind(path, Certificates), certificates, "{path}");
        }
    }

    #[test]
    fn who_may_read_and_write() {
        let (root, server, other) = (0, 26, 1000);
        for (mode, owner, secret, token) in [
            (0o600, server, true, true),
            (0o400, server, true, true),
            (0o640, server, false, true),
            (0o604, server, false, true),
            (0o644, server, false, true),
            (0o620, server, false, false),
            (0o602, server, false, false),
            (0o777, server, false, false),
            (0o600, root, true, true),
            (0o640, root, true, true),
            (0o644, root, false, true),
            (0o660, root, false, false),
            (0o600, other, false, false),
            (0o644, other, false, false),
        ] {
            let found = Found { is_file: true, mode, owner };
            let fits = |holds| found.objection(holds, server).is_none();
            assert_eq!((fits(Secret), fits(Token)), (secret, token), "{mode:o} of {owner}");
            assert_eq!(fits(Certificates), token, "{mode:o} of {owner}");
        }
        let found = Found { is_file: true, mode: 0o640, owner: root };
        assert!(found.objection(Secret, root).is_some(), "root's own server");
        let found = Found { is_file: false, mode: 0o600, owner: server };
        assert!(found.objection(Certificates, server).is_some());
    }
}
