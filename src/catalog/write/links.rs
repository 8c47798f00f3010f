//! Which table uses which keyring.

use pgrx::pg_sys;
use uuid::Uuid;

use super::{execute, pg_uuid, random_uuid, role_ref, table_ref, touch};
use crate::error::Result;

/// Lets `relation` use the keyring.
pub fn insert(keyring_id: Uuid, relation: pg_sys::Oid, seals: bool) -> Result<()> {
    execute(
        "INSERT INTO envelope.keyring_table (id, keyring_id, relation, seals)
         VALUES ($1, $2, $3, $4)",
        &[pg_uuid(random_uuid()?), pg_uuid(keyring_id), table_ref(relation)?, seals.into()],
    )
}

/// The table of the link with that id now seals with the keyring.
pub fn let_seal(id: Uuid) -> Result<()> {
    execute("UPDATE envelope.keyring_table SET seals = true WHERE id = $1", &[pg_uuid(id)])
}

/// Forgets the link with that id.
pub fn delete(id: Uuid) -> Result<()> {
    execute("DELETE FROM envelope.keyring_table WHERE id = $1", &[pg_uuid(id)])
}

/// Makes the link with that id one of no table, whose owner was `former_owner`.
pub fn orphan(id: Uuid, former_owner: pg_sys::Oid) -> Result<()> {
    execute(
        "UPDATE envelope.keyring_table SET relation = $2, former_owner = $3 WHERE id = $1",
        &[pg_uuid(id), table_ref(pg_sys::InvalidOid)?, role_ref(former_owner)?],
    )
}

/// Makes the sealed column with that id one of no table.
pub fn orphan_column(id: Uuid) -> Result<()> {
    execute(
        "UPDATE envelope.sealed_column SET relation = $2 WHERE id = $1",
        &[pg_uuid(id), table_ref(pg_sys::InvalidOid)?],
    )
}

/// The keyring's table was last seen under that name. A keyring that is missing is none of this
/// call's business.
pub fn last_seen(keyring_id: Uuid, table_name: &str) -> Result<()> {
    touch(
        "UPDATE envelope.keyring SET table_name = convert_from($2, 'UTF8')
         WHERE keyring_id = $1 AND table_name <> convert_from($2, 'UTF8')",
        &[pg_uuid(keyring_id), table_name.as_bytes().into()],
    )
    .map(|_| ())
}
