//! The tables that use a keyring, of those that are still there.

use pgrx::pg_sys;
use uuid::Uuid;

use crate::catalog::rows::{self, KeyringTable};
use crate::error::Result;
use crate::pg::relation::{self, Kind};

/// The table of a link, if it is there. A link may name a table that was dropped unseen (in
/// single-user mode, where no event trigger fires).
pub fn living_table(link: &KeyringTable) -> Option<pg_sys::Oid> {
    let is_there =
        link.relation != pg_sys::InvalidOid && relation::kind(link.relation) != Kind::Missing;
    is_there.then_some(link.relation)
}

/// The table that seals with the keyring these are the links of; `None`: it is orphaned.
pub fn sealing_table(links: &[KeyringTable]) -> Option<pg_sys::Oid> {
    links.iter().filter(|link| link.seals).find_map(living_table)
}

/// Whether no table seals with the keyring any more.
pub fn is_orphaned(keyring_id: Uuid) -> Result<bool> {
    Ok(sealing_table(&rows::tables_of(keyring_id)?).is_none())
}
