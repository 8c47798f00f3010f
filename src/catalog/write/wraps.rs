//! The wraps of data keys. What may have changed since it was read is written only where it is still
//! what it was; the caller learns whether it was.

use envelope::header::KeyId;
use pgrx::datum::DatumWithOid;

use super::{context_json, execute, pg_uuid, touch};
use crate::catalog::rows::{self, WrappedKey};
use crate::error::Result;

/// A new wrap of a data key, which was tried; it is the last in their order.
pub fn insert(key_id: KeyId, wrap: &WrappedKey) -> Result<()> {
    execute(
        "INSERT INTO envelope.wrapped_key (key_id, kek, kms_context, wrapped, verified_at, position)
         VALUES ($1, convert_from($2, 'UTF8'), convert_from($3, 'UTF8')::jsonb, $4, now(), $5)",
        &[
            pg_uuid(key_id.into()),
            wrap.kek.as_bytes().into(),
            context_json(&wrap.kms_context)?.into(),
            wrap.wrapped.as_slice().into(),
            rows::next_position(key_id)?.into(),
        ],
    )
}

/// Puts `new` in the place of `old`; false when that is not there any more.
pub fn replace(key_id: KeyId, old: &WrappedKey, new: &WrappedKey) -> Result<bool> {
    let [key_id, old_kek, old_wrapped] = this_wrap(key_id, old);
    is_one(touch(
        "UPDATE envelope.wrapped_key
            SET kek = convert_from($4, 'UTF8'), kms_context = convert_from($5, 'UTF8')::jsonb,
                wrapped = $6, created_at = now(), verified_at = now()
         WHERE key_id = $1 AND kek = convert_from($2, 'UTF8') AND wrapped = $3",
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
pub fn keep(key_id: KeyId, wrap: &WrappedKey) -> Result<bool> {
    is_one(touch(
        "UPDATE envelope.wrapped_key SET verified_at = now()
         WHERE key_id = $1 AND kek = convert_from($2, 'UTF8') AND wrapped = $3",
        &this_wrap(key_id, wrap),
    ))
}

/// Deletes `wrap`; false when it is not there any more.
pub fn delete(key_id: KeyId, wrap: &WrappedKey) -> Result<bool> {
    is_one(touch(
        "DELETE FROM envelope.wrapped_key
         WHERE key_id = $1 AND kek = convert_from($2, 'UTF8') AND wrapped = $3",
        &this_wrap(key_id, wrap),
    ))
}

/// Deletes every wrap of a data key. The keyring's lock is held: a wrap that came in beside it would
/// bring the key back.
pub fn delete_all(key_id: KeyId) -> Result<()> {
    touch("DELETE FROM envelope.wrapped_key WHERE key_id = $1", &[pg_uuid(key_id.into())])?;
    Ok(())
}

fn this_wrap(key_id: KeyId, wrap: &WrappedKey) -> [DatumWithOid<'_>; 3] {
    [pg_uuid(key_id.into()), wrap.kek.as_bytes().into(), wrap.wrapped.as_slice().into()]
}

fn is_one(rows: Result<u64>) -> Result<bool> {
    rows.map(|rows| rows == 1)
}
