//! Sealed values that stand in a table before its first key is made, under keys that nobody here has: after a restore
//! without them.

use envelope::header::peek_key_id;
use pgrx::pg_sys;

use crate::census::look;
use crate::keyring::table::{self, Whose};
use crate::pg::relation::{self, display_name};
use crate::pg::table_scan::Extent;
use crate::pg::{column, lock, report, xact};

/// Of so many partitions at most a sample is looked at.
const MEMBERS: usize = 16;

/// Says so where a sample of the table has one: the new key does not open it, and what is sealed from now on is under
/// another key than what is to be restored. No key is refused for it, and what cannot be looked at is passed by.
pub fn warn_of(root: pg_sys::Oid) {
    // There a look at rows is in the way of all who write them.
    if xact::is_serializable() {
        return;
    }
    let family = relation::family(root, pg_sys::NoLock as pg_sys::LOCKMODE);
    // ALTER TABLE may be what seals the first value.
    let whole = family.into_iter().filter(|member| !lock::is_ours_alone(*member));
    let found = whole.take(MEMBERS).find_map(|member| {
        let columns = column::all_sealable(member);
        let is_nobodys = |key| matches!(table::whose(member, key), Ok(Whose::Nobodys));
        let is_lost = |head: &[u8]| peek_key_id(head).is_some_and(is_nobodys);
        let found = look::find(member, &columns, Extent::Sample, is_lost).ok().flatten()?;
        found.key.map(|key| (key, found.column))
    });
    let Some((key, column)) = found else { return };
    report::warning(
        format!(
            "column \"{column}\" of table {} holds values that were sealed under data keys which are not in this database",
            display_name(root)
        ),
        &format!(
            "The new data key does not open them: one is under data key {key}. After a restore bring the keys here, before \
             more is written: the rows of schema envelope, or envelope.import_keyring."
        ),
    );
}
