//! What is written to the extension's tables, each statement by SPI as the owner of the schema.

pub mod lifecycle;

use envelope::header::KeyId;
use envelope::wrap::EncryptionContext;
use pgrx::datum::{DatumWithOid, Uuid as PgUuid};
use pgrx::pg_sys;
use pgrx::spi::Spi;
use uuid::Uuid;

use crate::catalog::rows::{self, DataKeyRow, WrappedKey};
use crate::catalog::schema;
use crate::error::{Error, Result};
use crate::pg::owner::ActingAsOwner;

/// A new keyring and the table that seals with it.
pub fn insert_keyring(
    keyring_id: Uuid,
    relation: pg_sys::Oid,
    table_name: &str,
    default_kek: Option<&str>,
    kms_context: Option<&EncryptionContext>,
) -> Result<()> {
    execute(
        "INSERT INTO envelope.keyring (keyring_id, table_name, default_kek, kms_context)
         VALUES ($1, convert_from($2, 'UTF8'), convert_from($3, 'UTF8'),
                 convert_from($4, 'UTF8')::jsonb) RETURNING 1",
        &[
            pg_uuid(keyring_id),
            table_name.as_bytes().into(),
            default_kek.map(str::as_bytes).into(),
            kms_context.map(context_json).transpose()?.into(),
        ],
    )?;
    execute(
        "INSERT INTO envelope.keyring_table (id, keyring_id, relation, seals)
         VALUES ($1, $2, $3::regclass, true) RETURNING 1",
        &[pg_uuid(random_uuid()?), pg_uuid(keyring_id), relation.into()],
    )
}

/// A keyring's own limits, as JSON text.
pub fn update_limits(keyring_id: Uuid, limits: &str) -> Result<()> {
    execute(
        "UPDATE envelope.keyring SET limits = convert_from($2, 'UTF8')::jsonb
         WHERE keyring_id = $1 RETURNING 1",
        &[pg_uuid(keyring_id), limits.as_bytes().into()],
    )
}

/// A new active data key for sealing; its wraps come by [`insert_wrap`].
pub fn insert_data_key(row: &DataKeyRow) -> Result<()> {
    execute(
        "INSERT INTO envelope.data_key (key_id, keyring_id, purpose, version, state)
         VALUES ($1, $2, 'seal', $3, 'active') RETURNING 1",
        &[pg_uuid(row.key_id.into()), pg_uuid(row.keyring_id), row.version.into()],
    )
}

/// A new wrap of a data key, which was tried; it is the last in their order.
pub fn insert_wrap(key_id: KeyId, wrap: &WrappedKey) -> Result<()> {
    execute(
        "INSERT INTO envelope.wrapped_key (key_id, kek, kms_context, wrapped, verified_at, position)
         VALUES ($1, convert_from($2, 'UTF8'), convert_from($3, 'UTF8')::jsonb, $4, now(), $5)
         RETURNING 1",
        &[
            pg_uuid(key_id.into()),
            wrap.kek.as_bytes().into(),
            context_json(&wrap.kms_context)?.into(),
            wrap.wrapped.as_slice().into(),
            rows::next_position(key_id)?.into(),
        ],
    )
}

/// Runs one statement that must touch exactly one row.
fn execute(sql: &str, args: &[DatumWithOid<'_>]) -> Result<()> {
    match touch(sql, args)? {
        1 => Ok(()),
        rows => Err(Error::Corrupt(format!("catalog write touched {rows} rows instead of one"))),
    }
}

/// Runs one statement; how many rows it gave. Text goes in as UTF-8 bytes, so that it is right in
/// every server encoding.
fn touch(sql: &str, args: &[DatumWithOid<'_>]) -> Result<usize> {
    let _owner = ActingAsOwner::of_schema(schema()?).ok_or(Error::NotInstalled)?;
    Spi::connect_mut(|client| client.update(sql, None, args).map(|rows| rows.len()))
        .map_err(|error| Error::Corrupt(format!("catalog write failed: {error}")))
}

/// A random UUID (version 4), for rows that nothing derives an id for.
pub fn random_uuid() -> Result<Uuid> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| Error::System(error.to_string()))?;
    Ok(uuid::Builder::from_random_bytes(bytes).into_uuid())
}

fn context_json(context: &EncryptionContext) -> Result<Vec<u8>> {
    let pairs: std::collections::BTreeMap<&str, &str> = context.iter().collect();
    serde_json::to_vec(&pairs).map_err(|error| Error::Corrupt(error.to_string()))
}

fn pg_uuid(uuid: Uuid) -> DatumWithOid<'static> {
    PgUuid::from_bytes(*uuid.as_bytes()).into()
}
