//! What `CALL envelope.seal_column` is built of.

use std::ffi::{CStr, CString};

use envelope::header::peek_key_id;
use pgrx::datum::IntoDatum;
use pgrx::iter::TableIterator;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{name, pg_extern, pg_sys};

use crate::error::{Error, Result};
use crate::keyring::{self, table};
use crate::pg::call::{self, Arguments, row_function};
use crate::pg::encoding::{self, RowText};
use crate::pg::quote::Sql;
use crate::pg::varlena::{Varlena, VarlenaBuf};
use crate::sql::arguments::{LONGEST_CONTEXT, required};
use crate::sql::begin;
use crate::sql::sweep::{place, reading};
use crate::sql::values::utf8;
use crate::sweep::sealing::Cell;
use crate::sweep::{faults::Fault, source};
use crate::values::{self, Contexts, Plain};

// The arguments of all are: relation, a value, context, former_context, column_name, and the row's ctid; of some, a
// value of any type behind them, the source.
row_function!(envelope_is_unsealed_wrapper, |fcinfo| with_cell(fcinfo, |cell, arguments| {
    // SAFETY: declared bytea.
    let Some(value) = (unsafe { arguments.survived_varlena(1) }) else { return Ok(None) };
    Ok(cell.is_unsealed(value)?.into_datum())
}));

row_function!(envelope_sealed_in_place_wrapper, |fcinfo| with_cell(fcinfo, |cell, arguments| {
    let read = reading(fcinfo, || {
        // SAFETY: declared bytea.
        let Some(value) = (unsafe { arguments.varlena(1) }) else { return Ok(None) };
        let key_id = peek_key_id(&value);
        let sealed = cell.sealed(value).map_err(|error| error.at(place(fcinfo, 4, key_id)))?;
        // SAFETY: as above.
        let kept = || unsafe { arguments.varlena(1) }.map(|value| VarlenaBuf::copy_of(&value));
        Ok(sealed.or_else(kept).map(VarlenaBuf::into_datum))
    });
    read.unwrap_or_else(|damage| Err(Error::from(damage).at(place(fcinfo, 4, None))))
}));

row_function!(envelope_sealed_from_source_wrapper, |fcinfo| with_cell(
    fcinfo,
    |cell, arguments| {
        let at = |error: Error| error.at(place(fcinfo, 4, None));
        let Some(plain) = source_of(fcinfo, cell, arguments).map_err(at)? else { return Ok(None) };
        // SAFETY: the call's own information.
        let kind = unsafe { call::type_of_argument(fcinfo, 6) };
        Ok(Some(cell.sealed_from(&plain, kind).map_err(at)?.into_datum()))
    }
));

// An error where they are not; without a place, false.
row_function!(envelope_is_as_source_wrapper, |fcinfo| with_cell(fcinfo, |cell, arguments| {
    // SAFETY: declared bytea.
    let Some(value) = (unsafe { arguments.survived_varlena(1) }) else {
        return Ok(true.into_datum());
    };
    let plain = source_of(fcinfo, cell, arguments)?;
    let fault = cell.fault(value, plain.as_ref())?;
    // SAFETY: declared tid.
    let is_told = unsafe { arguments.tid(5) }.is_some();
    match fault {
        Some(Fault { key_id, error, .. }) if is_told => Err(error.at(place(fcinfo, 4, key_id))),
        fault => Ok(fault.is_none().into_datum()),
    }
}));

pub(super) fn with_cell(
    fcinfo: pg_sys::FunctionCallInfo,
    work: impl FnOnce(Cell<'_>, Arguments<'_>) -> Result<Option<pg_sys::Datum>>,
) -> Result<Option<pg_sys::Datum>> {
    begin(fcinfo);
    // SAFETY: the call's own information; declared (oid, bytea, text, text, name, ...).
    let (arguments, relation, now, former, column) = unsafe {
        let arguments = Arguments::of(fcinfo);
        let (now, former) = (arguments.varlena(2), arguments.varlena(3));
        (arguments, arguments.oid(0), now, former, arguments.name(4))
    };
    let relation = required(relation, "relation")?;
    let column = required(column, "column_name")?;
    let now = required(now, "context")?;
    if now.len().max(former.as_ref().map_or(0, |former| former.len())) > LONGEST_CONTEXT {
        return Err(Error::ContextTooLong);
    }
    let now = utf8(&now)?;
    let former = former.as_deref().map(utf8).transpose()?;
    let contexts = Contexts { now: &now, former: former.as_deref() };
    work(Cell { relation, column, contexts }, arguments)
}

/// What is sealed for the seventh argument, a value of any type; `None` for NULL.
fn source_of<'a>(
    fcinfo: pg_sys::FunctionCallInfo,
    cell: Cell<'_>,
    arguments: Arguments<'a>,
) -> Result<Option<Plain<'a>>> {
    let Some(datum) = arguments.datum(6) else { return Ok(None) };
    // SAFETY: the call's own information.
    let kind = unsafe { call::type_of_argument(fcinfo, 6) };
    let table = table::get(cell.relation)?;
    let policy = table.policy(cell.column);
    let modifier =
        policy.filter(|policy| policy.value_type == kind).map_or(-1, |it| it.value_typmod);
    // SAFETY: a value of the type that the argument was resolved to.
    unsafe { values::of_type(policy, kind, modifier, datum) }.map(Some)
}

#[pg_extern(sql = false)]
fn envelope_sweep_contexts(
    relation: Option<pg_sys::Oid>,
    column_name: Option<&CStr>,
) -> std::result::Result<
    TableIterator<'static, (name!(context, RowText), name!(former_context, Option<RowText>))>,
    ErrorReport,
> {
    keyring::begin_statement(None);
    let relation = required(relation, "relation")?;
    let (now, former) = source::contexts(relation, required(column_name, "column_name")?)?;
    Ok(TableIterator::once((text(&now), former.as_ref().map(text))))
}

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity, reason = "pgrx takes the columns from the signature")]
fn envelope_seal_source(
    relation: Option<pg_sys::Oid>,
    column_name: Option<&CStr>,
    given: Option<Varlena<'_>>,
) -> std::result::Result<
    TableIterator<
        'static,
        (
            name!(expression, RowText),
            name!(emptied, Option<RowText>),
            name!(source_column, Option<RowText>),
        ),
    >,
    ErrorReport,
> {
    keyring::begin_statement(None);
    let relation = required(relation, "relation")?;
    let given = given.map(|given| CString::new(&*given)).transpose();
    let given = given.map_err(|_| Error::BadArgument("source must be SQL".into()))?;
    let from = source::of(relation, required(column_name, "column_name")?, given.as_deref())?;
    Ok(TableIterator::new(from.into_iter().map(|from| {
        let emptied = from.emptied.map(|name| text(&Sql::new("").name(&name)));
        let column = from.column.map(|name| RowText(encoding::to_string(name.to_bytes())));
        (text(&from.expression), emptied, column)
    })))
}

fn text(sql: &Sql) -> RowText {
    RowText(encoding::to_string(sql.as_bytes()))
}
