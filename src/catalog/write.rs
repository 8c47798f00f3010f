//! What is written to the extension's tables, each statement by SPI as the owner of the schema.

use envelope::header::KeyId;
use envelope::wrap::EncryptionContext;
use pgrx::datum::{DatumWithOid, Uuid as PgUuid};
use pgrx::pg_sys;
use pgrx::spi::Spi;
use uuid::Uuid;

use crate::catalog::rows::Verb;
use crate::catalog::schema;
use crate::error::{Error, Result};
use crate::pg::owner::ActingAsOwner;

/// A new keyring and the table that seals with it.
pub fn insert_keyring(
    keyring_id: Uuid,
    relation: pg_sys::Oid,
    table_name: &str,
    default_kek: Option<&str>,
    kms_context: &EncryptionContext,
) -> Result<()> {
    execute(
        "INSERT INTO envelope.keyring (keyring_id, table_name, default_kek, kms_context)
         VALUES ($1, convert_from($2, 'UTF8'), convert_from($3, 'UTF8'),
                 convert_from($4, 'UTF8')::jsonb) RETURNING 1",
        &[
            pg_uuid(keyring_id),
            table_name.as_bytes().into(),
            default_kek.map(str::as_bytes).into(),
            context_json(kms_context)?.into(),
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

/// A new data key for sealing, active, with its one wrap, which was tried.
pub fn insert_data_key(
    key_id: KeyId,
    keyring_id: Uuid,
    version: i32,
    kek: &str,
    kms_context: &EncryptionContext,
    wrapped: &[u8],
) -> Result<()> {
    execute(
        "INSERT INTO envelope.data_key (key_id, keyring_id, purpose, version, state)
         VALUES ($1, $2, 'seal', $3, 'active') RETURNING 1",
        &[pg_uuid(key_id.into()), pg_uuid(keyring_id), version.into()],
    )?;
    execute(
        "INSERT INTO envelope.wrapped_key (key_id, kek, kms_context, wrapped, verified_at)
         VALUES ($1, convert_from($2, 'UTF8'), convert_from($3, 'UTF8')::jsonb, $4, now())
         RETURNING 1",
        &[
            pg_uuid(key_id.into()),
            kek.as_bytes().into(),
            context_json(kms_context)?.into(),
            wrapped.into(),
        ],
    )
}

/// A right of `grantee` on a keyring, unless it has it.
pub fn insert_grant(keyring_id: Uuid, grantee: pg_sys::Oid, verb: Verb) -> Result<()> {
    touch(
        "INSERT INTO envelope.key_grant (id, keyring_id, grantee, verb)
         VALUES ($1, $2, $3::regrole, convert_from($4, 'UTF8')) ON CONFLICT DO NOTHING RETURNING 1",
        &[
            pg_uuid(random_uuid()?),
            pg_uuid(keyring_id),
            grantee.into(),
            verb.name().as_bytes().into(),
        ],
    )
    .map(|_| ())
}

/// Takes it away, if it is there.
pub fn delete_grant(keyring_id: Uuid, grantee: pg_sys::Oid, verb: Verb) -> Result<()> {
    touch(
        "DELETE FROM envelope.key_grant
         WHERE keyring_id = $1 AND grantee::oid = $2 AND verb = convert_from($3, 'UTF8') RETURNING 1",
        &[pg_uuid(keyring_id), grantee.into(), verb.name().as_bytes().into()],
    )
    .map(|_| ())
}

/// Takes away what roles had that are gone.
pub fn delete_grants_to_nobody(keyring_id: Uuid) -> Result<()> {
    touch(
        "DELETE FROM envelope.key_grant
         WHERE keyring_id = $1 AND grantee::oid NOT IN (SELECT oid FROM pg_roles) RETURNING 1",
        &[pg_uuid(keyring_id)],
    )
    .map(|_| ())
}

/// Runs one statement that must touch exactly one row.
fn execute(sql: &str, args: &[DatumWithOid<'_>]) -> Result<()> {
    match touch(sql, args)? {
        1 => Ok(()),
        rows => Err(Error::Corrupt(format!("catalog write touched {rows} rows instead of one"))),
    }
}

/// Runs one statement; how many rows it touched. Text goes in as UTF-8 bytes, so that it is right
/// in every server encoding.
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
