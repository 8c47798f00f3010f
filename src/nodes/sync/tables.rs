//! Which tables' keyrings are brought to other nodes.

use std::collections::BTreeMap;

use pgrx::pg_sys;

use crate::catalog::{citus, shards, tables};
use crate::error::{Error, Result};
use crate::keyring::table;
use crate::nodes::sync::Wish;
use crate::pg::relation;

/// Those that were named, or all that have a keyring, in the order of their names; with Citus' nodes only tables that it
/// has. Of those that were not named, the ones whose keys the current role manages.
pub fn to_bring(wish: &Wish) -> Result<Vec<pg_sys::Oid>> {
    let of_citus = wish.servers.is_none();
    if of_citus && !citus::is_coordinator()? {
        return Err(Error::NotCoordinator);
    }
    let mut found = BTreeMap::new();
    match &wish.relations {
        Some(relations) => {
            for relation in relations {
                table::require_can_have_keys(*relation)?;
                let root = shards::root(*relation)?;
                found.insert(relation::qualified_name(root), root);
            }
        }
        None => {
            for root in tables::with_keyrings()? {
                let is_there = !of_citus || citus::is_distributed(root)?;
                if is_there && table::get(root)?.require_manage_right().is_ok() {
                    found.insert(relation::qualified_name(root), root);
                }
            }
        }
    }
    Ok(found.into_values().collect())
}
