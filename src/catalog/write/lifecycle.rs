//! What happens to keys that are there: states, wraps, limits. What may have changed since it was
//! read is written only where it is still what it was; the caller learns whether it was.

use envelope::header::KeyId;
use pgrx::datum::DatumWithOid;
use uuid::Uuid;

use super::{context_json, execute, pg_uuid, random_uuid, touch};
use crate::catalog::rows::WrappedKey;
use crate::error::Result;

/// Locks a keyring against others that change its wraps, to the end of the transaction. Does not
/// wait when told so, and then says whether it could.
pub fn lock_keyring(keyring_id: Uuid, wait: bool) -> Result<bool> {
    let sql = if wait {
        "SELECT 1 FROM envelope.keyring WHERE keyring_id = $1 FOR NO KEY UPDATE"
    } else {
        "SELECT 1 FROM envelope.keyring WHERE keyring_id = $1 FOR NO KEY UPDATE SKIP LOCKED"
    };
    Ok(touch(sql, &[pg_uuid(keyring_id)])? == 1)
}

/// The active key opens only, from here on; false when it is not active any more.
pub fn end_active(key_id: KeyId, reason: &str) -> Result<bool> {
    is_one(touch(
        "UPDATE envelope.data_key SET state = 'decrypt-only', state_changed_at = now(),
                                      reason = convert_from($2, 'UTF8')
         WHERE key_id = $1 AND state = 'active' RETURNING 1",
        &[pg_uuid(key_id.into()), reason.as_bytes().into()],
    ))
}

/// Puts `new` in the place of `old`; false when that is not there any more.
pub fn replace_wrap(key_id: KeyId, old: &WrappedKey, new: &WrappedKey) -> Result<bool> {
    let [key_id, old_kek, old_wrapped] = this_wrap(key_id, old);
    is_one(touch(
        "UPDATE envelope.wrapped_key
            SET kek = convert_from($4, 'UTF8'), kms_context = convert_from($5, 'UTF8')::jsonb,
                wrapped = $6, created_at = now(), verified_at = now()
         WHERE key_id = $1 AND kek = convert_from($2, 'UTF8') AND wrapped = $3 RETURNING 1",
        &[
            key_id,
            old_kek,
            old_wrapped,
            new.kek.as_bytes().into(),
            context_json(&new.kms_context)?.into(),
            new.wrapped.as_slice().into(),
        ],
    ))
}

/// Notes that `wrap` was unwrapped and compared, and keeps it to the end of the transaction; false
/// when it is not there any more.
pub fn keep_wrap(key_id: KeyId, wrap: &WrappedKey) -> Result<bool> {
    is_one(touch(
        "UPDATE envelope.wrapped_key SET verified_at = now()
         WHERE key_id = $1 AND kek = convert_from($2, 'UTF8') AND wrapped = $3 RETURNING 1",
        &this_wrap(key_id, wrap),
    ))
}

/// Deletes `wrap`; false when it is not there any more.
pub fn delete_wrap(key_id: KeyId, wrap: &WrappedKey) -> Result<bool> {
    is_one(touch(
        "DELETE FROM envelope.wrapped_key
         WHERE key_id = $1 AND kek = convert_from($2, 'UTF8') AND wrapped = $3 RETURNING 1",
        &this_wrap(key_id, wrap),
    ))
}

/// The keyring names `to` as its KEK, if it named `from`.
pub fn move_default_kek(keyring_id: Uuid, from: &str, to: Option<&str>) -> Result<()> {
    touch(
        "UPDATE envelope.keyring SET default_kek = convert_from($3, 'UTF8')
         WHERE keyring_id = $1 AND default_kek = convert_from($2, 'UTF8') RETURNING 1",
        &[pg_uuid(keyring_id), from.as_bytes().into(), to.map(str::as_bytes).into()],
    )
    .map(|_| ())
}

/// The oldest version of a keyring's key whose values open.
pub fn update_minimum_version(keyring_id: Uuid, version: i32) -> Result<()> {
    execute(
        "UPDATE envelope.keyring SET minimum_version = $2 WHERE keyring_id = $1 RETURNING 1",
        &[pg_uuid(keyring_id), version.into()],
    )
}

/// A sample of what was sealed under a data key.
pub fn insert_key_use(key_id: KeyId, seals: i64, bytes: i64) -> Result<()> {
    execute(
        "INSERT INTO envelope.key_use (id, key_id, seals, bytes) VALUES ($1, $2, $3, $4) RETURNING 1",
        &[pg_uuid(random_uuid()?), pg_uuid(key_id.into()), seals.into(), bytes.into()],
    )
}

/// Drops the samples of a keyring's keys that are not active.
pub fn delete_old_key_use(keyring_id: Uuid) -> Result<()> {
    touch(
        "DELETE FROM envelope.key_use u USING envelope.data_key k
         WHERE k.keyring_id = $1 AND k.state <> 'active' AND u.key_id = k.key_id RETURNING 1",
        &[pg_uuid(keyring_id)],
    )
    .map(|_| ())
}

fn this_wrap(key_id: KeyId, wrap: &WrappedKey) -> [DatumWithOid<'_>; 3] {
    [pg_uuid(key_id.into()), wrap.kek.as_bytes().into(), wrap.wrapped.as_slice().into()]
}

fn is_one(rows: Result<usize>) -> Result<bool> {
    rows.map(|rows| rows == 1)
}
