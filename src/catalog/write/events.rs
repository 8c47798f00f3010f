//! The history of keys: what was done to them, to the rights on them and to the columns that they protect. Rows are
//! only added, in the transaction that does it, so that what was rolled back leaves none.

use super::{pg_uuid, random_uuid, touch};
use crate::audit::{self, Action, Event};
use crate::catalog::oid_of;
use crate::error::{Error, Result};

/// Keeps in the catalog that `action` was done, and tells the audit of it.
pub fn tell(action: Action, fill: impl FnOnce(&mut Event)) -> Result<()> {
    let mut event = Event::new(action);
    fill(&mut event);
    record(&event)?;
    audit::tell(&event);
    Ok(())
}

/// The catalog of an earlier release keeps no history.
fn record(event: &Event) -> Result<()> {
    match oid_of(c"key_event") {
        Err(Error::Outdated) => return Ok(()),
        found => found?,
    };
    // The name of a role may be in another encoding than this database's: no history is not to stop what was done.
    let event = event.json().replace(char::REPLACEMENT_CHARACTER, "?");
    touch(
        "INSERT INTO envelope.key_event
           (id, at, event, role, login_role, table_name, keyring_id, key_id, kek, kms_request_id, grantee, verb,
            count, detail)
         SELECT $1, clock_timestamp(), e.event, e.role, e.login_role, e.\"table\",
                COALESCE(e.keyring_id, (SELECT k.keyring_id FROM envelope.data_key k WHERE k.key_id = e.key_id)),
                e.key_id, e.kek, e.kms_request_id, e.grantee, e.verb, e.count, e.detail
         FROM jsonb_to_record(convert_from($2, 'UTF8')::jsonb)
           AS e (event text, role text, login_role text, \"table\" text, keyring_id uuid, key_id uuid, kek text,
                 kms_request_id text, grantee text, verb text, count bigint, detail text)",
        &[pg_uuid(random_uuid()?), event.as_bytes().into()],
    )
    .map(|_| ())
}
