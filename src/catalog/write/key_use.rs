//! What was sealed under the active keys, by samples.

use envelope::header::KeyId;
use uuid::Uuid;

use super::{execute, pg_uuid, random_uuid, touch};
use crate::error::Result;

/// A sample of what was sealed under a data key.
pub fn insert(key_id: KeyId, seals: i64, bytes: i64) -> Result<()> {
    execute(
        "INSERT INTO envelope.key_use (id, key_id, seals, bytes) VALUES ($1, $2, $3, $4)",
        &[pg_uuid(random_uuid()?), pg_uuid(key_id.into()), seals.into(), bytes.into()],
    )
}

/// Drops the samples of a keyring's keys that are not active.
pub fn delete_old(keyring_id: Uuid) -> Result<()> {
    touch(
        "DELETE FROM envelope.key_use u USING envelope.data_key k
         WHERE k.keyring_id = $1 AND k.state <> 'active' AND u.key_id = k.key_id",
        &[pg_uuid(keyring_id)],
    )
    .map(|_| ())
}
