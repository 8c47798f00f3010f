//! Keyrings whose keys come from elsewhere.

use uuid::Uuid;

use super::{pg_uuid, touch};
use crate::error::Result;

/// The keyring's keys come by the replication origin of that name, or by something else that `origin` tells.
pub fn mark(keyring_id: Uuid, origin: &str) -> Result<()> {
    touch(
        "INSERT INTO envelope.followed_keyring AS f (keyring_id, origin)
         VALUES ($1, convert_from($2, 'UTF8'))
         ON CONFLICT (keyring_id) DO UPDATE SET origin = excluded.origin, since = now()
         WHERE f.origin <> excluded.origin",
        &[pg_uuid(keyring_id), origin.as_bytes().into()],
    )
    .map(|_| ())
}

/// They do no longer; false when they did not.
pub fn forget(keyring_id: Uuid) -> Result<bool> {
    let sql = "DELETE FROM envelope.followed_keyring WHERE keyring_id = $1";
    touch(sql, &[pg_uuid(keyring_id)]).map(|rows| rows > 0)
}
