//! Search indexes: what of a column's values may be found without opening them.

use std::ffi::CStr;

use pgrx::iter::{SetOfIterator, TableIterator};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{name, pg_extern, pg_sys};

use crate::adopt::index::{self, Wanted};
use crate::error::{Error, Result};
use crate::pg::encoding::{self, RowText};
use crate::pg::json::Jsonb;
use crate::pg::varlena::Varlena;
use crate::sql::arguments::{LONGEST_JSONB, bounded_text, required, too_long};
use crate::sql::begin;

/// Bytes of a kind, a form or a label: more than any has.
const LONGEST_WORD: usize = 1024;

#[pg_extern(sql = false)]
#[allow(clippy::too_many_arguments, reason = "as many as SQL sees")]
fn envelope_add_index(
    relation: Option<pg_sys::Oid>,
    column_name: Option<&CStr>,
    kind: Option<Varlena<'_>>,
    index_column: Option<&CStr>,
    form: Option<Varlena<'_>>,
    options: Option<Jsonb>,
    label: Option<Varlena<'_>>,
    share_label: Option<bool>,
    keys_of: Option<pg_sys::Oid>,
    force: Option<bool>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> std::result::Result<SetOfIterator<'static, RowText>, ErrorReport> {
    begin(fcinfo);
    let word = |word: &[u8], what| bounded_text(word, what, LONGEST_WORD);
    let statements = index::add(&Wanted {
        relation: required(relation, "relation")?,
        column: required(column_name, "column_name")?,
        kind: word(&required(kind, "kind")?, "kind")?,
        index_column,
        form: form.map(|form| word(&form, "form")).transpose()?,
        options: json(&required(options, "options")?)?,
        label: label.map(|label| exact(&label)).transpose()?,
        share_label: required(share_label, "share_label")?,
        keys_of,
        force: required(force, "force")?,
    })?;
    Ok(SetOfIterator::new(statements.into_iter().map(RowText)))
}

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity, reason = "pgrx takes the columns from the signature")]
fn envelope_index_leakage(
    relation: Option<pg_sys::Oid>,
    column_name: Option<&CStr>,
    kind: Option<Varlena<'_>>,
    options: Option<Jsonb>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> std::result::Result<
    TableIterator<
        'static,
        (name!(measure, &'static str), name!(value, Option<String>), name!(remark, RowText)),
    >,
    ErrorReport,
> {
    begin(fcinfo);
    let relation = required(relation, "relation")?;
    let column = required(column_name, "column_name")?;
    let kind = bounded_text(&required(kind, "kind")?, "kind", LONGEST_WORD)?;
    let options = json(&required(options, "options")?)?;
    let measures = index::leakage(relation, column, &kind, &options)?;
    Ok(TableIterator::new(
        measures.into_iter().map(|it| (it.measure, it.value, RowText(it.remark))),
    ))
}

#[pg_extern(sql = false)]
fn envelope_drop_index(
    relation: Option<pg_sys::Oid>,
    index_column: Option<&CStr>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> std::result::Result<bool, ErrorReport> {
    begin(fcinfo);
    let relation = required(relation, "relation")?;
    Ok(index::drop_index(relation, required(index_column, "index_column")?)?)
}

#[pg_extern(sql = false)]
fn envelope_swap_index(
    relation: Option<pg_sys::Oid>,
    index_column: Option<&CStr>,
    new_index_column: Option<&CStr>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> std::result::Result<(), ErrorReport> {
    begin(fcinfo);
    let relation = required(relation, "relation")?;
    let index_column = required(index_column, "index_column")?;
    let new_index_column = required(new_index_column, "new_index_column")?;
    Ok(index::swap(relation, index_column, new_index_column)?)
}

#[pg_extern(sql = false)]
fn envelope_split_classes(
    relation: Option<pg_sys::Oid>,
    index_column: Option<&CStr>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> std::result::Result<i32, ErrorReport> {
    begin(fcinfo);
    let relation = required(relation, "relation")?;
    Ok(index::split(relation, required(index_column, "index_column")?)?)
}

fn json(options: &Jsonb) -> Result<String> {
    options.text(LONGEST_JSONB).ok_or_else(|| too_long("options", LONGEST_JSONB))
}

/// What stands under the hash must be the same everywhere.
fn exact(text: &[u8]) -> Result<String> {
    if text.len() > LONGEST_WORD {
        return Err(too_long("label", LONGEST_WORD));
    }
    encoding::to_exact_string(text)
        .map_err(|why| Error::NotUtf8 { untranslatable: why.is_untranslatable() })
}
