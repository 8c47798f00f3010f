//! What is wrong with the protection of columns.

use pgrx::iter::TableIterator;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{name, pg_extern, pg_sys};

use crate::adopt;
use crate::keyring;
use crate::pg::encoding::{RowName, RowText};

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity, reason = "pgrx takes the columns from the signature")]
fn envelope_lint(
    relation: Option<pg_sys::Oid>,
) -> std::result::Result<
    TableIterator<
        'static,
        (
            name!(relation, RowText),
            name!(column_name, Option<RowName>),
            name!(severity, &'static str),
            name!(sqlstate, String),
            name!(message, RowText),
            name!(remedy, RowText),
        ),
    >,
    ErrorReport,
> {
    keyring::begin_statement(None);
    Ok(TableIterator::new(adopt::lint(relation)?.into_iter().map(|finding| {
        (
            RowText(finding.table),
            finding.column.map(RowName),
            finding.severity.name(),
            finding.sqlstate,
            RowText(finding.message),
            RowText(finding.remedy),
        )
    })))
}
