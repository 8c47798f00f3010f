//! Changes of a data key's state.
//!
//! The UPDATE locks the row to the end of the transaction. Whoever adds a wrap to a key must hold
//! that row FOR SHARE and have seen that the key is not destroyed: a wrap that came in beside the
//! destruction would bring the key back.

use envelope::header::KeyId;

use super::{pg_uuid, touch};
use crate::catalog::rows::State;
use crate::error::Result;

/// Moves a data key from one of the states `from` to `to`, and notes when and why; false when its
/// state was another by now.
pub fn change(key_id: KeyId, from: &[State], to: State, reason: Option<&str>) -> Result<bool> {
    let from: Vec<&str> = from.iter().map(|state| state.name()).collect();
    let rows = touch(
        "UPDATE envelope.data_key
         SET state = $3, state_changed_at = clock_timestamp(), reason = convert_from($4, 'UTF8')
         WHERE key_id = $1 AND state = ANY ($2) RETURNING 1",
        &[pg_uuid(key_id.into()), from.into(), to.name().into(), reason.map(str::as_bytes).into()],
    )?;
    Ok(rows == 1)
}

/// Deletes every wrap of a data key.
pub fn delete_wraps(key_id: KeyId) -> Result<()> {
    touch(
        "DELETE FROM envelope.wrapped_key WHERE key_id = $1 RETURNING 1",
        &[pg_uuid(key_id.into())],
    )?;
    Ok(())
}
