//! The key file that is made on first use when no KEK was chosen.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::{KEK_LEN, KekUri, Kind, KmsError, effective_user, is_trusted, random, read_kek};

/// The file's name in its directory.
const NAME: &str = "default.kek";

/// The key file in `directory`, made with its directory (one level, mode 0700) if it is not there.
/// The second answer says whether this call made it.
///
/// The key is written under a name of its own and linked to the final one when it is on disk:
/// nobody ever reads half a key, and of two backends that race one makes the file and both use it.
///
/// # Errors
/// [`Kind::BadUri`] for a directory that no URI can name; else what stands against the directory
/// or the file. The hint names the setting.
pub fn create_default(directory: &Path) -> Result<(KekUri, bool), KmsError> {
    let path = default_path(directory);
    let kek = KekUri::file(&path)?;
    if path.symlink_metadata().is_ok() {
        // Who has just made it may not have come to this yet. Where it cannot be done, nobody has.
        let _ = sync_directory(directory);
        return read_kek(&path, &kek).map(|_| (kek, false));
    }
    make_directory(directory, &kek)?;
    let created = make_file(directory, &path, &kek)?;
    read_kek(&path, &kek)?;
    Ok((kek, created))
}

/// The URI of the key file in `directory`, there or not.
///
/// # Errors
/// [`Kind::BadUri`] for a directory that no URI can name.
pub fn default_uri(directory: &Path) -> Result<KekUri, KmsError> {
    KekUri::file(&default_path(directory))
}

fn default_path(directory: &Path) -> PathBuf {
    directory.join(NAME).components().collect()
}

/// The directory, its entry in its parent on disk. One that is there is left as it is, but nobody
/// else may write in it.
fn make_directory(directory: &Path, kek: &KekUri) -> Result<(), KmsError> {
    let doing = |what| move |error| failed(kek, what, directory, &error);
    match DirBuilder::new().mode(0o700).create(directory) {
        Ok(()) => {
            if let Some(parent) = directory.parent() {
                sync_directory(parent).map_err(doing("write to disk the parent of"))?;
            }
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed(kek, "create", directory, &error)),
    }
    let found = directory.metadata().map_err(doing("look at"))?;
    if !found.is_dir() || !is_closed(found.mode(), found.uid(), effective_user()) {
        let message = format!(
            "\"{}\" must be a directory that only the server's user can write in",
            directory.display()
        );
        return Err(KmsError::new(Kind::KeyState, kek, message).with_hint(HINT));
    }
    Ok(())
}

/// Whether nobody but root and the server, which runs as `user`, can put anything into a directory.
pub(super) fn is_closed(mode: u32, owner: u32, user: u32) -> bool {
    is_trusted(owner, user) && mode & 0o022 == 0
}

/// A new key under its final name; `false` when another backend was first.
fn make_file(directory: &Path, path: &Path, kek: &KekUri) -> Result<bool, KmsError> {
    let doing = |what| move |error| failed(kek, what, path, &error);
    let mut key = Zeroizing::new([0; KEK_LEN]);
    random(&mut key[..], kek)?;
    let temporary = Temporary::new(directory, kek)?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
        .open(&temporary.0)
        .map_err(doing("create"))?;
    file.write_all(&key[..]).map_err(doing("write"))?;
    file.sync_all().map_err(doing("write to disk"))?;
    let created = match std::fs::hard_link(&temporary.0, path) {
        Ok(()) => true,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => false,
        Err(error) => return Err(failed(kek, "create", path, &error)),
    };
    drop(temporary);
    sync_directory(directory).map_err(doing("write to disk the directory of"))?;
    Ok(created)
}

/// A name that no other process takes, unlinked whatever happens.
struct Temporary(PathBuf);

impl Temporary {
    fn new(directory: &Path, kek: &KekUri) -> Result<Self, KmsError> {
        let mut salt = [0; 8];
        random(&mut salt, kek)?;
        Ok(Self(directory.join(format!(".{NAME}.{:016x}", u64::from_ne_bytes(salt)))))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // A file that stays behind holds a key that nothing was ever wrapped under.
        let _ = std::fs::remove_file(&self.0);
    }
}

fn sync_directory(directory: &Path) -> std::io::Result<()> {
    File::open(directory)?.sync_all()
}

const HINT: &str = "Set envelope.file_kek_directory to a directory that only the user whom the \
    server runs as can write in, or set envelope.default_kek to a key of your KMS.";

fn failed(kek: &KekUri, what: &str, path: &Path, error: &std::io::Error) -> KmsError {
    let message = format!("could not {what} \"{}\": {error}", path.display());
    KmsError::new(KmsError::io_kind(error), kek, message).with_hint(HINT)
}
