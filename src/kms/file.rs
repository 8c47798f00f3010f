//! KEKs in files, for development, tests and whoever keeps a key file safe by other means.
//!
//! The file is 32 random bytes that only the server may read. It is read anew for each operation
//! and wiped after it, so taking the file away works at once.

mod create;

use std::fs::{Metadata, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use envelope::secret::{DataKey, KEY_LEN as KEK_LEN};
use envelope::wrap::{EncryptionContext, FileKek, UnwrapError};
use zeroize::Zeroizing;

use super::{Generated, KekUri, Kind, KmsError, Provider, Unwrapped, Wrap};
use crate::figures::{Operation, kms_operation};

pub use self::create::{create_default, default_uri};

/// One key file.
pub(super) struct FileProvider {
    path: PathBuf,
    kek: KekUri,
}

impl FileProvider {
    pub(super) fn new(path: &Path) -> Result<Self, KmsError> {
        Ok(Self { path: path.to_owned(), kek: KekUri::file(path)? })
    }

    /// Does `work`, and counts it as one operation of this KEK, though no KMS's.
    fn counted<T>(
        &self,
        operation: Operation,
        work: impl FnOnce() -> Result<T, KmsError>,
    ) -> Result<T, KmsError> {
        kms_operation(|| self.kek.to_string(), operation, work)
    }

    fn open(&self, wrapped: &[u8], context: &EncryptionContext) -> Result<Box<DataKey>, KmsError> {
        let kek = read_kek(&self.path, &self.kek)?;
        kek.unwrap(wrapped, context).map_err(|error| {
            let hint = match &error {
                UnwrapError::OtherKek { .. } => {
                    "Put the key file back that the wrap was made under. First look what other \
                     databases have under the one that is there now (envelope.wrapped_key), and move \
                     that to another KEK (envelope.rewrap): without its file it is lost."
                }
                _ => "The wrap was changed, or belongs to another encryption context.",
            };
            KmsError::new(Kind::InvalidWrap, &self.kek, error.to_string()).with_hint(hint)
        })
    }

    fn wrap_with(
        &self,
        kek: &FileKek,
        data_key: &DataKey,
        context: &EncryptionContext,
    ) -> Result<Wrap, KmsError> {
        let mut nonce = [0; 24];
        random(&mut nonce, &self.kek)?;
        Ok(Wrap { kek: self.kek.clone(), bytes: kek.wrap(&nonce, data_key, context).to_vec() })
    }
}

impl Provider for FileProvider {
    fn generate(&self, context: &EncryptionContext) -> Result<Generated, KmsError> {
        self.counted(Operation::Generate, || {
            let kek = read_kek(&self.path, &self.kek)?;
            let data_key = DataKey::from_fn(|key| random(key, &self.kek))?;
            let wrap = self.wrap_with(&kek, &data_key, context)?;
            Ok(Generated { data_key, wrap, request_id: None })
        })
    }

    fn wrap(&self, data_key: &DataKey, context: &EncryptionContext) -> Result<Wrap, KmsError> {
        self.counted(Operation::Wrap, || {
            self.wrap_with(&read_kek(&self.path, &self.kek)?, data_key, context)
        })
    }

    fn unwrap(&self, wrapped: &[u8], context: &EncryptionContext) -> Result<Unwrapped, KmsError> {
        let data_key = self.counted(Operation::Unwrap, || self.open(wrapped, context))?;
        Ok(Unwrapped { data_key, request_id: None })
    }

    fn check(&self) -> Result<KekUri, KmsError> {
        read_kek(&self.path, &self.kek)?;
        Ok(self.kek.clone())
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

/// Fills `bytes` from the operating system.
fn random(bytes: &mut [u8], kek: &KekUri) -> Result<(), KmsError> {
    getrandom::fill(bytes).map_err(|error| {
        KmsError::new(Kind::Unavailable, kek, format!("no random bytes to be had: {error}"))
    })
}

/// Reads the key in `path`, if nobody but the server's user and root can have read or put it
/// there. What is checked is the open file, never the name, so nothing can change in between.
fn read_kek(path: &Path, kek: &KekUri) -> Result<FileKek, KmsError> {
    let shown = path.display();
    let unfit = |why: String, hint: &str| {
        KmsError::new(Kind::KeyState, kek, format!("key file \"{shown}\" {why}")).with_hint(hint)
    };
    // O_NONBLOCK: opening a pipe would wait for its other end. Plain files take no notice of it.
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NONBLOCK)
        .open(path)
        .map_err(|error| {
            if error.raw_os_error() == Some(libc::ELOOP) {
                return unfit("is a symbolic link".into(), "Put the file itself there.");
            }
            let message = format!("could not open key file \"{shown}\": {error}");
            KmsError::new(KmsError::io_kind(&error), kek, message).with_hint(
                "Put your copy of the file there, readable to the user that the server runs as. It is not \
                 made anew: other bytes open nothing.",
            )
        })?;
    let failed = |error: std::io::Error| {
        let message = format!("could not read key file \"{shown}\": {error}");
        KmsError::new(KmsError::io_kind(&error), kek, message)
    };
    let found = Found::of(&file.metadata().map_err(failed)?);
    if let Some((why, hint)) = found.objection(effective_user()) {
        return Err(unfit(why, hint));
    }
    let mut key = Zeroizing::new([0; KEK_LEN]);
    file.read_exact(&mut key[..]).map_err(failed)?;
    Ok(FileKek::from_bytes(&key))
}

/// What the file system says of an open key file.
#[derive(Clone, Copy)]
struct Found {
    is_file: bool,
    mode: u32,
    owner: u32,
    len: u64,
}

impl Found {
    fn of(metadata: &Metadata) -> Found {
        Found {
            is_file: metadata.is_file(),
            mode: metadata.mode() & 0o7777,
            owner: metadata.uid(),
            len: metadata.len(),
        }
    }

    /// What stands against it as the key file of a server that runs as `user`, and what to do.
    fn objection(self, user: u32) -> Option<(String, &'static str)> {
        let Found { is_file, mode, owner, len } = self;
        if !is_file {
            Some((
                "is not a regular file".into(),
                "Put the key file there: 32 bytes, and no directory or device.",
            ))
        } else if mode & 0o077 != 0 {
            Some((
                format!("has mode {mode:04o}, so that others than its owner can get at it"),
                "chmod 0600 it. If somebody may have read it, make another key file and move the data keys \
                 there: envelope.rewrap. Never overwrite this one: without it no value opens.",
            ))
        } else if !is_trusted(owner, user) {
            Some((
                format!("belongs to user {owner}, not to the server's"),
                "Give the file to the user that the server runs as.",
            ))
        } else if len != KEK_LEN as u64 {
            let why = format!("has {len} bytes instead of {KEK_LEN}");
            Some((
                why,
                "Put your copy of the file back: 32 bytes, no text. Other bytes open nothing.",
            ))
        } else {
            None
        }
    }
}

/// Whether what belongs to `owner` can only have been put there by root or by the server, which runs
/// as `user`.
pub(super) fn is_trusted(owner: u32, user: u32) -> bool {
    owner == 0 || owner == user
}

/// The user whose rights the server has.
pub(super) fn effective_user() -> u32 {
    // SAFETY: geteuid takes nothing, touches no memory of ours and cannot fail.
    unsafe { libc::geteuid() }
}

#[cfg(test)]
mod tests;
