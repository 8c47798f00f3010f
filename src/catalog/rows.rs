//! The rows of each table as Rust types. Columns go by position: `sql/bootstrap.sql` only ever
//! adds at the end.

use std::ffi::CStr;

use envelope::header::KeyId;
use envelope::wrap::EncryptionContext;
use pgrx::pg_sys;
use uuid::Uuid;

use crate::catalog::scan::{self, Key, Row};
use crate::error::{Error, Result};

/// Which tables use a keyring.
pub struct KeyringTable {
    pub keyring_id: Uuid,
    pub seals: bool,
}

/// Every keyring: its id, and its table as last seen.
pub fn keyrings() -> Result<Vec<(Uuid, String)>> {
    let mut rows = Vec::new();
    scan::all(c"keyring", |row| {
        let id = Uuid::from_bytes(required(row.uuid(1), "keyring.keyring_id")?);
        rows.push((id, required(row.text(2), "keyring.table_name")?));
        Ok(true)
    })?;
    Ok(rows)
}

/// The tables that use a keyring, those that are gone left out: OID, and whether it seals with it.
pub fn tables_of(keyring_id: Uuid) -> Result<Vec<(pg_sys::Oid, bool)>> {
    let key = Key::Uuid(keyring_id.as_bytes());
    let rows = collect(c"keyring_table", c"keyring_table_keyring", 2, &key, |row| {
        let relation = required(row.oid(3), "keyring_table.relation")?;
        Ok((relation, required(row.bool(4), "keyring_table.seals")?))
    })?;
    Ok(rows.into_iter().filter(|(relation, _)| *relation != pg_sys::InvalidOid).collect())
}

/// A keyring's own choices.
pub struct Keyring {
    pub default_kek: Option<String>,
    pub kms_context: Option<EncryptionContext>,
    /// JSON text.
    pub limits: String,
    /// Values under older versions of its key are refused.
    pub minimum_version: i32,
}

/// A data key, without the key.
#[derive(Clone, Copy)]
pub struct DataKeyRow {
    pub key_id: KeyId,
    pub keyring_id: Uuid,
    pub purpose: Purpose,
    pub version: i32,
    pub state: State,
}

impl DataKeyRow {
    /// Whether new values are sealed under it.
    pub fn seals(&self) -> bool {
        self.purpose == Purpose::Seal && self.state == State::Active
    }
}

/// What a data key is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Seal,
    Index,
}

/// What a data key may do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Seals and opens.
    Active,
    /// Opens.
    DecryptOnly,
    /// Does nothing, and can come back.
    Retired,
    /// Its wraps are gone.
    Destroyed,
}

/// A data key wrapped by a KEK.
#[derive(Clone, PartialEq, Eq)]
pub struct WrappedKey {
    pub kek: String,
    pub kms_context: EncryptionContext,
    pub wrapped: Vec<u8>,
}

impl State {
    /// As it stands in the catalog and in messages.
    pub fn name(self) -> &'static str {
        match self {
            State::Active => "active",
            State::DecryptOnly => "decrypt-only",
            State::Retired => "retired",
            State::Destroyed => "destroyed",
        }
    }

    /// Whether values may be opened with it.
    pub fn opens(self) -> bool {
        matches!(self, State::Active | State::DecryptOnly)
    }
}

/// The keyrings that `relation` itself uses.
pub fn keyring_tables(relation: pg_sys::Oid) -> Result<Vec<KeyringTable>> {
    collect(c"keyring_table", c"keyring_table_relation", 3, &Key::Oid(relation), |row| {
        Ok(KeyringTable {
            keyring_id: Uuid::from_bytes(required(row.uuid(2), "keyring_table.keyring_id")?),
            seals: required(row.bool(4), "keyring_table.seals")?,
        })
    })
}

/// The keyring that `relation` seals with.
pub fn sealing_keyring(relation: pg_sys::Oid) -> Result<Option<Uuid>> {
    let rows = keyring_tables(relation)?;
    Ok(rows.into_iter().find(|row| row.seals).map(|row| row.keyring_id))
}

/// The keyring with that id.
pub fn keyring(keyring_id: Uuid) -> Result<Option<Keyring>> {
    let key = Key::Uuid(keyring_id.as_bytes());
    let rows = collect(c"keyring", c"keyring_pkey", 1, &key, |row| {
        Ok(Keyring {
            default_kek: row.text(3),
            kms_context: row.json(4).map(|json| parse_context(&json)).transpose()?,
            limits: required(row.json(5), "keyring.limits")?,
            minimum_version: required(row.i32(6), "keyring.minimum_version")?,
        })
    })?;
    Ok(rows.into_iter().next())
}

/// The data key with that id.
pub fn data_key(key_id: KeyId) -> Result<Option<DataKeyRow>> {
    let rows = collect(c"data_key", c"data_key_pkey", 1, &Key::Uuid(&key_id.0), data_key_row)?;
    Ok(rows.into_iter().next())
}

/// All data keys of a keyring.
pub fn data_keys(keyring_id: Uuid) -> Result<Vec<DataKeyRow>> {
    let index = c"data_key_keyring_id_purpose_version_key";
    collect(c"data_key", index, 2, &Key::Uuid(keyring_id.as_bytes()), data_key_row)
}

/// When a data key was made, in PostgreSQL's microseconds.
pub fn made_at(key_id: KeyId) -> Result<Option<i64>> {
    let key = Key::Uuid(&key_id.0);
    let rows = collect(c"data_key", c"data_key_pkey", 1, &key, |row| {
        required(row.i64(6), "data_key.created_at")
    })?;
    Ok(rows.into_iter().next())
}

/// The wraps of a data key, in the order in which they are tried.
pub fn wrapped_keys(key_id: KeyId) -> Result<Vec<WrappedKey>> {
    let key = Key::Uuid(&key_id.0);
    let mut rows = collect(c"wrapped_key", c"wrapped_key_pkey", 1, &key, |row| {
        let wrap = WrappedKey {
            kek: required(row.text(2), "wrapped_key.kek")?,
            kms_context: parse_context(&required(row.json(3), "wrapped_key.kms_context")?)?,
            wrapped: required(row.bytes(4), "wrapped_key.wrapped")?,
        };
        Ok((required(row.i32(7), "wrapped_key.position")?, wrap))
    })?;
    rows.sort_by(|(one, a), (other, b)| (one, &a.kek).cmp(&(other, &b.kek)));
    Ok(rows.into_iter().map(|(_, wrap)| wrap).collect())
}

/// The position of a data key's next wrap, behind all that are there. Read here, since a query in a
/// SERIALIZABLE transaction would lock what it reads against others' inserts.
pub fn next_position(key_id: KeyId) -> Result<i32> {
    let key = Key::Uuid(&key_id.0);
    let positions = collect(c"wrapped_key", c"wrapped_key_pkey", 1, &key, |row| {
        required(row.i32(7), "wrapped_key.position")
    })?;
    Ok(positions.into_iter().max().unwrap_or(0).saturating_add(1))
}

/// Values and bytes that were sealed under a data key, as far as they were counted.
pub fn key_use(key_id: KeyId) -> Result<(u64, u64)> {
    let key = Key::Uuid(&key_id.0);
    let samples = collect(c"key_use", c"key_use_key", 2, &key, |row| {
        let seals = required(row.i64(3), "key_use.seals")?;
        Ok((seals.unsigned_abs(), required(row.i64(4), "key_use.bytes")?.unsigned_abs()))
    })?;
    let add = |sum: (u64, u64), sample: (u64, u64)| {
        (sum.0.saturating_add(sample.0), sum.1.saturating_add(sample.1))
    };
    Ok(samples.into_iter().fold((0, 0), add))
}

/// Whether any data key of this database is wrapped by a KEK that is no file.
pub fn any_kek_beyond_files() -> Result<bool> {
    any_wrap(|kek| !kek.starts_with("file:"))
}

/// Whether any data key of this database is wrapped by `uri`.
pub fn any_under_kek(uri: &str) -> Result<bool> {
    any_wrap(|kek| kek == uri)
}

fn any_wrap(is_wanted: impl Fn(&str) -> bool) -> Result<bool> {
    let mut found = false;
    scan::all(c"wrapped_key", |row| {
        found = row.text(2).is_some_and(|kek| is_wanted(&kek));
        Ok(!found)
    })?;
    Ok(found)
}

fn data_key_row(row: &Row) -> Result<DataKeyRow> {
    Ok(DataKeyRow {
        key_id: KeyId(required(row.uuid(1), "data_key.key_id")?),
        keyring_id: Uuid::from_bytes(required(row.uuid(2), "data_key.keyring_id")?),
        purpose: match row.text(3).as_deref() {
            Some("seal") => Purpose::Seal,
            Some("index") => Purpose::Index,
            _ => return Err(unreadable("data_key.purpose")),
        },
        version: required(row.i32(4), "data_key.version")?,
        state: match row.text(5).as_deref() {
            Some("active") => State::Active,
            Some("decrypt-only") => State::DecryptOnly,
            Some("retired") => State::Retired,
            Some("destroyed") => State::Destroyed,
            _ => return Err(unreadable("data_key.state")),
        },
    })
}

/// A KMS encryption context: a JSON object whose values are strings.
pub fn parse_context(json: &str) -> Result<EncryptionContext> {
    let pairs: std::collections::BTreeMap<String, String> = serde_json::from_str(json)
        .map_err(|_| Error::BadArgument("kms_context must be an object of strings".into()))?;
    Ok(pairs.into_iter().collect())
}

fn collect<T>(
    table: &CStr,
    index: &CStr,
    column: i16,
    key: &Key<'_>,
    read: impl Fn(&Row) -> Result<T>,
) -> Result<Vec<T>> {
    let mut rows = Vec::new();
    scan::by_index(table, index, column, key, |row| {
        rows.push(read(row)?);
        Ok(true)
    })?;
    Ok(rows)
}

fn required<T>(value: Option<T>, column: &'static str) -> Result<T> {
    value.ok_or_else(|| unreadable(column))
}

fn unreadable(column: &'static str) -> Error {
    Error::Corrupt(format!("envelope.{column} holds what cannot be there"))
}
