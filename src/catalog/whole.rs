//! The catalog's tables from end to end, for what looks at every keyring. No index is used, so
//! that it works while the extension is being dropped, too.

use std::collections::HashSet;
use std::ffi::{CStr, CString};

use envelope::header::KeyId;
use pgrx::pg_sys;
use uuid::Uuid;

use crate::catalog::rows::{self, DataKeyRow, Keyring, KeyringTable, Verb, required};
use crate::catalog::scan::{self, Row};
use crate::error::Result;

/// A keyring by its table's name as last seen.
pub struct NamedKeyring {
    pub id: Uuid,
    pub table_name: String,
}

/// Every keyring.
pub fn keyrings() -> Result<Vec<NamedKeyring>> {
    all(c"keyring", |row| {
        Ok(NamedKeyring {
            id: Uuid::from_bytes(required(row.uuid(1), "keyring.keyring_id")?),
            table_name: required(row.text(2), "keyring.table_name")?,
        })
    })
}

/// Every use of a keyring by a table.
pub fn keyring_tables() -> Result<Vec<KeyringTable>> {
    all(c"keyring_table", rows::keyring_table_row)
}

/// The columns registered as holding sealed values, those of tables that are gone left out.
pub fn sealed_columns() -> Result<Vec<(pg_sys::Oid, CString)>> {
    let columns = all(c"sealed_column", |row| {
        let relation = required(row.oid(2), "sealed_column.relation")?;
        Ok((relation, required(row.name(3), "sealed_column.column_name")?))
    })?;
    Ok(columns.into_iter().filter(|(relation, _)| *relation != pg_sys::InvalidOid).collect())
}

/// Every data key.
pub fn data_keys() -> Result<Vec<DataKeyRow>> {
    all(c"data_key", rows::data_key_row)
}

/// The ids of all data keys.
pub fn key_ids() -> Result<HashSet<[u8; 16]>> {
    Ok(data_keys()?.into_iter().map(|key| key.key_id.0).collect())
}

/// The key id and the KEK of every wrapped key.
pub fn wraps() -> Result<Vec<(KeyId, String)>> {
    all(c"wrapped_key", |row| {
        Ok((
            KeyId(required(row.uuid(1), "wrapped_key.key_id")?),
            required(row.text(2), "wrapped_key.kek")?,
        ))
    })
}

/// Every keyring, with what stands in its row.
pub fn keyring_rows() -> Result<Vec<(Uuid, Keyring)>> {
    all(c"keyring", |row| {
        let id = Uuid::from_bytes(required(row.uuid(1), "keyring.keyring_id")?);
        Ok((id, rows::keyring_row(row)?))
    })
}

/// Every right on a keyring, with the role that was given it. A verb that is not known here is none.
pub fn grants() -> Result<Vec<(Uuid, pg_sys::Oid, Verb)>> {
    let grants = all(c"key_grant", |row| {
        let id = Uuid::from_bytes(required(row.uuid(2), "key_grant.keyring_id")?);
        Ok(rows::grant_row(row)?.map(|(grantee, verb)| (id, grantee, verb)))
    })?;
    Ok(grants.into_iter().flatten().collect())
}

/// Every keyring whose keys come from elsewhere, with what has brought them last.
pub fn followed_origins() -> Result<Vec<(Uuid, String)>> {
    all(c"followed_keyring", |row| {
        let id = Uuid::from_bytes(required(row.uuid(1), "followed_keyring.keyring_id")?);
        Ok((id, required(row.text(2), "followed_keyring.origin")?))
    })
}

/// As [`wraps`], those of a key in the order in which they are tried.
pub fn wraps_in_order() -> Result<Vec<(KeyId, String)>> {
    let mut wraps = all(c"wrapped_key", |row| {
        let key_id = KeyId(required(row.uuid(1), "wrapped_key.key_id")?);
        let kek = required(row.text(2), "wrapped_key.kek")?;
        Ok((required(row.i32(7), "wrapped_key.position")?, kek, key_id))
    })?;
    wraps.sort_unstable_by(|(one, a, _), (other, b, _)| (one, a).cmp(&(other, b)));
    Ok(wraps.into_iter().map(|(_, kek, key_id)| (key_id, kek)).collect())
}

fn all<T>(table: &CStr, read: impl Fn(&Row) -> Result<T>) -> Result<Vec<T>> {
    let mut found = Vec::new();
    scan::all(table, |row| {
        found.push(read(row)?);
        Ok(true)
    })?;
    Ok(found)
}
