//! A partitioned table as a whole.

use envelope::header::KeyId;
use pgrx::pg_sys;

use crate::error::Result;
use crate::keyring::table;
use crate::pg::lock;
use crate::pg::relation::{self, Kind};
use crate::sweep::left::Keys;

/// The tables that hold the rows of a partitioned one.
#[derive(Default)]
pub struct Family {
    pub parts: Vec<pg_sys::Oid>,
    /// What they seal under, and the other keys that any of them may open with.
    pub active_key: Option<KeyId>,
    pub old_keys: Vec<KeyId>,
}

/// That of `relation`, which stays as it is to the end of the transaction.
pub fn family(relation: pg_sys::Oid) -> Result<Family> {
    let mut family = Family::default();
    let members = lock::keep_family(relation).into_iter();
    // Foreign partitions and temporary heirs have no values of these keys.
    for member in members.filter(|member| relation::kind(*member) == Kind::Table) {
        let table = table::get(member)?;
        if let Some(active) = table.active_key() {
            family.active_key = Some(active);
            family.old_keys.extend(Keys::of(&table, active)?.old);
        }
        if relation::pages(member).is_some() {
            family.parts.push(member);
        }
    }
    family.old_keys.sort_unstable_by_key(|key_id| key_id.0);
    family.old_keys.dedup();
    Ok(family)
}
