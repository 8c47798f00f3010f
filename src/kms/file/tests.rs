#![allow(clippy::unwrap_used)]

use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

/// A directory of its own, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("kek-{}-{number}", std::process::id()));
            match fs::create_dir(&path) {
                Ok(()) => return Self(path),
                // A process of that number was killed.
                Err(error) => assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}"),
            }
        }
    }

    fn file(&self, name: &str, bytes: &[u8], mode: u32) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn context(value: &str) -> EncryptionContext {
    [("table".to_owned(), value.to_owned())].into_iter().collect()
}

fn check(path: &Path) -> Result<KekUri, KmsError> {
    FileProvider::new(path).unwrap().check()
}

#[test]
fn a_wrap_opens_under_its_file_and_context_alone() {
    let scratch = Scratch::new();
    let path = scratch.file("a", &[7; 32], 0o600);
    let provider = FileProvider::new(&path).unwrap();
    let made = provider.generate(&context("t")).unwrap();
    assert_eq!(made.wrap.kek.to_string(), format!("file://{}", path.display()));
    assert_eq!(made.wrap.bytes.len(), 90);
    let again = provider.unwrap(&made.wrap.bytes, &context("t")).unwrap().data_key;
    assert_eq!(again.as_bytes(), made.data_key.as_bytes());

    let kind =
        |wrapped: &[u8], bound: &str| provider.unwrap(wrapped, &context(bound)).err().unwrap().kind;
    assert_eq!(kind(&made.wrap.bytes, "u"), Kind::InvalidWrap);
    assert_eq!(kind(&made.wrap.bytes[1..], "t"), Kind::InvalidWrap);
    assert_eq!(kind(b"", "t"), Kind::InvalidWrap);
    let other = provider.generate(&context("t")).unwrap();
    assert_ne!(other.data_key.as_bytes(), made.data_key.as_bytes());

    scratch.file("a", &[8; 32], 0o600);
    let error = provider.unwrap(&made.wrap.bytes, &context("t")).err().unwrap();
    assert_eq!(error.kind, Kind::InvalidWrap);
    let (needs, holds) = (FileKek::from_bytes(&[7; 32]), FileKek::from_bytes(&[8; 32]));
    assert!(error.message.contains(&needs.kek_id().to_string()), "{error}");
    assert!(error.message.contains(&holds.kek_id().to_string()), "{error}");
}

#[test]
fn rewrap_moves_a_key_to_another_file() {
    let scratch = Scratch::new();
    let old = FileProvider::new(&scratch.file("old", &[1; 32], 0o600)).unwrap();
    let new = FileProvider::new(&scratch.file("new", &[2; 32], 0o400)).unwrap();
    let made = old.generate(&context("t")).unwrap();
    let moved = old.rewrap(&made.wrap.bytes, &context("t"), &new, &context("u")).unwrap();
    assert_eq!(moved.kek, new.kek);
    let again = new.unwrap(&moved.bytes, &context("u")).unwrap();
    assert_eq!(again.data_key.as_bytes(), made.data_key.as_bytes());
}

#[test]
fn a_file_that_others_can_read_or_that_is_no_key_is_refused() {
    let scratch = Scratch::new();
    for mode in [0o640, 0o604, 0o620, 0o601] {
        let path = scratch.file("open", &[1; 32], mode);
        let error = check(&path).err().unwrap();
        assert_eq!(error.kind, Kind::KeyState);
        assert!(error.message.contains(&format!("{mode:04o}")), "{error}");
        assert!(error.message.contains(path.to_str().unwrap()), "{error}");
    }
    for length in [0, 31, 33] {
        let path = scratch.file("length", &vec![1; length], 0o600);
        assert_eq!(check(&path).err().unwrap().kind, Kind::KeyState, "{length} bytes");
    }
    let path = scratch.file("key", &[1; 32], 0o600);
    assert!(check(&path).is_ok());
    symlink(&path, scratch.0.join("link")).unwrap();
    assert_eq!(check(&scratch.0.join("link")).err().unwrap().kind, Kind::KeyState);
    assert_eq!(check(&scratch.0.join("none")).err().unwrap().kind, Kind::KeyState);
    assert_eq!(check(&scratch.0).err().unwrap().kind, Kind::KeyState);
    assert_eq!(check(Path::new("/dev/null")).err().unwrap().kind, Kind::KeyState);
}

/// Files of other users are not to be had in a test that any user may run.
#[test]
fn only_root_and_the_server_can_have_put_a_key_file_there() {
    const SERVER: u32 = 111;
    let good = Found { is_file: true, mode: 0o600, owner: SERVER, len: 32 };
    let is_fit = |found: Found| found.objection(SERVER).is_none();
    for owner in [0, SERVER] {
        assert!(is_fit(Found { owner, ..good }), "{owner}");
    }
    for owner in [1, SERVER - 1, SERVER + 1, u32::MAX] {
        let (why, _) = Found { owner, ..good }.objection(SERVER).unwrap();
        assert!(why.contains(&owner.to_string()), "{why}");
    }
    assert!(!is_fit(Found { is_file: false, ..good }));
    for bit in 0..6 {
        assert!(!is_fit(Found { mode: 0o600 | 1 << bit, ..good }), "{bit}");
    }
    for len in [0, 31, 33, 64] {
        assert!(!is_fit(Found { len, ..good }), "{len}");
    }
}

#[test]
fn only_root_and_the_server_can_put_a_key_file_there() {
    const SERVER: u32 = 111;
    for owner in [0, SERVER] {
        for mode in [0o700, 0o755] {
            assert!(create::is_closed(mode, owner, SERVER), "{owner} {mode:o}");
        }
        for mode in [0o720, 0o702, 0o777] {
            assert!(!create::is_closed(mode, owner, SERVER), "{owner} {mode:o}");
        }
    }
    for owner in [1, SERVER - 1, SERVER + 1] {
        assert!(!create::is_closed(0o700, owner, SERVER), "{owner}");
    }
}

#[test]
fn the_default_is_made_once_however_many_race() {
    let scratch = Scratch::new();
    let directory = scratch.0.join("keks");
    let answers: Vec<(KekUri, bool)> = std::thread::scope(|scope| {
        let racers: Vec<_> = (0..16).map(|_| scope.spawn(|| create_default(&directory))).collect();
        racers.into_iter().map(|racer| racer.join().unwrap().unwrap()).collect()
    });
    assert_eq!(answers.iter().filter(|(_, created)| *created).count(), 1);
    let path = directory.join("default.kek");
    assert!(answers.iter().all(|(kek, _)| *kek == KekUri::File(path.clone())));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(&directory), mode(&path)), (0o700, 0o600));
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 1, "a temporary file stayed");
    let key = fs::read(&path).unwrap();
    assert_ne!(key, [0; 32]);

    assert_eq!(create_default(&directory).unwrap(), (KekUri::File(path.clone()), false));
    assert_eq!(fs::read(&path).unwrap(), key);
}

#[test]
fn a_directory_that_cannot_be_used_names_the_setting() {
    let scratch = Scratch::new();
    let shared = scratch.0.join("shared");
    fs::create_dir(&shared).unwrap();
    fs::set_permissions(&shared, Permissions::from_mode(0o777)).unwrap();
    let file = scratch.file("file", &[], 0o600);
    for directory in [scratch.0.join("no/such"), file, shared, PathBuf::from("/proc/self")] {
        let error = create_default(&directory).err().unwrap();
        let hint = error.hint.unwrap_or_default();
        assert!(hint.contains("envelope.file_kek_directory"), "{}: {hint}", directory.display());
    }
    assert_eq!(create_default(Path::new("keks")).err().unwrap().kind, Kind::BadUri);
    assert_eq!(create_default(Path::new("/tmp/../keks")).err().unwrap().kind, Kind::BadUri);
}
