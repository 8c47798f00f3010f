//! Policies whose type was dropped.

use std::collections::HashSet;

use pgrx::pg_sys;

use super::columns::Columns;
use super::{Finding, Severity};
use crate::catalog::rows;
use crate::error::{PolicyError, Result, literal};
use crate::pg::column::base_type;
use crate::pg::{encoding, relation};

/// Nothing is sealed by them, and nothing opens as their type.
pub fn gone(columns: &Columns) -> Result<Vec<Finding>> {
    let relations: HashSet<pg_sys::Oid> = columns.relations.iter().copied().collect();
    let mut findings = Vec::new();
    for relation in relations {
        for policy in rows::policies(relation)? {
            let kind = policy.value_type;
            if kind == pg_sys::InvalidOid || base_type(kind).is_some() {
                continue;
            }
            let (table, column) = (
                relation::display_name(relation),
                encoding::to_string(policy.column_name.to_bytes()),
            );
            let message =
                PolicyError::TypeGone { column: column.clone(), table: table.clone() }.to_string();
            findings.push(Finding {
                remedy: format!(
                    "Make the type anew, and name it: SELECT envelope.set_policy({}, {}, value_type => ...), and all \
                     else that the policy says (envelope.policies).",
                    literal(&table),
                    literal(&column)
                ),
                table,
                column: Some(column),
                severity: Severity::Error,
                sqlstate: "42704".into(),
                message,
            });
        }
    }
    Ok(findings)
}
