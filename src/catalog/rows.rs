//! The rows of each table as Rust types. Columns go by position: `sql/bootstrap.sql` only ever
//! adds at the end.

mod indexes;
mod policies;
mod words;
mod wraps;

use std::ffi::CStr;

use envelope::header::KeyId;
use envelope::wrap::EncryptionContext;
use pgrx::pg_sys;
use uuid::Uuid;

use crate::catalog::scan::{self, Key, Row};
use crate::error::{Error, Result};
use crate::pg::xact;

pub use self::indexes::{
    IndexRow, KeysOf, all_indexes, indexes, indexes_with_keys_of, nearest_indexes,
};
pub use self::policies::{
    Form, Former, PolicyRow, all_policies, ended_context, nearest_policies, policies, policy,
};
pub use self::words::{Purpose, State, Verb};
use self::wraps::stored_context;
pub use self::wraps::{
    KekInUse, WrappedKey, any_active_under_kek, any_kek_beyond_files, any_under_kek,
    each_wrapped_key, keks_in_use, next_position, parse_context, wrapped_keys,
};

/// That a table uses a keyring.
pub struct KeyringTable {
    pub id: Uuid,
    pub keyring_id: Uuid,
    /// 0 when the table was dropped.
    pub relation: pg_sys::Oid,
    pub seals: bool,
    /// The table's owner when it was dropped; 0 while it is there, or when nobody knows.
    pub former_owner: pg_sys::Oid,
}

/// A keyring's own choices, and its table's name as last seen.
pub struct Keyring {
    pub table_name: String,
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

    /// Whether index terms are made under it, for new rows or for queries.
    pub fn indexes(&self) -> bool {
        self.purpose == Purpose::Index && self.state.opens()
    }
}

/// A data key with its history.
#[derive(Clone)]
pub struct DataKeyHistory {
    pub row: DataKeyRow,
    /// PostgreSQL's microseconds.
    pub created_at: i64,
    /// PostgreSQL's microseconds.
    pub state_changed_at: i64,
    pub reason: Option<String>,
}

/// The keyrings that `relation` itself uses.
pub fn keyring_tables(relation: pg_sys::Oid) -> Result<Vec<KeyringTable>> {
    let key = Key::Oid(relation);
    collect(c"keyring_table", c"keyring_table_relation", 3, &key, keyring_table_row)
}

/// The tables that use a keyring, dropped ones too.
pub fn tables_of(keyring_id: Uuid) -> Result<Vec<KeyringTable>> {
    let key = Key::Uuid(keyring_id.as_bytes());
    collect(c"keyring_table", c"keyring_table_keyring", 2, &key, keyring_table_row)
}

/// The keyring that `relation` seals with.
pub fn sealing_keyring(relation: pg_sys::Oid) -> Result<Option<Uuid>> {
    let rows = keyring_tables(relation)?;
    Ok(rows.into_iter().find(|row| row.seals).map(|row| row.keyring_id))
}

/// The columns of `relation` that are known to hold sealed values, by their rows' ids.
pub fn sealed_columns(relation: pg_sys::Oid) -> Result<Vec<Uuid>> {
    let key = Key::Oid(relation);
    collect(c"sealed_column", c"sealed_column_relation", 2, &key, |row| {
        Ok(Uuid::from_bytes(required(row.uuid(1), "sealed_column.id")?))
    })
}

/// The keyring with that id.
pub fn keyring(keyring_id: Uuid) -> Result<Option<Keyring>> {
    let key = Key::Uuid(keyring_id.as_bytes());
    let rows = collect(c"keyring", c"keyring_pkey", 1, &key, keyring_row)?;
    Ok(rows.into_iter().next())
}

pub(super) fn keyring_row(row: &Row) -> Result<Keyring> {
    Ok(Keyring {
        table_name: required(row.text(2), "keyring.table_name")?,
        default_kek: row.text(3),
        kms_context: row.json(4).map(|json| stored_context(&json, "keyring")).transpose()?,
        limits: required(row.json(5), "keyring.limits")?,
        minimum_version: required(row.i32(6), "keyring.minimum_version")?,
    })
}

/// The keyrings whose table, as last seen, bears that name.
pub fn keyrings_named(table_name: &str) -> Result<Vec<Uuid>> {
    let key = Key::Text(table_name);
    collect(c"keyring", c"keyring_table_name", 2, &key, |row| {
        Ok(Uuid::from_bytes(required(row.uuid(1), "keyring.keyring_id")?))
    })
}

/// The data key with that id.
pub fn data_key(key_id: KeyId) -> Result<Option<DataKeyRow>> {
    let rows = collect(c"data_key", c"data_key_pkey", 1, &Key::Uuid(&key_id.0), data_key_row)?;
    Ok(rows.into_iter().next())
}

/// Whether the open transaction, or a part of it, has written the row of a data key as it stands.
pub fn is_data_key_of_own_writing(key_id: KeyId) -> Result<bool> {
    is_of_own_writing(c"data_key", c"data_key_pkey", key_id)
}

/// As [`is_data_key_of_own_writing`], of one of its wraps.
pub fn is_any_wrap_of_own_writing(key_id: KeyId) -> Result<bool> {
    is_of_own_writing(c"wrapped_key", c"wrapped_key_pkey", key_id)
}

fn is_of_own_writing(table: &CStr, index: &CStr, key_id: KeyId) -> Result<bool> {
    if !xact::has_written() {
        return Ok(false);
    }
    let written = collect(table, index, 1, &Key::Uuid(&key_id.0), |row| {
        Ok(xact::is_own(row.writer().into()))
    })?;
    Ok(written.contains(&true))
}

/// When the state of a data key last changed, as the session shows times, and why.
pub fn last_change(key_id: KeyId) -> Result<Option<(String, Option<String>)>> {
    let key = Key::Uuid(&key_id.0);
    let rows = collect(c"data_key", c"data_key_pkey", 1, &key, |row| {
        Ok((required(row.time(7), "data_key.state_changed_at")?, row.text(8)))
    })?;
    Ok(rows.into_iter().next())
}

/// All data keys of a keyring.
pub fn data_keys(keyring_id: Uuid) -> Result<Vec<DataKeyRow>> {
    let index = c"data_key_keyring_id_purpose_version_key";
    collect(c"data_key", index, 2, &Key::Uuid(keyring_id.as_bytes()), data_key_row)
}

/// The next version of a keyring's key for `purpose`, as long as it waits to be made active.
pub fn pending_key(keyring_id: Uuid, purpose: Purpose) -> Result<Option<DataKeyRow>> {
    let is_pending = |key: &DataKeyRow| key.purpose == purpose && key.state == State::Pending;
    Ok(data_keys(keyring_id)?.into_iter().find(is_pending))
}

/// The data key of a keyring that seals.
pub fn active_key(keyring_id: Uuid) -> Result<Option<DataKeyRow>> {
    Ok(data_keys(keyring_id)?.into_iter().find(DataKeyRow::seals))
}

/// As [`data_keys`], with their histories.
pub fn data_key_histories(keyring_id: Uuid) -> Result<Vec<DataKeyHistory>> {
    let index = c"data_key_keyring_id_purpose_version_key";
    collect(c"data_key", index, 2, &Key::Uuid(keyring_id.as_bytes()), |row| {
        Ok(DataKeyHistory {
            row: data_key_row(row)?,
            created_at: required(row.i64(6), "data_key.created_at")?,
            state_changed_at: required(row.i64(7), "data_key.state_changed_at")?,
            reason: row.text(8),
        })
    })
}

/// When a data key was made, in PostgreSQL's microseconds.
pub fn made_at(key_id: KeyId) -> Result<Option<i64>> {
    let key = Key::Uuid(&key_id.0);
    let rows = collect(c"data_key", c"data_key_pkey", 1, &key, |row| {
        required(row.i64(6), "data_key.created_at")
    })?;
    Ok(rows.into_iter().next())
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

/// The replication origin that has brought a keyring's keys; `None`: they were made here, or are nobody's
/// any more.
pub fn followed_origin(keyring_id: Uuid) -> Result<Option<String>> {
    let key = Key::Uuid(keyring_id.as_bytes());
    let rows = collect(c"followed_keyring", c"followed_keyring_pkey", 1, &key, |row| {
        required(row.text(2), "followed_keyring.origin")
    })?;
    Ok(rows.into_iter().next())
}

/// Who was granted what on a keyring. The role may be gone; a verb that is not known here grants
/// nothing.
pub fn grants(keyring_id: Uuid) -> Result<Vec<(pg_sys::Oid, Verb)>> {
    let key = Key::Uuid(keyring_id.as_bytes());
    let rows = collect(c"key_grant", c"key_grant_keyring", 2, &key, grant_row)?;
    Ok(rows.into_iter().flatten().collect())
}

/// `None`: its verb is not known here.
pub(super) fn grant_row(row: &Row) -> Result<Option<(pg_sys::Oid, Verb)>> {
    let grantee = required(row.oid(3), "key_grant.grantee")?;
    let name = required(row.text(4), "key_grant.verb")?;
    Ok(Verb::named(&name).map(|verb| (grantee, verb)))
}

pub(super) fn keyring_table_row(row: &Row) -> Result<KeyringTable> {
    Ok(KeyringTable {
        id: Uuid::from_bytes(required(row.uuid(1), "keyring_table.id")?),
        keyring_id: Uuid::from_bytes(required(row.uuid(2), "keyring_table.keyring_id")?),
        relation: required(row.oid(3), "keyring_table.relation")?,
        seals: required(row.bool(4), "keyring_table.seals")?,
        former_owner: required(row.oid(5), "keyring_table.former_owner")?,
    })
}

pub(super) fn data_key_row(row: &Row) -> Result<DataKeyRow> {
    let state = required(row.text(5).and_then(|name| State::named(&name)), "data_key.state")?;
    // The catalog of an earlier release lacks the column.
    let is_pending = state == State::DecryptOnly && row.bool(9) == Some(true);
    Ok(DataKeyRow {
        key_id: KeyId(required(row.uuid(1), "data_key.key_id")?),
        keyring_id: Uuid::from_bytes(required(row.uuid(2), "data_key.keyring_id")?),
        purpose: required(row.text(3).and_then(|name| Purpose::named(&name)), "data_key.purpose")?,
        version: required(row.i32(4), "data_key.version")?,
        state: if is_pending { State::Pending } else { state },
    })
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

pub(super) fn required<T>(value: Option<T>, column: &'static str) -> Result<T> {
    value.ok_or_else(|| unreadable(column))
}

fn unreadable(column: &'static str) -> Error {
    Error::Corrupt(format!("envelope.{column} holds what cannot be there"))
}
