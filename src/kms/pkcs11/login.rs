//! Logging in, once for each process and token, with a PIN that is never wrong twice.
//!
//! A token locks itself after a few wrong PINs, and every backend of every session would try the same one. So all logins
//! of a server to a token go through one file, one after the other: it is locked meanwhile, and holds which PIN files
//! the token has refused. A PIN file that was written or touched since is another one.

use std::fs::{File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Seek};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use cryptoki::error::{Error, RvError};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::TokenInfo;
use cryptoki::types::RawAuthPin;

use super::super::secret_file::{self, Holds};
use super::super::{KekUri, Kind};
use super::fault::{Fault, Then};

/// What the list of refusals may take: the longest path that there can be, and hundreds of usual ones.
const MAX_LIST: usize = 64 * 1024;

pub(super) const SETTING: &str = "envelope.pkcs11_pin_file";

/// Where the PIN stands, and where is remembered that it was wrong.
#[derive(Debug, Clone)]
pub(super) struct Pin {
    /// [`SETTING`].
    pub(super) file: String,
    /// A directory that the server may write to, the same for all its backends.
    pub(super) remembered_in: PathBuf,
    /// For errors.
    pub(super) kek: KekUri,
}

impl Pin {
    /// Logs in. Who is logged in already, by us or by another library in this process, stays so.
    pub(super) fn log_in(
        &self,
        session: &Session,
        token: &TokenInfo,
        as_it_is_now: impl FnOnce() -> Result<TokenInfo, Fault>,
    ) -> Result<(), Fault> {
        let mut refusals = Refusals::open(&self.remembered_in, token)?;
        // The turn is ours.
        refuse_last_try(&as_it_is_now()?)?;
        // Before the file is read: one that is written meanwhile is another version.
        let version = Version::of(&self.file);
        let pin = self.read()?;
        if refusals.has(&version) {
            return Err(self.refused("the token has refused the PIN before".into()));
        }
        match session.login_with_raw(UserType::User, &pin) {
            Ok(()) => {
                refusals.forget();
                Ok(())
            }
            Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
            Err(error) => {
                let fault = Fault::from(error);
                if fault.then != Then::NeverAgain {
                    return Err(fault);
                }
                refusals.add(&version)?;
                Err(self.refused(fault.message))
            }
        }
    }

    fn read(&self) -> Result<RawAuthPin, Fault> {
        let content = secret_file::read(&self.file, SETTING, Holds::Secret, &self.kek)?;
        let mut pin: &[u8] = &content;
        for end in [b"\n", b"\r"] {
            pin = pin.strip_suffix(end).unwrap_or(pin);
        }
        if pin.is_empty() {
            let message = format!("file \"{}\" of {SETTING} has no PIN in it", self.file);
            return Err(Fault::new(Kind::Credentials, message)
                .with_hint("Write the token's PIN into it, and no more."));
        }
        Ok(RawAuthPin::new(Box::new(pin.to_vec())))
    }

    fn refused(&self, message: String) -> Fault {
        Fault::new(Kind::Credentials, message).with_hint(format!(
            "A token locks itself after a few wrong PINs, so this one is not tried again. Write the right one into \
             \"{0}\". If the token's PIN was changed to the one that stands there: touch \"{0}\".",
            self.file
        ))
    }
}

/// The last try before the token locks itself is a human's.
fn refuse_last_try(token: &TokenInfo) -> Result<(), Fault> {
    if token.user_pin_locked() {
        return Err(Fault::new(
            Kind::Credentials,
            "the token has locked its PIN after too many wrong ones",
        )
        .with_hint(
            "Have the token's security officer set its PIN, then write it into the PIN file.",
        ));
    }
    if token.user_pin_final_try() {
        return Err(Fault::new(Kind::Credentials, "one more wrong PIN locks the token").with_hint(
            "Log in once by the token's own tool with the right PIN. Then look whether the PIN file has the same.",
        ));
    }
    Ok(())
}

/// A PIN file as it was at one moment, without what it holds.
struct Version {
    line: String,
    /// What the lines of the same file end with.
    file: String,
}

impl Version {
    fn of(file: &str) -> Version {
        let found = std::fs::metadata(file);
        let file = format!(":{file:?}");
        // One that cannot be looked at is not read either.
        let line = found.map_or_else(
            |error| error.to_string(),
            |found| {
                let (inode, device) = (found.ino(), found.dev());
                // The time of the last change, which a rename, a copy or `touch` moves and no user can set.
                let (seconds, nanoseconds) = (found.ctime(), found.ctime_nsec());
                format!("{device}:{inode}:{seconds}.{nanoseconds}{file}")
            },
        );
        Version { line, file }
    }
}

/// Versions of PIN files that a token has refused since it last took one. While it lives no other process logs in to
/// that token.
struct Refusals(File);

impl Refusals {
    /// Waits for its turn.
    fn open(directory: &Path, token: &TokenInfo) -> Result<Refusals, Fault> {
        // Should a later PostgreSQL have no such directory, its own will do.
        let directory = directory.parent().filter(|_| !directory.is_dir()).unwrap_or(directory);
        let path = directory.join(name(token));
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        options.custom_flags(libc::O_NOFOLLOW);
        let opened = options.open(&path).and_then(|file| file.lock().map(|()| file));
        opened.map(Refusals).map_err(|error| {
            let message =
                format!("could not open \"{}\" to log in to the token: {error}", path.display());
            Fault::new(Kind::Unavailable, message)
        })
    }

    /// The newest of the list. What cannot be read was not written by us, or by a process that died: as if it were not
    /// there.
    fn list(&mut self) -> String {
        let mut list = Vec::new();
        let read = self.0.seek(io::SeekFrom::End(0)).and_then(|len| {
            self.0.seek(io::SeekFrom::Start(len.saturating_sub(MAX_LIST as u64)))?;
            (&self.0).take(MAX_LIST as u64).read_to_end(&mut list)
        });
        read.map_or_else(|_| String::new(), |_| String::from_utf8_lossy(&list).into_owned())
    }

    fn has(&mut self, version: &Version) -> bool {
        self.list().lines().any(|line| line == version.line)
    }

    /// Older versions of the same file do not come back, and make room.
    fn add(&mut self, version: &Version) -> Result<(), Fault> {
        let list = self.list();
        let others = list.lines().filter(|line| !line.ends_with(&version.file));
        let mut left = MAX_LIST;
        let mut kept: Vec<&str> = [version.line.as_str()]
            .into_iter()
            .chain(others.rev())
            .take_while(|line| {
                let fits = line.len() < left;
                left = left.saturating_sub(line.len() + 1);
                fits
            })
            .collect();
        kept.reverse();
        let text = kept.join("\n") + "\n";
        // In one write, so that there is no moment without the list.
        let written = self.0.write_all_at(text.as_bytes(), 0);
        written.and_then(|()| self.0.set_len(text.len() as u64)).map_err(|error| {
            Fault::new(
                Kind::Unavailable,
                format!("could not remember that the token refused the PIN: {error}"),
            )
        })
    }

    fn forget(&mut self) {
        // When it stays as it is, it names files that were wrong.
        let _ = self.0.set_len(0);
    }
}

/// One file a token, however it is reached. The hash is no secret, and only this build's.
fn name(token: &TokenInfo) -> String {
    let mut hash = DefaultHasher::new();
    (token.manufacturer_id(), token.model(), token.serial_number(), token.label()).hash(&mut hash);
    format!("envelope-pkcs11-{:016x}", hash.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A list that this process alone uses.
    fn refusals(name: &str) -> io::Result<Refusals> {
        let path = std::env::temp_dir().join(format!("envelope-{}-{name}", std::process::id()));
        let file =
            File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
        std::fs::remove_file(path)?;
        Ok(Refusals(file))
    }

    /// The `n`th version of a file.
    fn version(file: &str, n: usize) -> Version {
        let file = format!(":{file:?}");
        Version { line: format!("8:1:{n}.0{file}"), file }
    }

    #[test]
    fn the_list_of_refusals_is_bounded_and_has_the_newest() -> io::Result<()> {
        let mut list = refusals("bounded")?;
        for n in 0..2_000 {
            let long = format!("/{n}/{}", "x".repeat(100));
            let added = version(&long, n);
            assert!(!list.has(&added) && list.add(&added).is_ok() && list.has(&added), "{n}");
            assert!(list.0.metadata()?.len() <= MAX_LIST as u64);
        }
        assert!(list.has(&version(&format!("/1500/{}", "x".repeat(100)), 1500)));
        Ok(())
    }

    #[test]
    fn a_file_that_is_written_again_and_again_drives_out_no_other() -> io::Result<()> {
        let mut list = refusals("again")?;
        let other = version("/other/pin", 1);
        assert!(list.add(&other).is_ok());
        for n in 0..5_000 {
            assert!(list.add(&version("/pin", n)).is_ok());
        }
        assert!(list.has(&other) && list.has(&version("/pin", 4_999)));
        assert!(!list.has(&version("/pin", 4_998)));
        list.forget();
        assert!(!list.has(&other));
        Ok(())
    }

    #[test]
    fn of_a_list_that_grew_without_bound_the_newest_counts() -> io::Result<()> {
        let mut list = refusals("grown")?;
        let line = |n| format!("{}\n", version(&format!("/ö/{n}"), n).line);
        let grown: String = (0..10_000).map(line).collect();
        list.0.write_all_at(grown.as_bytes(), 0)?;
        let newest = version("/ö/9999", 9_999);
        assert!(grown.len() > 2 * MAX_LIST && list.has(&newest));
        assert!(list.add(&version("/pin", 1)).is_ok() && list.has(&newest));
        assert!(list.0.metadata()?.len() <= MAX_LIST as u64);
        Ok(())
    }
}
