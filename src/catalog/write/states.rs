//! Changes of a data key's state. The UPDATE locks the row to the end of the transaction.

use envelope::header::KeyId;

use super::{execute, pg_uuid, timestamp, touch};
use crate::catalog::rows::State;
use crate::error::Result;

/// Moves a data key from one of the states `from`, of which none is `Pending`, to `to`, and notes when and
/// why; false when its state was another by now.
pub fn change(key_id: KeyId, from: &[State], to: State, reason: Option<&str>) -> Result<bool> {
    let from: Vec<&str> = from.iter().map(|state| state.name()).collect();
    let rows = touch(
        "UPDATE envelope.data_key
         SET state = $3, state_changed_at = clock_timestamp(), reason = convert_from($4, 'UTF8')
         WHERE key_id = $1 AND state = ANY ($2)",
        &[pg_uuid(key_id.into()), from.into(), to.name().into(), reason.map(str::as_bytes).into()],
    )?;
    Ok(rows == 1)
}

/// Keeps why a key was made that waits to be made active.
pub fn keep_reason(key_id: KeyId, reason: &str) -> Result<()> {
    execute(
        "UPDATE envelope.data_key SET reason = convert_from($2, 'UTF8') WHERE key_id = $1 AND pending",
        &[pg_uuid(key_id.into()), reason.as_bytes().into()],
    )
}

/// As [`change`], of a key that waits to be made active.
pub fn end_wait(key_id: KeyId, to: State, reason: Option<&str>) -> Result<bool> {
    let rows = touch(
        "UPDATE envelope.data_key
         SET state = $2, pending = false, state_changed_at = clock_timestamp(),
             reason = convert_from($3, 'UTF8')
         WHERE key_id = $1 AND pending AND state = 'decrypt-only'",
        &[pg_uuid(key_id.into()), to.name().into(), reason.map(str::as_bytes).into()],
    )?;
    Ok(rows == 1)
}

/// Moves a data key from the state `from` to `to`, as something that happened at a time in PostgreSQL's
/// microseconds; false when its state was another by now.
pub fn carry(
    key_id: KeyId,
    from: State,
    to: State,
    changed_at: i64,
    reason: Option<&str>,
) -> Result<bool> {
    let sql = if from == State::Pending {
        "UPDATE envelope.data_key
         SET state = $3, pending = false, state_changed_at = $4, reason = convert_from($5, 'UTF8')
         WHERE key_id = $1 AND pending AND state = $2"
    } else {
        "UPDATE envelope.data_key
         SET state = $3, state_changed_at = $4, reason = convert_from($5, 'UTF8')
         WHERE key_id = $1 AND state = $2"
    };
    let rows = touch(
        sql,
        &[
            pg_uuid(key_id.into()),
            from.stored().into(),
            to.name().into(),
            timestamp(changed_at)?.into(),
            reason.map(str::as_bytes).into(),
        ],
    )?;
    Ok(rows == 1)
}
