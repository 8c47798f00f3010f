//! Terms under index keys that are not in this database: rows that came without them, by replication for one. Questions
//! ask for the terms of keys that are here, and find no such row, without an error.

use std::ops::ControlFlow;

use envelope::header::KeyId;

use super::columns::Columns;
use super::values::{FEW, by_table, sample};
use super::{Finding, Severity};
use crate::catalog::rows::{self, IndexRow, Purpose};
use crate::catalog::shards;
use crate::census::terms;
use crate::error::Result;
use crate::pg::{attribute, column, encoding, relation};

/// By some rows of each table.
pub fn missing(columns: &Columns) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let all = columns.relations.iter().copied().zip(columns.numbers.iter().copied());
    for (table, _) in by_table(all) {
        for index in rows::nearest_indexes(table)? {
            let Some(number) = attribute::number(table, &index.index_column) else { continue };
            let Some(known) = keys_of(&index)? else { continue };
            let (mut count, mut is_missing) = (0, false);
            // What cannot be read, the look for plaintext tells of values, and verify of terms.
            drop(sample(table, &[number].into(), terms::ALL_BYTES, |seen| {
                count += 1;
                is_missing = !terms::is_under_any(&index, seen.head, &known);
                if is_missing || count >= FEW {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            }));
            if is_missing {
                let quoted = column::quoted_name(table, number).unwrap_or_default();
                findings.push(finding(relation::display_name(table), &index, &quoted));
            }
        }
    }
    Ok(findings)
}

/// All that have made its terms here, also those that make none any more; `None` where that cannot be told.
fn keys_of(index: &IndexRow) -> Result<Option<Vec<KeyId>>> {
    let Ok(owner) = index.keys_table() else { return Ok(None) };
    let Some(keyring) = rows::sealing_keyring(shards::root(owner)?)? else {
        return Ok(None);
    };
    let keys = rows::data_keys(keyring)?.into_iter();
    Ok(Some(keys.filter(|key| key.purpose == Purpose::Index).map(|key| key.key_id).collect()))
}

fn finding(table: String, index: &IndexRow, quoted: &str) -> Finding {
    Finding {
        table,
        column: Some(encoding::text(&index.column_name)),
        severity: Severity::Error,
        sqlstate: "42704".into(),
        message: format!(
            "column {quoted} holds terms under an index key that is not in this database: questions do not find their rows"
        ),
        remedy: "Bring the index key, with envelope.export_keyring and envelope.import_keyring, or by the publication that \
                 brings the rows. If somebody else wrote to the column: CALL envelope.build_index."
            .into(),
    }
}
