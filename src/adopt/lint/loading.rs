//! What would make a restore lose rows, and what stores in clear what it opens: as `envelope.check()` has it, with the
//! statement that mends it.

use std::collections::HashSet;

use pgrx::pg_sys;

use super::columns::Columns;
use super::{Finding, Severity};
use crate::catalog::loading::{self, Kind, Needing};
use crate::error::Result;
use crate::pg::acl;

/// A finding for each, of the tables in the scope; of domains, too, unless it is about one table.
pub fn findings(columns: &Columns) -> Result<Vec<Finding>> {
    let scope = columns.scope;
    let sees_all = acl::may_monitor(scope.role);
    let mut needing = loading::needing_keys()?;
    if scope.top == pg_sys::InvalidOid {
        needing.retain(|one| sees_all || acl::has_rights_of(scope.role, one.owner));
    } else {
        let below = columns
            .query(", f (oid) AS (SELECT oid FROM visible) SELECT oid FROM f", |row| {
                row.get::<pg_sys::Oid>(1)
            })?;
        let below: HashSet<pg_sys::Oid> = below.into_iter().flatten().collect();
        needing.retain(|one| below.contains(&one.relation));
    }
    Ok(needing.into_iter().map(finding).collect())
}

fn finding(needing: Needing) -> Finding {
    let Needing { kind, name, of, in_clear, remedy, .. } = needing;
    let to_load = "needs data keys while a restore loads rows, and the keys may be loaded later";
    let clear = "stores opened values in clear, with what ANALYZE samples of them";
    let (severity, message) = match kind {
        Kind::Check | Kind::DomainCheck => {
            (Severity::Error, format!("CHECK constraint {name} {to_load}"))
        }
        Kind::Generated if in_clear => (
            Severity::Error,
            format!("generated column {name} stores opened values in clear, and {to_load}"),
        ),
        Kind::Generated => (Severity::Error, format!("generated column {name} {to_load}")),
        Kind::PartitionKey => (Severity::Error, format!("the partition key {to_load}")),
        Kind::Index if in_clear => (Severity::Error, format!("index {name} {clear}")),
        Kind::Statistics => (Severity::Error, format!("statistics object {name} {clear}")),
        Kind::MaterializedView => (Severity::Error, format!("the materialized view {clear}")),
        Kind::Index => (
            Severity::Notice,
            format!(
                "index {name} needs data keys to be built, before which a restore may come to it"
            ),
        ),
    };
    let remedy = if remedy.is_empty() {
        "Restore the keys before the rows, as the page on backups says.".into()
    } else {
        remedy
    };
    let sqlstate = "55000".into();
    Finding { table: of, column: None, severity, sqlstate, message, remedy }
}
