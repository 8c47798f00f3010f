//! The JSON of exported keyrings. Reading is strict: what is not understood is refused, so that
//! nothing is left behind unnoticed.

use std::collections::{BTreeMap, HashSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use envelope::header::KeyId;
use envelope::wrap::EncryptionContext;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use uuid::fmt::Hyphenated;

use crate::catalog::rows::{DataKeyHistory, DataKeyRow, Keyring, Purpose, State, Verb, WrappedKey};
use crate::error::{Error, Result};
use crate::kms::KekUri;
use crate::memory::OwnLimits;

/// What the document says of itself. A later format is another word.
const FORMAT: &str = "envelope/1 keyring";

/// A KMS answers with less: AWS with at most 6 KiB.
const LONGEST_WRAP: usize = 8192;

/// More often no key is rotated; what follows must have a number, too.
const LAST_VERSION: i32 = 1_000_000_000;

/// The years 1 to 9999, in microseconds since 1970: what clients of all sorts can read, and what time may be added to. One
/// key with another time would fail every view that shows it beside others.
const TIMES: std::ops::Range<i64> = -62_135_596_800_000_000..253_402_300_800_000_000;

/// From the Unix epoch to PostgreSQL's, 2000-01-01, in microseconds.
const POSTGRES_EPOCH: i64 = 946_684_800_000_000;

/// A table's keyrings between two databases. One of them seals.
pub struct Transferred {
    pub schema: String,
    pub table: String,
    pub keyrings: Vec<TransferredKeyring>,
}

/// A keyring with all that is in it.
pub struct TransferredKeyring {
    pub id: Uuid,
    /// The table seals with it, and does not only open.
    pub seals: bool,
    pub keyring: Keyring,
    pub keys: Vec<(DataKeyHistory, Vec<WrappedKey>)>,
    /// Roles by their names, and what each was granted on it.
    pub grants: Vec<(String, Verb)>,
}

impl TransferredKeyring {
    /// Whether nothing is left of its keys.
    pub fn is_lost(&self) -> bool {
        self.keys.iter().all(|(key, _)| key.row.state == State::Destroyed)
    }
}

impl Transferred {
    /// The table that it came from, without quotes, for people.
    pub fn table_name(&self) -> String {
        format!("{}.{}", self.schema, self.table)
    }

    /// The keyring that seals: [`read`] and an export's maker saw to it that there is one.
    pub fn sealing(&self) -> &TransferredKeyring {
        let seals = self.keyrings.iter().position(|keyring| keyring.seals);
        &self.keyrings[seals.unwrap_or(0)]
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: String,
    schema: String,
    table: String,
    keyrings: Vec<Ring>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ring {
    keyring_id: String,
    seals: bool,
    table_name: String,
    default_kek: Option<String>,
    kms_context: Option<BTreeMap<String, String>>,
    limits: serde_json::Value,
    minimum_version: i32,
    data_keys: Vec<Key>,
    /// Left out where there are none, as from earlier releases.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    grants: Vec<Grant>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Grant {
    role: String,
    verb: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Key {
    key_id: String,
    purpose: String,
    version: i32,
    state: String,
    /// Microseconds since 1970-01-01 UTC.
    created_at: i64,
    /// Microseconds since 1970-01-01 UTC.
    state_changed_at: i64,
    reason: Option<String>,
    wraps: Vec<Wrap>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wrap {
    kek: String,
    kms_context: BTreeMap<String, String>,
    wrapped: String,
}

/// JSON text of `exported`.
pub fn write(exported: &Transferred) -> Result<String> {
    let document = Document {
        format: FORMAT.into(),
        schema: exported.schema.clone(),
        table: exported.table.clone(),
        keyrings: exported.keyrings.iter().map(written_ring).collect::<Result<_>>()?,
    };
    serde_json::to_string(&document).map_err(|error| Error::Corrupt(error.to_string()))
}

fn written_ring(ring: &TransferredKeyring) -> Result<Ring> {
    let TransferredKeyring { id, seals, keyring, keys, grants } = ring;
    OwnLimits::parse(&keyring.limits)?;
    Ok(Ring {
        keyring_id: id.to_string(),
        seals: *seals,
        table_name: keyring.table_name.clone(),
        default_kek: keyring.default_kek.clone(),
        kms_context: keyring.kms_context.as_ref().map(pairs),
        limits: serde_json::from_str(&keyring.limits)
            .map_err(|error| Error::Corrupt(error.to_string()))?,
        minimum_version: keyring.minimum_version,
        data_keys: keys.iter().map(|(key, wraps)| written_key(key, wraps)).collect(),
        grants: grants
            .iter()
            .map(|(role, verb)| Grant { role: role.clone(), verb: verb.name().into() })
            .collect(),
    })
}

fn written_key(key: &DataKeyHistory, wraps: &[WrappedKey]) -> Key {
    let wrap = |wrap: &WrappedKey| Wrap {
        kek: wrap.kek.clone(),
        kms_context: pairs(&wrap.kms_context),
        wrapped: BASE64.encode(&wrap.wrapped),
    };
    Key {
        key_id: key.row.key_id.to_string(),
        purpose: key.row.purpose.name().into(),
        version: key.row.version,
        state: key.row.state.name().into(),
        created_at: key.created_at.saturating_add(POSTGRES_EPOCH),
        state_changed_at: key.state_changed_at.saturating_add(POSTGRES_EPOCH),
        reason: key.reason.clone(),
        wraps: wraps.iter().map(wrap).collect(),
    }
}

fn pairs(context: &EncryptionContext) -> BTreeMap<String, String> {
    context.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
}

/// [`write`] back; 22023 for anything else.
pub fn read(json: &str) -> Result<Transferred> {
    let document: Document = serde_json::from_str(json).map_err(|error| bad(&error))?;
    if document.format != FORMAT {
        return Err(bad(&format!("format is not \"{FORMAT}\"")));
    }
    let keyrings: Vec<_> = document.keyrings.into_iter().map(read_ring).collect::<Result<_>>()?;
    let ids: HashSet<Uuid> = keyrings.iter().map(|keyring| keyring.id).collect();
    if ids.len() < keyrings.len() || keyrings.iter().filter(|keyring| keyring.seals).count() != 1 {
        return Err(bad(&"exactly one of its keyrings must seal, and none may be there twice"));
    }
    let keys = keyrings.iter().flat_map(|keyring| &keyring.keys);
    check_together(keys.map(|(key, _)| key.row))?;
    Ok(Transferred { schema: document.schema, table: document.table, keyrings })
}

fn read_ring(ring: Ring) -> Result<TransferredKeyring> {
    let id = uuid(&ring.keyring_id)?;
    let limits = ring.limits.to_string();
    OwnLimits::parse(&limits)?;
    if let Some(kek) = &ring.default_kek {
        check_kek(kek)?;
    }
    let keyring = Keyring {
        table_name: ring.table_name,
        default_kek: ring.default_kek,
        kms_context: ring.kms_context.map(EncryptionContext::from),
        limits,
        minimum_version: ring.minimum_version,
    };
    let keys: Vec<_> =
        ring.data_keys.into_iter().map(|key| read_key(id, key)).collect::<Result<_>>()?;
    // What it seals must open; a keyring that seals nothing any more may refuse all that it has.
    let of_seal = || keys.iter().map(|(key, _)| key.row).filter(|row| row.purpose == Purpose::Seal);
    let active = of_seal().find(|row| row.state == State::Active).map(|row| row.version);
    let newest = active.or_else(|| of_seal().map(|row| row.version).max());
    if !(1..=newest.unwrap_or(1)).contains(&ring.minimum_version) {
        return Err(bad(&"minimum_version is above the version that seals"));
    }
    if keys.is_empty() {
        return Err(bad(&format!("keyring {id} has no data key")));
    }
    if Purpose::ALL.into_iter().any(|purpose| is_passed_by(&keys, purpose)) {
        return Err(bad(&"a pending data key is older than the active one"));
    }
    let grants = ring.grants.into_iter().map(read_grant).collect::<Result<_>>()?;
    Ok(TransferredKeyring { id, seals: ring.seals, keyring, keys, grants })
}

/// Whether the key that waits to be made active comes before the one that is.
fn is_passed_by(keys: &[(DataKeyHistory, Vec<WrappedKey>)], purpose: Purpose) -> bool {
    let version = |state| {
        let of = |row: &DataKeyRow| row.purpose == purpose && row.state == state;
        keys.iter().map(|(key, _)| key.row).find(of).map(|row| row.version)
    };
    let pending = version(State::Pending);
    pending.is_some() && pending < version(State::Active)
}

fn read_grant(grant: Grant) -> Result<(String, Verb)> {
    let verb = Verb::named(&grant.verb).ok_or_else(|| bad(&"a right that is not known here"))?;
    Ok((grant.role, verb))
}

fn read_key(keyring_id: Uuid, key: Key) -> Result<(DataKeyHistory, Vec<WrappedKey>)> {
    let key_id = uuid(&key.key_id)?;
    if key_id.get_version_num() != 8 || key_id.get_variant() != uuid::Variant::RFC4122 {
        return Err(bad(&format!("{key_id} is no key id")));
    }
    let known = |what: &str| bad(&format!("data key {key_id} has {what} that is not known here"));
    let purpose = Purpose::named(&key.purpose).ok_or_else(|| known("a purpose"))?;
    let state = State::named(&key.state).ok_or_else(|| known("a state"))?;
    if !(1..=LAST_VERSION).contains(&key.version) {
        return Err(bad(&format!("versions are numbers from 1 to {LAST_VERSION}")));
    }
    if key.wraps.is_empty() != (state == State::Destroyed) {
        return Err(bad(&format!("data key {key_id} is {} with the wrong wraps", state.name())));
    }
    let mut keks = HashSet::new();
    let mut wraps = Vec::new();
    for wrap in key.wraps {
        if !keks.insert(wrap.kek.clone()) {
            return Err(bad(&format!("data key {key_id} is wrapped by one KEK twice")));
        }
        wraps.push(read_wrap(wrap)?);
    }
    let row =
        DataKeyRow { key_id: key_id.into(), keyring_id, purpose, version: key.version, state };
    let history = DataKeyHistory {
        row,
        created_at: time(key.created_at)?,
        state_changed_at: time(key.state_changed_at)?,
        reason: key.reason,
    };
    Ok((history, wraps))
}

fn read_wrap(wrap: Wrap) -> Result<WrappedKey> {
    check_kek(&wrap.kek)?;
    let wrapped = BASE64.decode(&wrap.wrapped).map_err(|error| bad(&error))?;
    if wrapped.is_empty() || wrapped.len() > LONGEST_WRAP {
        return Err(bad(&format!("a wrapped key has 1 to {LONGEST_WRAP} bytes")));
    }
    Ok(WrappedKey { kek: wrap.kek, kms_context: wrap.kms_context.into(), wrapped })
}

/// What no two data keys may share.
fn check_together(rows: impl Iterator<Item = DataKeyRow>) -> Result<()> {
    let mut ids: HashSet<KeyId> = HashSet::new();
    let mut versions = HashSet::new();
    let mut in_use = HashSet::new();
    for row in rows {
        let of = (row.keyring_id, row.purpose.name());
        if !ids.insert(row.key_id) || !versions.insert((of, row.version)) {
            return Err(bad(&"two data keys have the same id or version"));
        }
        let is_one = matches!(row.state, State::Active | State::Pending);
        if is_one && !in_use.insert((of, row.state.name())) {
            let state = row.state.name();
            return Err(bad(&format!("two data keys of a keyring are {state}")));
        }
    }
    Ok(())
}

fn check_kek(uri: &str) -> Result<()> {
    uri.parse::<KekUri>().map(|_| ()).map_err(|error| bad(&error))
}

fn uuid(text: &str) -> Result<Uuid> {
    text.parse::<Hyphenated>().map(Hyphenated::into_uuid).map_err(|_| bad(&"an id is no UUID"))
}

fn time(unix: i64) -> Result<i64> {
    let time = unix.checked_sub(POSTGRES_EPOCH).filter(|_| TIMES.contains(&unix));
    time.ok_or_else(|| bad(&"a time is out of range"))
}

fn bad(why: &dyn std::fmt::Display) -> Error {
    Error::BadDocument(why.to_string())
}
