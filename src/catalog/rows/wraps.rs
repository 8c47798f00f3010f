//! The wraps of data keys.

use std::collections::BTreeMap;

use envelope::header::KeyId;
use envelope::wrap::EncryptionContext;

use super::{State, collect, data_key, required};
use crate::catalog::scan::{self, Key, Row};
use crate::error::{Error, Result};

/// A data key wrapped by a KEK.
#[derive(Clone, PartialEq, Eq)]
pub struct WrappedKey {
    pub kek: String,
    pub kms_context: EncryptionContext,
    pub wrapped: Vec<u8>,
}

/// The wraps of a data key, in the order in which they are tried.
pub fn wrapped_keys(key_id: KeyId) -> Result<Vec<WrappedKey>> {
    each_wrapped_key(key_id)?.into_iter().map(|(_, wrap)| wrap).collect()
}

/// As [`wrapped_keys`], each with its KEK, those that cannot be read among them.
pub fn each_wrapped_key(key_id: KeyId) -> Result<Vec<(String, Result<WrappedKey>)>> {
    let key = Key::Uuid(&key_id.0);
    let mut rows = collect(c"wrapped_key", c"wrapped_key_pkey", 1, &key, |row| {
        let kek = required(row.text(2), "wrapped_key.kek")?;
        let position = required(row.i32(7), "wrapped_key.position")?;
        Ok((position, kek.clone(), wrapped_key_row(row, kek)))
    })?;
    rows.sort_by(|(one, a, _), (other, b, _)| (one, a).cmp(&(other, b)));
    Ok(rows.into_iter().map(|(_, kek, wrap)| (kek, wrap)).collect())
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

/// Whether any data key of this database is wrapped by a KEK that is no file.
pub fn any_kek_beyond_files() -> Result<bool> {
    any_wrap(|kek| !kek.starts_with("file:"))
}

/// Whether any data key of this database is wrapped by `uri`.
pub fn any_under_kek(uri: &str) -> Result<bool> {
    any_wrap(|kek| kek == uri)
}

/// Whether an active data key of this database is wrapped by `uri`.
pub fn any_active_under_kek(uri: &str) -> Result<bool> {
    let mut key_ids = Vec::new();
    scan::all(c"wrapped_key", |row| {
        if row.text(2).is_some_and(|kek| kek == uri) {
            key_ids.push(KeyId(required(row.uuid(1), "wrapped_key.key_id")?));
        }
        Ok(true)
    })?;
    for key_id in key_ids {
        if data_key(key_id)?.is_some_and(|key| key.state == State::Active) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A KEK by which data keys are wrapped.
pub struct KekInUse {
    pub kek: String,
    /// How many that are.
    pub keys: usize,
    /// One of them: one that is in use, if any is.
    pub key_id: Option<KeyId>,
}

/// All KEKs, in the order of their names.
pub fn keks_in_use() -> Result<Vec<KekInUse>> {
    let mut by_kek: BTreeMap<String, Vec<KeyId>> = BTreeMap::new();
    scan::all(c"wrapped_key", |row| {
        let kek = required(row.text(2), "wrapped_key.kek")?;
        let key_id = KeyId(required(row.uuid(1), "wrapped_key.key_id")?);
        by_kek.entry(kek).or_default().push(key_id);
        Ok(true)
    })?;
    let one = |(kek, key_ids): (String, Vec<KeyId>)| {
        let mut chosen = None;
        for key_id in &key_ids {
            if data_key(*key_id)?.is_some_and(|key| key.state.opens()) {
                chosen = Some(*key_id);
                break;
            }
        }
        let key_id = chosen.or(key_ids.first().copied());
        Ok(KekInUse { kek, keys: key_ids.len(), key_id })
    };
    by_kek.into_iter().map(one).collect()
}

fn any_wrap(is_wanted: impl Fn(&str) -> bool) -> Result<bool> {
    let mut found = false;
    scan::all(c"wrapped_key", |row| {
        found = row.text(2).is_some_and(|kek| is_wanted(&kek));
        Ok(!found)
    })?;
    Ok(found)
}

fn wrapped_key_row(row: &Row, kek: String) -> Result<WrappedKey> {
    let context = required(row.json(3), "wrapped_key.kms_context")?;
    Ok(WrappedKey {
        kek,
        kms_context: stored_context(&context, "wrapped_key")?,
        wrapped: required(row.bytes(4), "wrapped_key.wrapped")?,
    })
}

/// A KMS encryption context: a JSON object whose values are strings.
pub fn parse_context(json: &str) -> Result<EncryptionContext> {
    let pairs: std::collections::BTreeMap<String, String> = serde_json::from_str(json)
        .map_err(|_| Error::BadArgument("kms_context must be an object of strings".into()))?;
    Ok(pairs.into_iter().collect())
}

/// As [`parse_context`], of what stands in `table`.
pub(super) fn stored_context(json: &str, table: &str) -> Result<EncryptionContext> {
    parse_context(json).map_err(|_| {
        Error::Corrupt(format!("envelope.{table}.kms_context is no object of strings"))
    })
}
