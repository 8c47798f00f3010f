//! Logging in, once for each process and token, with a PIN that is never wrong twice.
//!
//! A token locks itself after a few wrong PINs, and every backend of every session would try the same one. So all logins
//! of a server to a token go through one file, one after the other: it is locked meanwhile, and holds which PIN files
//! the token has refused. A PIN file that was written or touched since is another one.

use std::fs::{File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use cryptoki::error::{Error, RvError};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::TokenInfo;
use cryptoki::types::RawAuthPin;

use super::super::secret_file::{self, Holds};
use super::super::{KekUri, Kind};
use super::fault::{Fault, Then};

/// More is no list of refusals of ours.
const MAX_LIST: u64 = 64 * 1024;

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
struct Version(String);

impl Version {
    fn of(file: &str) -> Version {
        // One that cannot be looked at is not read either.
        Version(std::fs::metadata(file).map_or_else(
            |error| error.to_string(),
            |found| {
                let (inode, device) = (found.ino(), found.dev());
                // The time of the last change, which a rename, a copy or `touch` moves and no user can set.
                let (seconds, nanoseconds) = (found.ctime(), found.ctime_nsec());
                format!("{device}:{inode}:{seconds}.{nanoseconds}:{file:?}")
            },
        ))
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

    fn has(&mut self, version: &Version) -> bool {
        let mut list = String::new();
        // What cannot be read was not written by us, or by a process that died: as if it were not there.
        let _ = self.0.rewind().and_then(|()| (&self.0).take(MAX_LIST).read_to_string(&mut list));
        list.lines().any(|line| line == version.0)
    }

    fn add(&mut self, version: &Version) -> Result<(), Fault> {
        let added =
            self.0.seek(io::SeekFrom::End(0)).and_then(|_| writeln!(self.0, "{}", version.0));
        added.map_err(|error| {
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
