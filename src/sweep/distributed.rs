//! Tables whose rows stand on other nodes. Nothing is gone through from here: whoever asks is told the statement that does it
//! on the placements of the shards.

use std::ffi::CStr;

use pgrx::pg_sys;

use crate::catalog::citus;
use crate::catalog::write::reencryption::Work;
use crate::error::{Error, Result, literal};
use crate::keyring::table::Table;
use crate::pg::encoding;
use crate::pg::relation::display_name;
use crate::sweep::indexing;

/// The error of `work` on `column` of the distributed table `whole`, or of `table`, which is it or a partition of it.
pub fn refused(work: Work, table: &Table, whole: pg_sys::Oid, column: &CStr) -> Error {
    let name = |name: &CStr| as_argument(&encoding::to_string(name.to_bytes()));
    let index = (work == Work::Index).then(|| indexing::index_in(table, column).ok()).flatten();
    let call = match (work, index) {
        (Work::Reencrypt, _) => format!("CALL envelope.reencrypt(%L, {})", name(column)),
        (Work::Seal, _) => format!("CALL envelope.seal_column(%L, {})", name(column)),
        (Work::Index, index) => {
            let values = index.map_or(column, |index| &index.column_name);
            format!("CALL envelope.build_index(%L, {}, {})", name(values), name(column))
        }
    };
    Error::Distributed { table: display_name(whole), call }
}

/// An error when `relation` is distributed: nothing of its `column` could be verified here.
pub fn require_here(relation: pg_sys::Oid, column: &CStr) -> Result<()> {
    if !citus::is_distributed(relation)? {
        return Ok(());
    }
    let column = as_argument(&encoding::to_string(column.to_bytes()));
    let call = format!("SELECT count(*) FROM envelope.verify(%L, {column})");
    Err(Error::Distributed { table: display_name(relation), call })
}

/// In a statement that is a format.
fn as_argument(name: &str) -> String {
    literal(name).replace('%', "%%")
}
