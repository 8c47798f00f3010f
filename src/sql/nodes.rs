//! Keyrings of many nodes.

use pgrx::iter::TableIterator;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{name, pg_extern, pg_sys};

use crate::custody::{self, Step};
use crate::error::Result;
use crate::nodes::{self, Row, Wish};
use crate::pg::array::{NameArray, RelationArray};
use crate::pg::encoding::RowText;
use crate::pg::varlena::Varlena;
use crate::sql::arguments::{bounded_text, required, server_names};
use crate::sql::begin;

type Answer<T> = std::result::Result<T, ErrorReport>;

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity, reason = "pgrx takes the columns from the signature")]
fn envelope_sync_keyrings(
    servers: Option<NameArray>,
    dry_run: Option<bool>,
    relations: Option<RelationArray>,
    grants: Option<bool>,
    activate: Option<bool>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> std::result::Result<
    TableIterator<
        'static,
        (
            name!(node, Option<RowText>),
            name!(relation, Option<RowText>),
            name!(step, RowText),
            name!(ok, bool),
            name!(sqlstate, Option<RowText>),
            name!(message, RowText),
        ),
    >,
    ErrorReport,
> {
    begin(fcinfo);
    let relations = relations.map(|RelationArray(relations)| {
        relations.into_iter().map(|one| required(one, "relations")).collect::<Result<_>>()
    });
    let wish = Wish {
        servers: servers.map(server_names).transpose()?,
        dry_run: required(dry_run, "dry_run")?,
        relations: relations.transpose()?,
        grants: required(grants, "grants")?,
        activate: required(activate, "activate")?,
    };
    let rows = nodes::sync(&wish)?;
    Ok(TableIterator::new(rows.into_iter().map(|Row { node, relation, step }| {
        let Step { step, ok, sqlstate, message } = step;
        let (node, relation) = (node.map(RowText), relation.map(RowText));
        (node, relation, RowText(step), ok, sqlstate.map(RowText), RowText(message))
    })))
}

#[pg_extern(sql = false)]
fn envelope_take_keyrings(
    batch: Option<Varlena<'_>>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> Answer<String> {
    begin(fcinfo);
    let longest = custody::longest_batch();
    let batch = bounded_text(&required(batch, "batch")?, "batch", longest)?;
    Ok(custody::take(&batch)?)
}
