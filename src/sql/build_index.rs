//! What `CALL envelope.build_index` is built of.

use std::ffi::CStr;

use envelope::header::peek_key_id;
use pgrx::datum::IntoDatum;
use pgrx::iter::SetOfIterator;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{pg_extern, pg_sys};

use crate::error::{Error, Result};
use crate::keyring;
use crate::pg::call::{self, Arguments, row_function};
use crate::sql::arguments::required;
use crate::sql::seal_column::with_cell;
use crate::sql::sweep::place;
use crate::sweep::indexing::{self, GivenTerms, IndexCell};
use crate::sweep::looking;

// The arguments of all are: relation, a value, context, former_context, column_name, the row's ctid, index_column, and
// what stands there, or a value of its type.
row_function!(envelope_is_unindexed_wrapper, |fcinfo| with_index_cell(
    fcinfo,
    |cell, arguments| {
        // SAFETY: declared bytea.
        let value = unsafe { arguments.survived_varlena(1) };
        Ok(cell.is_left(value, given_terms(fcinfo, arguments, 7))?.into_datum())
    }
));

row_function!(envelope_is_unindexable_wrapper, |fcinfo| with_index_cell(
    fcinfo,
    |cell, arguments| {
        // SAFETY: declared bytea.
        let value = unsafe { arguments.survived_varlena(1) };
        Ok(cell.is_damaged(value)?.into_datum())
    }
));

row_function!(envelope_indexed_wrapper, |fcinfo| with_index_cell(fcinfo, |cell, arguments| {
    // SAFETY: declared bytea.
    let Some(value) = (unsafe { arguments.survived_varlena(1) }) else { return Ok(None) };
    // SAFETY: the call's own information.
    let kind = unsafe { call::type_of_argument(fcinfo, 7) };
    let key_id = value.as_ref().ok().and_then(|value| peek_key_id(value));
    cell.terms(value, kind).map_err(|error| error.at(place(fcinfo, 4, key_id)))
}));

/// The argument at `at`, which is declared with any type.
pub(super) fn given_terms(
    fcinfo: pg_sys::FunctionCallInfo,
    arguments: Arguments<'_>,
    at: usize,
) -> Option<GivenTerms> {
    // SAFETY: the call's own information.
    let kind = unsafe { call::type_of_argument(fcinfo, at as i32) };
    arguments.datum(at).map(|datum| GivenTerms { datum, kind })
}

fn with_index_cell(
    fcinfo: pg_sys::FunctionCallInfo,
    work: impl FnOnce(IndexCell<'_>, Arguments<'_>) -> Result<Option<pg_sys::Datum>>,
) -> Result<Option<pg_sys::Datum>> {
    with_cell(fcinfo, |cell, arguments| {
        // SAFETY: declared name.
        let index_column = required(unsafe { arguments.name(6) }, "index_column")?;
        work(IndexCell { cell, index_column }, arguments)
    })
}

#[pg_extern(sql = false)]
fn envelope_index_goal(
    relation: Option<pg_sys::Oid>,
    column_name: Option<&CStr>,
    index_column: Option<&CStr>,
    quiet: Option<bool>,
) -> std::result::Result<String, ErrorReport> {
    keyring::begin_statement(None);
    Ok(indexing::goal(
        required(relation, "relation")?,
        required(column_name, "column_name")?,
        required(index_column, "index_column")?,
        required(quiet, "quiet")?,
    )?)
}

#[pg_extern(sql = false)]
fn envelope_index_left(
    relations: Option<Vec<Option<pg_sys::Oid>>>,
    index_column: Option<&CStr>,
    skips: Option<bool>,
) -> std::result::Result<SetOfIterator<'static, pg_sys::Oid>, ErrorReport> {
    keyring::begin_statement(None);
    let relations = required(relations, "relations")?.into_iter();
    let relations = relations.map(|relation| required(relation, "relation"));
    let left = looking::index_left(
        relations.collect::<Result<_>>()?,
        required(index_column, "index_column")?,
        required(skips, "skips")?,
    )?;
    Ok(SetOfIterator::new(left))
}

#[pg_extern(sql = false)]
fn envelope_index_left_on_nodes(
    relation: Option<pg_sys::Oid>,
    index_column: Option<&CStr>,
) -> std::result::Result<bool, ErrorReport> {
    keyring::begin_statement(None);
    Ok(looking::left_on_nodes(
        required(relation, "relation")?,
        required(index_column, "index_column")?,
    )?)
}

#[pg_extern(sql = false)]
fn envelope_lock_shard(relation: Option<pg_sys::Oid>) -> std::result::Result<bool, ErrorReport> {
    keyring::begin_statement(None);
    Ok(looking::lock_shard(required(relation, "relation")?)?)
}

#[pg_extern(sql = false)]
fn envelope_writers_ended(relation: Option<pg_sys::Oid>) -> std::result::Result<(), ErrorReport> {
    Ok(looking::writers_ended(required(relation, "relation")?)?)
}

#[pg_extern(sql = false)]
fn envelope_index_built(
    relation: Option<pg_sys::Oid>,
    index_column: Option<&CStr>,
    goal: Option<&str>,
) -> std::result::Result<bool, ErrorReport> {
    keyring::begin_statement(None);
    Ok::<_, Error>(indexing::built(
        required(relation, "relation")?,
        required(index_column, "index_column")?,
        required(goal, "goal")?,
    )?)
    .map_err(ErrorReport::from)
}
