//! Values under keys that are not in this database: what a restore without the rows of schema envelope leaves. Nothing
//! else tells of it, since all that the catalog has fits together.

use std::collections::HashSet;
use std::ops::ControlFlow;

use envelope::header::{HEADER_LEN, peek_key_id};
use pgrx::pg_sys;

use super::columns::Columns;
use super::values::{FEW, by_table, sample};
use super::{Finding, Severity};
use crate::catalog::{rows, whole};
use crate::error::Result;
use crate::pg::{column, relation};

/// By the first rows of each table: where the keys did not come along, no row has one that is here.
pub fn missing(columns: &Columns) -> Result<Vec<Finding>> {
    let known = whole::key_ids()?;
    let all = columns.relations.iter().copied().zip(columns.numbers.iter().copied());
    let mut findings = Vec::new();
    for (relation, mut wanted) in by_table(all) {
        let (mut count, mut last, mut outcome) = (0, None, Ok(()));
        let read = sample(relation, &wanted.clone(), HEADER_LEN, |seen| {
            if last.replace(seen.row) != Some(seen.row) {
                count += 1;
            }
            match is_missing(&known, seen.head) {
                Ok(true) if wanted.remove(&seen.column) => {
                    findings.push(finding(relation, seen.column));
                }
                Ok(_) => {}
                Err(error) => {
                    outcome = Err(error);
                    return ControlFlow::Break(());
                }
            }
            if wanted.is_empty() || count >= FEW {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        // What cannot be read, the look for plaintext tells.
        drop(read);
        outcome?;
    }
    Ok(findings)
}

/// Whether the key is nowhere. One that is not among those that were known when this began may have been made since, with
/// the value: the catalog has it by the time that the value is seen.
fn is_missing(known: &HashSet<[u8; 16]>, head: &[u8]) -> Result<bool> {
    match peek_key_id(head) {
        Some(key_id) if !known.contains(&key_id.0) => Ok(rows::data_key(key_id)?.is_none()),
        _ => Ok(false),
    }
}

fn finding(relation: pg_sys::Oid, number: i16) -> Finding {
    let quoted = column::quoted_name(relation, number).unwrap_or_default();
    Finding {
        table: relation::display_name(relation),
        column: column::name(relation, number),
        severity: Severity::Error,
        sqlstate: "42704".into(),
        message: format!(
            "values in column {quoted} are under a key that is not in this database, and do not open"
        ),
        remedy: "Restore the rows of schema envelope as well, or bring the keys with envelope.export_keyring and \
                 envelope.import_keyring."
            .into(),
    }
}
