//! Keyrings whose table is gone.

use pgrx::pg_sys;
use uuid::Uuid;

use crate::catalog::rows::{self, KeyringTable, State};
use crate::error::{Error, Result};
use crate::keyring::users::is_orphaned;
use crate::pg::{acl, report};

/// How many keyrings a WARNING names: a table may have been dropped and made again any number of times.
const NAMED: usize = 3;

/// 42501 unless the current role is a superuser or has the rights of who owned the table of these links of an
/// orphaned keyring when it was dropped. The owners of dropped tables that only opened with the keyring do not
/// count: it was not theirs.
pub fn require_former_owner(
    keyring: Uuid,
    links: &[KeyringTable],
    action: &'static str,
) -> Result<()> {
    let role = acl::current_role();
    let is_theirs = |link: &KeyringTable| {
        link.seals
            && link.former_owner != pg_sys::InvalidOid
            && acl::has_rights_of(role, link.former_owner)
    };
    if acl::is_superuser() || links.iter().any(is_theirs) {
        Ok(())
    } else {
        Err(Error::NotFormerOwner { action, keyring })
    }
}

/// A table of that name is about to get a new keyring: says so when one of that name was dropped,
/// since what it sealed (in a backup, say) does not open with the new one. Keyrings whose keys are all
/// destroyed open nothing any more.
pub fn warn_of(table_name: &str) -> Result<()> {
    let mut orphaned = Vec::new();
    for keyring_id in rows::keyrings_named(table_name)? {
        if is_orphaned(keyring_id)?
            && let Some(made) = newest_key_made(keyring_id)?
        {
            orphaned.push((made, keyring_id));
        }
    }
    if !orphaned.is_empty() {
        orphaned.sort_unstable_by(|one, other| other.cmp(one));
        let newest = orphaned.iter().take(NAMED).map(|(_, id)| id.to_string());
        let mut ids = newest.collect::<Vec<_>>().join(", ");
        if orphaned.len() > NAMED {
            ids = format!("{ids} and {} more", orphaned.len() - NAMED);
        }
        report::warning(
            format!("a table {table_name} that was dropped has left keyring {ids}"),
            "The new data key does not open what was sealed for that table, in a backup or a copy. \
             To open that, too: SELECT envelope.adopt_keyring(keyring_id, relation). The newest is \
             named first; envelope.keys shows all.",
        );
    }
    Ok(())
}

/// When the newest key of a keyring was made that is not destroyed; `None` when there is none.
fn newest_key_made(keyring_id: Uuid) -> Result<Option<i64>> {
    let keys = rows::data_key_histories(keyring_id)?.into_iter();
    let living = keys.filter(|key| key.row.state != State::Destroyed);
    Ok(living.map(|key| key.created_at).max())
}
