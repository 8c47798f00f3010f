//! What is said of the protection of columns, a row a finding: `envelope.lint()`.
//!
//! Each class of findings is one query over PostgreSQL's catalog, whatever the number of tables. The columns that
//! are, or should be, protected are found once and handed to all of them.

mod beside;
mod checks;
mod columns;
mod disk;
mod indexes;
mod keys;
mod loading;
mod policies;
mod relatives;
mod terms;
mod traces;
mod triggers;
mod types;
mod uses;
mod values;

use pgrx::pg_sys;

use self::columns::Columns;
use crate::catalog::tables::Said;
use crate::error::{Error, Result};
use crate::keyring::table;
use crate::pg::acl;
use crate::settings;

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Plaintext is stored, or will be; or values are lost.
    Error,
    /// It holds, but by luck or not for long.
    Warning,
    /// Good to know.
    Notice,
}

/// One thing that is not as it should be.
pub struct Finding {
    /// `schema.table`, quoted as SQL would.
    pub table: String,
    pub column: Option<String>,
    pub severity: Severity,
    pub sqlstate: String,
    /// Never holds a value.
    pub message: String,
    /// The statement that mends it, or a sentence where none can.
    pub remedy: String,
}

/// Whose tables are looked at.
#[derive(Clone, Copy)]
struct Scope {
    role: pg_sys::Oid,
    /// This one, with its partitions and heirs; 0: all that are the role's own, or all for members of pg_monitor.
    top: pg_sys::Oid,
    /// Whether to leave out what only members of pg_monitor see.
    only_own: bool,
}

/// All that is found of `relation`, its partitions and heirs, or of all tables that the current role may look at.
pub fn lint(relation: Option<pg_sys::Oid>) -> Result<Vec<Finding>> {
    settings::check_unplanted()?;
    let role = acl::current_role();
    if let Some(relation) = relation {
        require_table(relation, role)?;
    }
    let top = relation.unwrap_or(pg_sys::InvalidOid);
    let columns = Columns::of(Scope { role, top, only_own: false })?;
    let mut findings = values::in_clear(&columns)?;
    findings.extend(keys::missing(&columns)?);
    findings.extend(types::gone(&columns)?);
    findings.extend(indexes::findings(&columns)?);
    findings.extend(terms::missing(&columns)?);
    for sql in ERRORS.into_iter().chain(OTHERS).flatten() {
        findings.extend(columns.ask(sql)?);
    }
    findings.extend(disk::statistics(&columns)?);
    findings.extend(loading::findings(&columns)?);
    findings.extend(values::unexpected(&columns)?);
    findings.extend(values::left_by_dropped(&columns)?);
    sort(&mut findings);
    Ok(findings)
}

/// The errors alone, of the current role's own tables, and of all for superusers; but those that `envelope.check()`
/// finds by itself.
pub fn errors_of_own() -> Result<Vec<Finding>> {
    let scope = Scope { role: acl::current_role(), top: pg_sys::InvalidOid, only_own: true };
    let columns = Columns::of(scope)?;
    let mut findings = values::in_clear(&columns)?;
    findings.extend(keys::missing(&columns)?);
    findings.extend(types::gone(&columns)?);
    findings.extend(indexes::findings(&columns)?);
    findings.extend(terms::missing(&columns)?);
    for sql in ERRORS.into_iter().flatten() {
        findings.extend(columns.ask(sql)?);
    }
    findings.retain(|finding| finding.severity == Severity::Error);
    sort(&mut findings);
    Ok(findings)
}

/// Queries that find errors, and perhaps more.
const ERRORS: [&[&str]; 5] =
    [policies::ERRORS, triggers::ERRORS, beside::ERRORS, checks::ERRORS, uses::ERRORS];

/// Queries that find none that `envelope.check()` does not find by itself.
const OTHERS: [&[&str]; 5] =
    [policies::OTHERS, beside::OTHERS, checks::OTHERS, uses::OTHERS, relatives::OTHERS];

fn sort(findings: &mut [Finding]) {
    findings.sort_by(|one, other| {
        let key =
            |of: &Finding| (of.table.clone(), of.severity, of.column.clone(), of.sqlstate.clone());
        key(one).cmp(&key(other))
    });
}

/// An error unless `relation` is a table whose keys the role may manage, or it may look at all.
fn require_table(relation: pg_sys::Oid, role: pg_sys::Oid) -> Result<()> {
    let table = table::get(relation)?;
    table::gone(relation).map_or(Ok(()), Err)?;
    if acl::may_monitor(role) { Ok(()) } else { table.require_manage_right() }
}

impl TryFrom<Said> for Finding {
    type Error = Error;

    fn try_from(said: Said) -> Result<Finding> {
        let severity = match said.severity.as_str() {
            "error" => Severity::Error,
            "warning" => Severity::Warning,
            _ => Severity::Notice,
        };
        let Said { table, column, sqlstate, message, remedy, .. } = said;
        let column = (!column.is_empty()).then_some(column);
        Ok(Finding { table, column, severity, sqlstate, message, remedy })
    }
}

impl Severity {
    /// As rows show it.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Notice => "notice",
        }
    }
}
