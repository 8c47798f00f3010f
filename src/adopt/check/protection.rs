//! Columns whose protection has fallen off: the errors of `envelope.lint()`.

use super::{Finding, Outcome};
use crate::adopt::lint;

/// A finding for each, of those tables that the current role owns, of all for superusers.
pub fn findings() -> Vec<Finding> {
    match lint::errors_of_own() {
        Ok(errors) => errors.into_iter().map(finding).collect(),
        Err(error) => vec![Finding { outcome: Outcome::Broken(error), ..Finding::default() }],
    }
}

fn finding(error: lint::Finding) -> Finding {
    let lint::Finding { table, sqlstate, message, remedy, .. } = error;
    let message = format!("{message}: {remedy}");
    Finding {
        table: Some(table),
        outcome: Outcome::Told { sqlstate, message },
        ..Finding::default()
    }
}
