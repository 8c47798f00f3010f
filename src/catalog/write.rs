//! What is written to the extension's tables, each statement by SPI as the owner of the schema.

pub mod columns;
pub mod events;
pub mod followed;
pub mod indexes;
pub mod key_use;
pub mod links;
pub mod reencryption;
pub mod states;
pub mod wraps;

use envelope::header::KeyId;
use envelope::wrap::EncryptionContext;
use pgrx::datum::{DatumWithOid, TimestampWithTimeZone, Uuid as PgUuid};
use pgrx::pg_sys;
use uuid::Uuid;

use crate::catalog::rows::{self, DataKeyHistory, DataKeyRow, Keyring, State, Verb};
use crate::catalog::{oid_of, schema, type_of};
use crate::error::{Error, Result};
use crate::pg::attribute;
use crate::pg::datum::oid_as;
use crate::pg::owner::ActingAsOwner;
use crate::pg::spi;

/// A new keyring, which no table uses yet.
pub fn insert_keyring(keyring_id: Uuid, keyring: &Keyring) -> Result<()> {
    execute(
        "INSERT INTO envelope.keyring (keyring_id, table_name, default_kek, kms_context, limits,
                                       minimum_version)
         VALUES ($1, convert_from($2, 'UTF8'), convert_from($3, 'UTF8'),
                 convert_from($4, 'UTF8')::jsonb, convert_from($5, 'UTF8')::jsonb, $6)",
        &[
            pg_uuid(keyring_id),
            keyring.table_name.as_bytes().into(),
            keyring.default_kek.as_deref().map(str::as_bytes).into(),
            keyring.kms_context.as_ref().map(context_json).transpose()?.into(),
            keyring.limits.as_bytes().into(),
            keyring.minimum_version.into(),
        ],
    )
}

/// The keyring goes; the rows of its data keys stay.
pub fn delete_keyring(keyring_id: Uuid) -> Result<()> {
    execute("DELETE FROM envelope.keyring WHERE keyring_id = $1", &[pg_uuid(keyring_id)])
}

/// A keyring's own limits, as JSON text.
pub fn update_limits(keyring_id: Uuid, limits: &str) -> Result<()> {
    execute(
        "UPDATE envelope.keyring SET limits = convert_from($2, 'UTF8')::jsonb
         WHERE keyring_id = $1",
        &[pg_uuid(keyring_id), limits.as_bytes().into()],
    )
}

/// The keyring names `to` as its KEK, if it named `from`.
pub fn move_default_kek(keyring_id: Uuid, from: &str, to: Option<&str>) -> Result<()> {
    touch(
        "UPDATE envelope.keyring SET default_kek = convert_from($3, 'UTF8')
         WHERE keyring_id = $1 AND default_kek = convert_from($2, 'UTF8')",
        &[pg_uuid(keyring_id), from.as_bytes().into(), to.map(str::as_bytes).into()],
    )
    .map(|_| ())
}

/// The oldest version of a keyring's key whose values open.
pub fn update_minimum_version(keyring_id: Uuid, version: i32) -> Result<()> {
    execute(
        "UPDATE envelope.keyring SET minimum_version = $2 WHERE keyring_id = $1",
        &[pg_uuid(keyring_id), version.into()],
    )
}

/// Locks a keyring against others that change its keys or their wraps, to the end of the transaction. Does not
/// wait when told so, and then says whether it could.
pub fn lock_keyring(keyring_id: Uuid, wait: bool) -> Result<bool> {
    let sql = if wait {
        "SELECT 1 FROM envelope.keyring WHERE keyring_id = $1 FOR NO KEY UPDATE"
    } else {
        "SELECT 1 FROM envelope.keyring WHERE keyring_id = $1 FOR NO KEY UPDATE SKIP LOCKED"
    };
    Ok(touch(sql, &[pg_uuid(keyring_id)])? == 1)
}

/// A new data key; its wraps come by [`wraps::insert`].
pub fn insert_data_key(row: &DataKeyRow) -> Result<()> {
    execute(
        "INSERT INTO envelope.data_key (key_id, keyring_id, purpose, version, state)
         VALUES ($1, $2, convert_from($3, 'UTF8'), $4, convert_from($5, 'UTF8'))",
        &data_key_columns(row),
    )?;
    note_pending(row)
}

/// A key that waits is marked. Not in the statement that inserts it, which is to run in the catalog of an
/// earlier release, too.
fn note_pending(row: &DataKeyRow) -> Result<()> {
    if row.state != State::Pending {
        return Ok(());
    }
    attribute::number(oid_of(c"data_key")?, c"pending").ok_or(Error::Outdated)?;
    execute(
        "UPDATE envelope.data_key SET pending = true WHERE key_id = $1",
        &[pg_uuid(row.key_id.into())],
    )
}

/// A data key that was made elsewhere, with what happened to it there.
pub fn insert_data_key_history(key: &DataKeyHistory) -> Result<()> {
    let [key_id, keyring_id, purpose, version, state] = data_key_columns(&key.row);
    execute(
        "INSERT INTO envelope.data_key (key_id, keyring_id, purpose, version, state,
                                        created_at, state_changed_at, reason)
         VALUES ($1, $2, convert_from($3, 'UTF8'), $4, convert_from($5, 'UTF8'),
                 $6, $7, convert_from($8, 'UTF8'))",
        &[
            key_id,
            keyring_id,
            purpose,
            version,
            state,
            timestamp(key.created_at)?.into(),
            timestamp(key.state_changed_at)?.into(),
            key.reason.as_deref().map(str::as_bytes).into(),
        ],
    )?;
    note_pending(&key.row)
}

/// Another version of the data key `key_id`; false when its state is another by now. Its row goes and comes: none is
/// written over with another key's.
pub fn renumber(keyring_id: Uuid, key_id: KeyId, version: i32) -> Result<bool> {
    let mut keys = rows::data_key_histories(keyring_id)?.into_iter();
    let mut key = keys.find(|key| key.row.key_id == key_id).ok_or(Error::UnknownKey(key_id))?;
    // Whoever destroys it at this moment is waited for.
    let gone = touch(
        "DELETE FROM envelope.data_key WHERE key_id = $1 AND state = $2",
        &[pg_uuid(key_id.into()), key.row.state.stored().into()],
    )?;
    key.row.version = version;
    if gone == 1 {
        insert_data_key_history(&key)?;
    }
    Ok(gone == 1)
}

/// A right of `grantee` on a keyring, unless it has it.
pub fn insert_grant(keyring_id: Uuid, grantee: pg_sys::Oid, verb: Verb) -> Result<()> {
    touch(
        "INSERT INTO envelope.key_grant (id, keyring_id, grantee, verb)
         VALUES ($1, $2, $3, convert_from($4, 'UTF8')) ON CONFLICT DO NOTHING",
        &[
            pg_uuid(random_uuid()?),
            pg_uuid(keyring_id),
            role_ref(grantee)?,
            verb.name().as_bytes().into(),
        ],
    )
    .map(|_| ())
}

/// Takes it away, if it is there.
pub fn delete_grant(keyring_id: Uuid, grantee: pg_sys::Oid, verb: Verb) -> Result<()> {
    touch(
        "DELETE FROM envelope.key_grant
         WHERE keyring_id = $1 AND grantee::oid = $2 AND verb = convert_from($3, 'UTF8')",
        &[pg_uuid(keyring_id), grantee.into(), verb.name().as_bytes().into()],
    )
    .map(|_| ())
}

/// Takes away all that roles had.
pub fn delete_grants(keyring_id: Uuid) -> Result<()> {
    touch("DELETE FROM envelope.key_grant WHERE keyring_id = $1", &[pg_uuid(keyring_id)])
        .map(|_| ())
}

/// Takes away what roles had that are gone.
pub fn delete_grants_to_nobody(keyring_id: Uuid) -> Result<()> {
    touch(
        "DELETE FROM envelope.key_grant
         WHERE keyring_id = $1 AND grantee::oid NOT IN (SELECT oid FROM pg_roles)",
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
fn touch(sql: &str, args: &[DatumWithOid<'_>]) -> Result<u64> {
    let _owner = ActingAsOwner::of_schema(schema()?).ok_or(Error::NotInstalled)?;
    spi::write(sql, args).map_err(|error| Error::Corrupt(format!("catalog write failed: {error}")))
}

/// A random UUID (version 4), for rows that nothing derives an id for.
pub fn random_uuid() -> Result<Uuid> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| Error::System(error.to_string()))?;
    Ok(uuid::Builder::from_random_bytes(bytes).into_uuid())
}

fn data_key_columns(row: &DataKeyRow) -> [DatumWithOid<'static>; 5] {
    [
        pg_uuid(row.key_id.into()),
        pg_uuid(row.keyring_id),
        row.purpose.name().as_bytes().into(),
        row.version.into(),
        row.state.stored().as_bytes().into(),
    ]
}

fn timestamp(microseconds: i64) -> Result<TimestampWithTimeZone> {
    TimestampWithTimeZone::try_from(microseconds)
        .map_err(|_| Error::BadArgument("a time is out of range".into()))
}

/// A table under the type of its column: no cast is needed while the extension is half dropped, and
/// 0, for one that is gone, stays 0.
fn table_ref(relation: pg_sys::Oid) -> Result<DatumWithOid<'static>> {
    Ok(oid_as(type_of(c"table_ref")?, relation))
}

/// As [`table_ref`], a role.
fn role_ref(role: pg_sys::Oid) -> Result<DatumWithOid<'static>> {
    Ok(oid_as(type_of(c"role_ref")?, role))
}

/// As [`table_ref`], a type.
fn type_ref(kind: pg_sys::Oid) -> Result<DatumWithOid<'static>> {
    Ok(oid_as(type_of(c"type_ref")?, kind))
}

fn context_json(context: &EncryptionContext) -> Result<Vec<u8>> {
    let pairs: std::collections::BTreeMap<&str, &str> = context.iter().collect();
    serde_json::to_vec(&pairs).map_err(|error| Error::Corrupt(error.to_string()))
}

fn pg_uuid(uuid: Uuid) -> DatumWithOid<'static> {
    PgUuid::from_bytes(*uuid.as_bytes()).into()
}
