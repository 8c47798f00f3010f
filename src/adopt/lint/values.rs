//! What stands in the rows, by a sample of them: plaintext in columns that should be sealed, sealed values where nobody
//! looks for them, and what dropped columns have left.

use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;

use envelope::header::{HEADER_LEN, peek_key_id};
use pgrx::pg_sys;
use pgrx::spi;

use super::columns::Columns;
use super::{Finding, Severity, traces};
use crate::catalog::whole;
use crate::error::{Error, Place, Result, literal};
use crate::pg::table_scan::{self, Extent, Seen, Unreadable};
use crate::pg::{column, relation};

/// Rows of a table that are looked at for sealed values that nobody expects, when all tables are looked at.
pub(super) const FEW: u64 = 64;

/// Plaintext in protected columns that no CHECK keeps free of it, and in sources.
pub fn in_clear(columns: &Columns) -> Result<Vec<Finding>> {
    let mut of: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (at, relation) in columns.relations.iter().enumerate() {
        of.entry(relation.to_u32()).or_default().push(at);
    }
    let mut findings = Vec::new();
    for places in of.into_values() {
        let relation = columns.relations[places[0]];
        let mut wanted: HashSet<i16> = places
            .iter()
            .filter(|at| !columns.proven[**at])
            .map(|at| columns.numbers[*at])
            .collect();
        let read = sample(relation, &wanted.clone(), HEADER_LEN, |seen| {
            if peek_key_id(seen.head).is_none() && wanted.remove(&seen.column) {
                findings.push(plaintext(relation, seen.column, columns, &places));
            }
            if wanted.is_empty() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        findings.extend(read);
        let mut sources: HashSet<i16> = places
            .iter()
            .filter(|at| columns.sources[**at] != 0 && !columns.mirrored[**at])
            .map(|at| columns.sources[*at])
            .collect();
        let read = sample(relation, &sources.clone(), 0, |seen| {
            if sources.remove(&seen.column) {
                findings.push(left_in_source(relation, seen.column, columns, &places));
            }
            if sources.is_empty() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        findings.extend(read);
    }
    Ok(findings)
}

fn plaintext(relation: pg_sys::Oid, number: i16, columns: &Columns, places: &[usize]) -> Finding {
    let at = places.iter().find(|at| columns.numbers[**at] == number).copied();
    let table = relation::display_name(relation);
    let column = column::quoted_name(relation, number).unwrap_or_default();
    let name = column::name(relation, number);
    Finding {
        severity: Severity::Error,
        sqlstate: "23514".into(),
        message: format!("values in column {column} are not sealed: envelope.census counts them"),
        remedy: if at.is_some_and(|at| columns.is_only_registered(at)) {
            "Seal the values with the keys of the table whose values they are: envelope_encrypt."
                .into()
        } else {
            sealed_in_batches(&table, name.as_deref().unwrap_or_default())
        },
        table,
        column: name,
    }
}

fn sealed_in_batches(table: &str, column: &str) -> String {
    format!("CALL envelope.seal_column({}, {})", literal(table), literal(column))
}

fn left_in_source(
    relation: pg_sys::Oid,
    number: i16,
    columns: &Columns,
    places: &[usize],
) -> Finding {
    let at = places.iter().find(|at| columns.sources[**at] == number).copied();
    let target = at.filter(|at| columns.policies[*at]);
    let target = target.and_then(|at| column::name(relation, columns.numbers[at]));
    let table = relation::display_name(relation);
    let column = column::quoted_name(relation, number).unwrap_or_default();
    Finding {
        severity: Severity::Error,
        sqlstate: "23514".into(),
        message: format!("column {column}, in which plaintext comes in, still holds values"),
        remedy: match target {
            // It knows where the plaintext stands by the policy.
            Some(target) => sealed_in_batches(&table, &target),
            None => format!("UPDATE {table} SET {column} = {column} WHERE {column} IS NOT NULL"),
        },
        table,
        column: column::name(relation, number),
    }
}

/// Values of dropped columns, which rows keep until they are written anew.
pub fn left_by_dropped(columns: &Columns) -> Result<Vec<Finding>> {
    let dropped =
        columns.query(DROPPED, |row| Ok((row.get::<pg_sys::Oid>(1)?, row.get::<i16>(2)?)))?;
    let dropped = dropped.into_iter().filter_map(|(relation, number)| relation.zip(number));
    let mut findings = Vec::new();
    for (relation, numbers) in by_table(dropped) {
        let read = sample(relation, &numbers, 0, |_| {
            let table = relation::display_name(relation);
            findings.push(Finding {
                column: None,
                severity: Severity::Notice,
                sqlstate: "55000".into(),
                message:
                    "rows still hold values of a column that was dropped, in clear if they were so"
                        .into(),
                remedy: format!("VACUUM FULL {table}"),
                table,
            });
            ControlFlow::Break(())
        });
        findings.extend(read);
    }
    Ok(findings)
}

/// Each table with its columns, in the order of OIDs.
pub(super) fn by_table(
    columns: impl Iterator<Item = (pg_sys::Oid, i16)>,
) -> impl Iterator<Item = (pg_sys::Oid, HashSet<i16>)> {
    let mut of: BTreeMap<u32, (pg_sys::Oid, HashSet<i16>)> = BTreeMap::new();
    for (relation, number) in columns {
        of.entry(relation.to_u32()).or_insert((relation, HashSet::new())).1.insert(number);
    }
    of.into_values()
}

const DROPPED: &str = r"
SELECT a.attrelid, a.attnum FROM pg_attribute a
WHERE a.attisdropped AND a.attnum > 0 AND a.attrelid = ANY ($5)";

/// Sealed values in columns that nobody has said anything of.
pub fn unexpected(columns: &Columns) -> Result<Vec<Finding>> {
    let known = whole::key_ids()?;
    if known.is_empty() {
        return Ok(Vec::new());
    }
    let mut of: BTreeMap<u32, (pg_sys::Oid, Vec<Other>)> = BTreeMap::new();
    for other in columns.query(OTHERS, other)? {
        of.entry(other.relation.to_u32()).or_insert((other.relation, Vec::new())).1.push(other);
    }
    let is_about_one = columns.scope.top != pg_sys::InvalidOid;
    let mut findings = Vec::new();
    for (relation, others) in of.into_values() {
        let mut wanted: HashSet<i16> = others.iter().map(|other| other.number).collect();
        let (mut rows, mut last) = (0, None);
        let read = sample(relation, &wanted.clone(), traces::LOOKED_AT, |seen| {
            if last.replace(seen.row) != Some(seen.row) {
                rows += 1;
            }
            if wanted.contains(&seen.column)
                && traces::find(seen.head, |key_id| known.contains(&key_id.0)).is_some()
            {
                wanted.remove(&seen.column);
                let other = others.iter().find(|other| other.number == seen.column);
                findings.extend(other.map(Other::finding));
            }
            if wanted.is_empty() || (!is_about_one && rows >= FEW) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        findings.extend(read);
    }
    Ok(findings)
}

/// A column that is not protected.
struct Other {
    relation: pg_sys::Oid,
    number: i16,
    /// Of a type that holds sealed values as they are.
    is_sealable: bool,
    /// A CHECK refuses plaintext.
    is_guarded: bool,
}

fn other(row: spi::SpiHeapTupleData<'_>) -> spi::Result<Other> {
    Ok(Other {
        relation: row.get(1)?.unwrap_or(pg_sys::InvalidOid),
        number: row.get(2)?.unwrap_or_default(),
        is_sealable: row.get(3)?.unwrap_or_default(),
        is_guarded: row.get(4)?.unwrap_or_default(),
    })
}

impl Other {
    fn finding(&self) -> Finding {
        let table = relation::display_name(self.relation);
        let name = column::name(self.relation, self.number).unwrap_or_default();
        let column = column::quoted_name(self.relation, self.number).unwrap_or_default();
        let (severity, sqlstate, message, remedy) = if self.is_sealable {
            let severity = if self.is_guarded { Severity::Notice } else { Severity::Warning };
            (
                severity,
                "42704",
                format!(
                    "column {column} holds sealed values, and neither a trigger nor the register names it"
                ),
                format!("SELECT envelope.register_column({}, {})", literal(&table), literal(&name)),
            )
        } else {
            (
                Severity::Warning,
                "42804",
                format!("column {column} holds sealed values in a type in which envelope.destroy_key does not find them"),
                "Move them to a column of type bytea, and register that with envelope.register_column.".into(),
            )
        };
        let sqlstate = sqlstate.into();
        Finding { table, column: Some(name), severity, sqlstate, message, remedy }
    }
}

/// Columns of types that may hold them in whatever notation: bytea, text and what is like it, json, arrays of those.
const OTHERS: &str = r", other (relation, attnum, sealable, guarded) AS (
  SELECT a.attrelid, a.attnum, a.atttypid IN (SELECT oid FROM sealable),
         EXISTS (SELECT FROM pg_constraint k
                 JOIN pg_depend d ON d.classid = 'pg_constraint'::regclass AND d.objid = k.oid
                 JOIN member m ON d.refclassid = 'pg_proc'::regclass AND d.refobjid = m.oid AND m.proname = 'is_sealed'
                 WHERE k.conrelid = a.attrelid AND k.contype = 'c' AND a.attnum = ANY (k.conkey))
  FROM visible v JOIN pg_attribute a ON a.attrelid = v.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attlen = -1
  JOIN pg_type t ON t.oid = a.atttypid
  WHERE v.relkind = 'r'
    AND (t.typcategory = 'S' OR t.typname IN ('json', 'jsonb', 'xml', 'hstore')
         OR a.atttypid IN (SELECT oid FROM sealable) OR t.typelem IN (SELECT oid FROM sealable)
         OR t.typcategory = 'A' AND t.typelem IN ('text'::regtype, 'varchar'::regtype))
)
SELECT o.* FROM other o LEFT JOIN unnest($5::oid[], $6::smallint[]) AS c (relation, attnum) USING (relation, attnum)
WHERE c.relation IS NULL";

/// Has `each` see a sample of rows; what cannot be read is a finding of its own.
pub(super) fn sample(
    relation: pg_sys::Oid,
    numbers: &HashSet<i16>,
    count: usize,
    mut each: impl FnMut(&Seen<'_>) -> ControlFlow<()>,
) -> Option<Finding> {
    let mut numbers: Vec<i16> = numbers.iter().copied().collect();
    numbers.sort_unstable();
    let read = table_scan::with_moment(|now| {
        table_scan::read_any(now, relation, &numbers, count, Extent::Sample, &mut each)
    });
    let Unreadable { column, row, damage } = read.err()?;
    let error = Error::from(damage).at(Place::of(relation, column, row));
    Some(Finding {
        table: relation::display_name(relation),
        column: column::name(relation, column),
        severity: Severity::Error,
        sqlstate: error.sqlstate_text(),
        message: format!("a value cannot be read, in the row with ctid {row}"),
        remedy: "Restore the row from a backup.".into(),
    })
}
