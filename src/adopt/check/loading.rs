//! What would make a restore lose rows: expressions that need a data key while rows are loaded, which may
//! be before the keys are. And what stores in clear what it opens.

use super::{Finding, Outcome, of_own};
use crate::catalog::loading::{self, Kind, Needing};
use crate::error::Error;

/// A finding for each, of those tables and domains that the current role owns, of all for superusers.
pub fn findings() -> Vec<Finding> {
    of_own(loading::needing_keys(), |needing| needing.owner, finding)
}

fn finding(needing: Needing) -> Finding {
    let Needing { kind, name, of, in_clear, .. } = needing;
    let lost = |what: String, remedy| Outcome::Broken(Error::NeedsKeyToLoad { what, remedy });
    let keys_first = "restore the keys before the rows";
    let (table, outcome) = match kind {
        Kind::Check => (
            Some(of.clone()),
            lost(
                format!("CHECK constraint {name} of table {of}"),
                "drop it, add it again NOT VALID, and do not validate it",
            ),
        ),
        Kind::DomainCheck => (
            None,
            lost(
                format!("CHECK constraint {name} of domain {of}"),
                "drop it, add it again NOT VALID, and do not validate it",
            ),
        ),
        Kind::Generated => {
            let clear = if in_clear { ", which stores opened values in clear," } else { "" };
            let what = format!("generated column {name} of table {of}{clear}");
            (Some(of.clone()), lost(what, keys_first))
        }
        Kind::PartitionKey => {
            (Some(of.clone()), lost(format!("the partition key of table {of}"), keys_first))
        }
        Kind::Index if in_clear => {
            let what = format!("index {name} of table {of}");
            let beside = ", and needs data keys to be built, before which a restore may come to it";
            (Some(of), Outcome::Broken(Error::StoresClear { what, beside }))
        }
        Kind::Statistics => {
            let what = format!("statistics object {name} of table {of}");
            (Some(of), Outcome::Broken(Error::StoresClear { what, beside: "" }))
        }
        Kind::MaterializedView => {
            let what = format!("materialized view {of}");
            let beside =
                ", and needs data keys to be refreshed, before which a restore may come to it";
            (Some(of), Outcome::Broken(Error::StoresClear { what, beside }))
        }
        Kind::Index => {
            let note = format!(
                "index {name} needs data keys to be built: pg_restore with several jobs may come to it \
                 before they are there"
            );
            (Some(of), Outcome::Note(note))
        }
    };
    Finding { table, outcome, ..Finding::default() }
}
