//! Whether keys can be had, whether the catalog hangs together, and whether other nodes agree.

use std::ffi::CString;

use pgrx::datum::Uuid;
use pgrx::iter::TableIterator;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{name, pg_extern};

use crate::adopt::{self, Finding, Outcome};
use crate::error::Result;
use crate::keyring;
use crate::pg::array::NameArray;
use crate::pg::encoding::RowText;
use crate::sql::arguments::{required, server_names};

/// A row of `envelope.check`.
pub(super) type Row = (
    Option<RowText>,
    Option<Uuid>,
    Option<Uuid>,
    Option<String>,
    bool,
    Option<String>,
    Option<RowText>,
);

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity, reason = "pgrx takes the columns from the signature")]
fn envelope_check_nodes(
    nodes: Option<bool>,
    servers: Option<NameArray>,
) -> std::result::Result<
    TableIterator<
        'static,
        (
            name!(relation, Option<RowText>),
            name!(keyring_id, Option<Uuid>),
            name!(key_id, Option<Uuid>),
            name!(kek, Option<String>),
            name!(ok, bool),
            name!(sqlstate, Option<String>),
            name!(message, Option<RowText>),
        ),
    >,
    ErrorReport,
> {
    let servers = servers.map(server_names).transpose()?;
    let asks = required(nodes, "nodes")? || servers.is_some();
    Ok(TableIterator::new(rows(asks.then_some(servers.as_deref()))?))
}

/// `others`: ask other nodes, the servers of those names or, without names, those of Citus.
pub(super) fn rows(others: Option<Option<&[CString]>>) -> Result<Vec<Row>> {
    keyring::begin_statement(None);
    let row = |finding: Finding| {
        let (ok, sqlstate, message) = match finding.outcome {
            Outcome::Well => (true, None, None),
            Outcome::Note(note) => (true, None, Some(RowText(note))),
            Outcome::Broken(error) => {
                (false, Some(error.sqlstate_text()), Some(RowText(error.to_string())))
            }
            Outcome::Told { sqlstate, message } => (false, Some(sqlstate), Some(RowText(message))),
        };
        (
            finding.table.map(RowText),
            finding.keyring_id.map(|id| Uuid::from_bytes(*id.as_bytes())),
            finding.key_id.map(|id| Uuid::from_bytes(id.0)),
            finding.kek,
            ok,
            sqlstate,
            message,
        )
    };
    Ok(adopt::check_all(others)?.into_iter().map(row).collect())
}
