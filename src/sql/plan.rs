//! Protecting a column: the steps printed, the same done at once, and the way back.

use std::ffi::CStr;

use pgrx::iter::TableIterator;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{name, pg_extern, pg_sys};

use crate::adopt::plan::{self, Asked, OfColumn};
use crate::error::{Error, Result};
use crate::pg::array::NameArray;
use crate::pg::encoding::{RowText, text};
use crate::pg::json::Jsonb;
use crate::pg::varlena::Varlena;
use crate::sql::arguments::{LONGEST_JSONB, bounded_text, required, too_long};
use crate::sql::begin;

/// Bytes of a form, a tag or a mask: more than any has.
const LONGEST_WORD: usize = 4096;

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity, reason = "pgrx takes the columns from the signature")]
fn envelope_plan(
    relation: Option<pg_sys::Oid>,
    columns: Option<NameArray>,
    options: Option<Jsonb>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> std::result::Result<
    TableIterator<
        'static,
        (
            name!(step, i32),
            name!(sql, Option<RowText>),
            name!(lock, RowText),
            name!(remark, RowText),
        ),
    >,
    ErrorReport,
> {
    begin(fcinfo);
    let relation = required(relation, "relation")?;
    let columns = names(required(columns, "columns")?, "columns")?;
    let options = required(options, "options")?;
    let options = options.text(LONGEST_JSONB).ok_or_else(|| too_long("options", LONGEST_JSONB))?;
    let steps = plan::plan(relation, &columns, &options)?;
    Ok(TableIterator::new((1..).zip(steps).map(|(number, step)| {
        (number, step.sql.map(RowText), RowText(step.lock.into_owned()), RowText(step.remark))
    })))
}

#[pg_extern(sql = false)]
#[allow(clippy::too_many_arguments, reason = "as many as SQL sees")]
fn envelope_protect(
    relation: Option<pg_sys::Oid>,
    column_name: Option<&CStr>,
    value_type: Option<pg_sys::Oid>,
    form: Option<Varlena<'_>>,
    source: Option<&CStr>,
    tag: Option<Varlena<'_>>,
    bind: Option<NameArray>,
    block: Option<i32>,
    mask: Option<Varlena<'_>>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> std::result::Result<(), ErrorReport> {
    begin(fcinfo);
    let asked = Asked {
        column: text(required(column_name, "column_name")?),
        value_type,
        source: source.map(text),
        of: OfColumn {
            form: Some(bounded_text(&required(form, "form")?, "form", LONGEST_WORD)?),
            tag: tag.map(|tag| bounded_text(&tag, "tag", LONGEST_WORD)).transpose()?,
            bind: Some(names(required(bind, "bind")?, "bind")?),
            block,
            mask: mask.map(|mask| bounded_text(&mask, "mask", LONGEST_WORD)).transpose()?,
            ..OfColumn::default()
        },
    };
    Ok(plan::protect(required(relation, "relation")?, asked)?)
}

#[pg_extern(sql = false)]
fn envelope_unprotect(
    relation: Option<pg_sys::Oid>,
    column_name: Option<&CStr>,
    to_type: Option<pg_sys::Oid>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> std::result::Result<(), ErrorReport> {
    begin(fcinfo);
    let relation = required(relation, "relation")?;
    Ok(plan::unprotect(relation, &text(required(column_name, "column_name")?), to_type)?)
}

fn names(names: NameArray, what: &'static str) -> Result<Vec<String>> {
    match names {
        NameArray::TooLong => Err(Error::BadArgument(format!("{what} is too long"))),
        NameArray::Elements(names) => {
            names.into_iter().map(|name| Ok(text(&required(name, what)?))).collect()
        }
    }
}
