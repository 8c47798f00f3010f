//! All settings, each with its meaning, unit and default. They are for superusers and the
//! server's configuration; they are read on use, so that a change takes hold at the next call.

pub mod kms;

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::sync::OnceLock;
use std::time::Duration;

use pgrx::{GucContext, GucEnum, GucFlags, GucRegistry, GucSetting, PostgresGucEnum};

use crate::error::{Error, Result};
use crate::pg;

type Text = GucSetting<Option<CString>>;

static DEFAULT_KEK: Text = Text::new(None);
static ALLOWED_KEKS: Text = Text::new(None);
static FILE_KEK_DIRECTORY: Text = Text::new(None);
static KMS_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(5_000);
static KMS_MAX_ATTEMPTS: GucSetting<i32> = GucSetting::<i32>::new(3);
static NODE_TIMEOUT: GucSetting<i32> = GucSetting::<i32>::new(60_000);
static CACHE_TTL: GucSetting<i32> = GucSetting::<i32>::new(300);
static CACHE_MAX_KEYS: GucSetting<i32> = GucSetting::<i32>::new(0);
static CACHE_MAX_USES: GucSetting<i32> = GucSetting::<i32>::new(0);
static CACHE_MAX_BYTES: GucSetting<i32> = GucSetting::<i32>::new(0);
static CACHE_MAX_STALE: GucSetting<i32> = GucSetting::<i32>::new(0);
static SHARED_KEYS: GucSetting<i32> = GucSetting::<i32>::new(1024);
static AUDIT: GucSetting<AuditLevel> = GucSetting::<AuditLevel>::new(AuditLevel::Off);
static CRYPTOPERIOD: GucSetting<i32> = GucSetting::<i32>::new(365 * 24 * 3600);
static AUTO_CREATE_KEY: GucSetting<bool> = GucSetting::<bool>::new(true);
static ALLOW_DROP: GucSetting<bool> = GucSetting::<bool>::new(false);
/// A setting that this client tried to plant before the library was loaded. A setting itself, so
/// that parallel workers, which get the client's settings but not its options, know of it too.
static PLANTED: Text = Text::new(None);

/// What is told in the server's log, each with what stands before it.
#[derive(PostgresGucEnum, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AuditLevel {
    /// What was refused.
    #[name = c"off"]
    Off,
    /// What happened to keys and rights.
    #[name = c"ddl"]
    Ddl,
    /// Which statement opened how many values.
    #[name = c"all"]
    All,
}

/// Who is told of changes, in an assign hook: they may only mark.
pub struct Reactions {
    /// Any setting but the next one's.
    pub changed: fn(),
    /// `envelope.aws_role_arn` or `envelope.vault_role`.
    pub role_changed: fn(),
}

static REACTIONS: OnceLock<Reactions> = OnceLock::new();

/// What a backend may do with an unwrapped key before it asks the KMS again.
pub struct CacheLimits {
    /// Milliseconds from unwrapping.
    pub ttl_ms: u64,
    /// Values sealed and opened; `None`: no limit.
    pub uses: Option<u64>,
    /// Bytes of those values; `None`: no limit.
    pub bytes: Option<u64>,
    /// Milliseconds beyond `ttl_ms` while the KMS is out of reach.
    pub stale_ms: u64,
}

/// Defines the settings. A client's own values for them, planted in its connection options before
/// the library was loaded, are noted first: [`check_unplanted`] refuses to work with them.
pub fn init(reactions: Reactions) {
    // Defined once in a process, as the settings are.
    let _ = REACTIONS.set(reactions);
    let planted = pg::guc::planted_by_client("envelope.");
    // URI of the KEK under which new data keys are wrapped. Unset: a key file below
    // file_kek_directory, for development and tests.
    define_text(
        c"envelope.default_kek",
        c"KEK that wraps new data keys, as a URI.",
        c"Write aws-kms://arn:aws:kms:..., aws-kms://alias/..., or file:///... . Unset: a key file is made \
          in envelope.file_kek_directory, for development and tests.",
        &DEFAULT_KEK,
        ShownTo::All,
    );
    // Comma-separated URI patterns, `*` for any characters. Unset: default_kek, the key files, and key files
    // elsewhere that wrap an active key already, as after a move.
    define_text(
        c"envelope.allowed_keks",
        c"KEKs that may wrap data keys, as comma-separated URI patterns.",
        c"An asterisk stands for any characters. Unset: envelope.default_kek, the files in \
          envelope.file_kek_directory, and a key file elsewhere that wraps an active key already.",
        &ALLOWED_KEKS,
        ShownTo::All,
    );
    // Absolute path. Unset: the data directory's path with `.kek` added, outside the data
    // directory so that base backups do not carry the key beside the data.
    define_text(
        c"envelope.file_kek_directory",
        c"Directory of key files.",
        c"Unset: the data directory's path with .kek added.",
        &FILE_KEK_DIRECTORY,
        ShownTo::Trusted,
    );
    kms::define();
    // Milliseconds for one KMS operation with all its attempts; 5 s outlasts a slow answer and
    // one retry, and is short beside what a statement's user will wait.
    define_int(
        c"envelope.kms_timeout",
        c"Longest time for one KMS operation with its retries.",
        c"The time to find credentials counts.",
        &KMS_TIMEOUT,
        (100, 600_000),
        GucFlags::UNIT_MS,
    );
    define_int(
        c"envelope.kms_max_attempts",
        c"Attempts for one KMS operation, the first included.",
        c"With backoff; 1 means none.",
        &KMS_MAX_ATTEMPTS,
        (1, 100),
        GucFlags::empty(),
    );
    define_int(
        c"envelope.node_timeout",
        c"Longest time for one question to another node, connecting included.",
        c"For connections to servers; Citus has settings of its own.",
        &NODE_TIMEOUT,
        (100, 3_600_000),
        GucFlags::UNIT_MS,
    );
    // Seconds; 5 min bounds how long a right taken away in the KMS still has effect.
    define_int(
        c"envelope.cache_ttl",
        c"Time for which a backend keeps an unwrapped data key.",
        c"After it the KMS is asked again, which is how a revocation there takes hold.",
        &CACHE_TTL,
        (1, 7 * 24 * 3600),
        GucFlags::UNIT_S,
    );
    // Keys; 0 is no limit: a key takes some 3 kB with what is kept beside it.
    define_int(
        c"envelope.cache_max_keys",
        c"Most unwrapped data keys that a backend keeps.",
        c"For the next one, the one that was unwrapped longest ago is wiped. 0: no limit.",
        &CACHE_MAX_KEYS,
        (0, i32::MAX),
        GucFlags::empty(),
    );
    define_int(
        c"envelope.cache_max_uses",
        c"Values that a backend seals and opens with an unwrapped data key.",
        c"After that the KMS is asked again. 0: no limit.",
        &CACHE_MAX_USES,
        (0, i32::MAX),
        GucFlags::empty(),
    );
    define_int(
        c"envelope.cache_max_bytes",
        c"Bytes that a backend seals and opens with an unwrapped data key.",
        c"After that the KMS is asked again. 0: no limit.",
        &CACHE_MAX_BYTES,
        (0, i32::MAX),
        GucFlags::UNIT_KB,
    );
    // Seconds; 0 since a key that the KMS cannot vouch for is not to be used unless one says so.
    define_int(
        c"envelope.cache_max_stale",
        c"Time for which an expired data key stays in use while the KMS is out of reach.",
        c"Only while it is unavailable or throttling, never when it refuses. 0: not at all.",
        &CACHE_MAX_STALE,
        (0, 7 * 24 * 3600),
        GucFlags::UNIT_S,
    );
    // Keys; a quarter of a kB each. 0: nothing is shared, and no lease key is drawn.
    GucRegistry::define_int_guc(
        c"envelope.shared_keys",
        c"Most data keys that the server's backends share.",
        c"Only where the library is preloaded. A change needs a restart. 0: each backend asks the KMS for itself.",
        &SHARED_KEYS,
        0,
        1 << 20,
        // PostgreSQL would end a backend that defined such a setting later.
        if pg::guc::is_preloading() { GucContext::Postmaster } else { GucContext::Sighup },
        GucFlags::empty(),
    );
    GucRegistry::define_enum_guc(
        c"envelope.audit",
        c"What the server's log is told of keys and their use.",
        c"One line of JSON for each event. off: what was refused. ddl: also what happens to keys, rights and \
          limits. all: also how many values each statement opened, and terms it searched by.",
        &AUDIT,
        GucContext::Suset,
        GucFlags::empty(),
    );
    // Seconds; a year is what NIST SP 800-57 part 1 gives as the order of magnitude for a key that
    // encrypts data, and what auditors ask for.
    define_int(
        c"envelope.cryptoperiod",
        c"Time for which a data key may seal before envelope.check() reports it.",
        c"The key is not rotated: that is for envelope.rotate_key, or a table's limit rotate_after. 0: never.",
        &CRYPTOPERIOD,
        (0, i32::MAX),
        GucFlags::UNIT_S,
    );
    define_bool(
        c"envelope.auto_create_key",
        c"Make a table's data key when its first value is sealed, and the next when its turn is over.",
        c"Only for roles that may manage the table's keys. Off: envelope.create_key and \
          envelope.rotate_due make them.",
        &AUTO_CREATE_KEY,
    );
    define_bool(
        c"envelope.allow_drop",
        c"Let the extension be dropped while it holds keyrings.",
        c"Every wrapped data key is dropped with it, and what they sealed no longer opens.",
        &ALLOW_DROP,
    );
    GucRegistry::define_string_guc(
        PLANTED_NAME,
        c"A setting of this extension that the client's connection options tried to set.",
        c"Set by the extension alone; while it is set, every call is refused.",
        &PLANTED,
        GucContext::Suset,
        GucFlags::NO_SHOW_ALL | GucFlags::NO_RESET_ALL | GucFlags::DISALLOW_IN_FILE,
    );
    if let Some(name) = planted {
        pg::guc::set_for_good(PLANTED_NAME, &name);
    }
    pg::guc::reserve_prefix(c"envelope");
}

const PLANTED_NAME: &CStr = c"envelope.planted_setting";

/// 42501, naming the setting, when the client tried to plant one.
pub fn check_unplanted() -> Result<()> {
    // SAFETY: PostgreSQL keeps a NUL-terminated string there, or null.
    let planted = unsafe { (*PLANTED.as_ptr()).as_ref() };
    if planted.is_none_or(|first| *first == 0) {
        return Ok(());
    }
    Err(Error::PlantedSetting(text(&PLANTED).unwrap_or_default()))
}

/// `envelope.default_kek`, if set.
pub fn default_kek() -> Option<String> {
    text(&DEFAULT_KEK)
}

/// The patterns of `envelope.allowed_keks`, if set.
pub fn allowed_keks() -> Option<Vec<String>> {
    let list = text(&ALLOWED_KEKS)?;
    Some(list.split(',').map(|pattern| pattern.trim().to_string()).collect())
}

/// `envelope.file_kek_directory`, or its default.
pub fn file_kek_directory() -> String {
    match text(&FILE_KEK_DIRECTORY) {
        Some(path) => path.trim_end_matches('/').to_string(),
        None => format!("{}.kek", pg::guc::data_directory()),
    }
}

/// `envelope.kms_timeout`.
pub fn kms_timeout() -> Duration {
    Duration::from_millis(KMS_TIMEOUT.get().unsigned_abs().into())
}

/// `envelope.node_timeout`.
#[cfg(feature = "nodes")]
pub fn node_timeout() -> Duration {
    Duration::from_millis(NODE_TIMEOUT.get().unsigned_abs().into())
}

/// `envelope.kms_max_attempts`.
pub fn kms_max_attempts() -> u32 {
    KMS_MAX_ATTEMPTS.get().unsigned_abs()
}

/// The limits of cached keys, before a keyring's own.
pub fn cache_limits() -> CacheLimits {
    CacheLimits {
        ttl_ms: u64::from(CACHE_TTL.get().unsigned_abs()) * 1000,
        uses: limit(&CACHE_MAX_USES),
        bytes: limit(&CACHE_MAX_BYTES).map(|kb| kb * 1024),
        stale_ms: u64::from(CACHE_MAX_STALE.get().unsigned_abs()) * 1000,
    }
}

/// `envelope.cache_max_keys`, if there is a limit.
pub fn cache_max_keys() -> Option<usize> {
    limit(&CACHE_MAX_KEYS).and_then(|limit| usize::try_from(limit).ok())
}

/// `envelope.shared_keys`.
pub fn shared_keys() -> usize {
    SHARED_KEYS.get().unsigned_abs() as usize
}

/// A number for which 0 means none.
fn limit(setting: &GucSetting<i32>) -> Option<u64> {
    Some(u64::from(setting.get().unsigned_abs())).filter(|limit| *limit > 0)
}

/// `envelope.audit`.
pub fn audit() -> AuditLevel {
    AUDIT.get()
}

/// Whether `envelope.audit` is `all`: asked for every value, so without the call by which pgrx looks which thread asks.
#[inline(always)]
pub fn audits_all() -> bool {
    // SAFETY: PostgreSQL keeps the number of the value there, in the thread that this runs in.
    unsafe { *AUDIT.as_ptr() == AuditLevel::All.to_ordinal() }
}

/// `envelope.cryptoperiod` in seconds, if there is one.
pub fn cryptoperiod() -> Option<u64> {
    limit(&CRYPTOPERIOD)
}

/// `envelope.auto_create_key`.
pub fn auto_create_key() -> bool {
    AUTO_CREATE_KEY.get()
}

/// `envelope.allow_drop`.
pub fn allow_drop() -> bool {
    ALLOW_DROP.get()
}

/// Those by which nodes with the same keys do the same, or not. None of them says where a secret is, and every role may
/// read them. As whom the KMS is asked is each role's own, and not among them.
const OF_NODE: [&CStr; 21] = [
    c"envelope.allow_drop",
    c"envelope.allowed_keks",
    c"envelope.audit",
    c"envelope.auto_create_key",
    c"envelope.aws_endpoint_url",
    c"envelope.aws_region",
    c"envelope.cache_max_bytes",
    c"envelope.cache_max_keys",
    c"envelope.cache_max_stale",
    c"envelope.cache_max_uses",
    c"envelope.cache_ttl",
    c"envelope.cryptoperiod",
    c"envelope.default_kek",
    c"envelope.fallover_to_weaker",
    c"envelope.kms_max_attempts",
    c"envelope.kms_timeout",
    c"envelope.pkcs11_token_chooses_iv",
    c"envelope.shared_keys",
    c"envelope.vault_auth",
    c"envelope.vault_auth_mount",
    c"envelope.vault_namespace",
];

/// What makes a node do as others do, each as text in the setting's own unit; empty: unset.
pub fn of_node() -> BTreeMap<String, String> {
    let named = |name: &CStr| (name.to_string_lossy().into_owned(), pg::guc::shown(name));
    OF_NODE.into_iter().map(named).collect()
}

/// A text setting; empty counts as unset.
fn text(setting: &Text) -> Option<String> {
    let value = setting.get()?;
    let value = pg::encoding::to_string(value.to_bytes());
    (!value.trim().is_empty()).then(|| value.trim().to_string())
}

/// Who can read a setting.
#[derive(Clone, Copy)]
enum ShownTo {
    All,
    /// Superusers and members of `pg_read_all_settings`: who knows where a secret is has half of the way to it.
    Trusted,
}

fn define_text(
    name: &'static CStr,
    short: &'static CStr,
    long: &'static CStr,
    setting: &'static Text,
    shown_to: ShownTo,
) {
    let flags = match shown_to {
        ShownTo::All => GucFlags::empty(),
        ShownTo::Trusted => GucFlags::SUPERUSER_ONLY,
    };
    // SAFETY: the hook raises nothing and only sets a flag.
    unsafe {
        GucRegistry::define_string_guc_with_hooks(
            name,
            short,
            long,
            setting,
            GucContext::Suset,
            flags,
            None,
            Some(at_text_change),
            None,
        );
    }
}

fn define_bool(
    name: &'static CStr,
    short: &'static CStr,
    long: &'static CStr,
    setting: &'static GucSetting<bool>,
) {
    let (context, flags) = (GucContext::Suset, GucFlags::empty());
    GucRegistry::define_bool_guc(name, short, long, setting, context, flags);
}

fn define_int(
    name: &'static CStr,
    short: &'static CStr,
    long: &'static CStr,
    setting: &'static GucSetting<i32>,
    (min, max): (i32, i32),
    unit: GucFlags,
) {
    // SAFETY: as in `define_text`.
    unsafe {
        GucRegistry::define_int_guc_with_hooks(
            name,
            short,
            long,
            setting,
            min,
            max,
            GucContext::Suset,
            unit,
            None,
            Some(at_number_change),
            None,
        );
    }
}

/// What was decided under the old value (is this KEK allowed? is this key still good?) is decided
/// again.
unsafe extern "C-unwind" fn at_text_change(_: *const c_char, _: *mut c_void) {
    at_change();
}

unsafe extern "C-unwind" fn at_number_change(_: c_int, _: *mut c_void) {
    at_change();
}

fn at_change() {
    if let Some(reactions) = REACTIONS.get() {
        (reactions.changed)();
    }
}

/// Nothing has to be decided again: what is known is known for each identity by itself. A function
/// with a SET clause comes here twice a call.
unsafe extern "C-unwind" fn at_role_change(_: *const c_char, _: *mut c_void) {
    if let Some(reactions) = REACTIONS.get() {
        (reactions.role_changed)();
    }
}
