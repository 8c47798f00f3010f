//! Policies: what a column is.

use std::ffi::{CStr, CString};

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{pg_extern, pg_sys};

use crate::adopt::policy::{self, Wanted};
use crate::catalog::rows::Form;
use crate::error::{Error, PolicyError, Result};
use crate::keyring::table;
use crate::pg::array::{NameArray, RawTexts};
use crate::pg::call::{Arguments, row_function};
use crate::pg::encoding;
use crate::pg::varlena::{Varlena, VarlenaBuf};
use crate::sql::arguments::{bounded_text, required};
use crate::sql::begin;
use crate::values::context::RowContext;

/// Bytes of a type's name, a tag and the like: more than any has.
const LONGEST_WORD: usize = 4096;

#[pg_extern(sql = false)]
#[allow(clippy::too_many_arguments, reason = "as many as SQL sees")]
fn envelope_set_policy(
    relation: Option<pg_sys::Oid>,
    column_name: Option<&CStr>,
    form: Option<Varlena<'_>>,
    value_type: Option<Varlena<'_>>,
    source: Option<&CStr>,
    tag: Option<Varlena<'_>>,
    bind: Option<NameArray>,
    block: Option<i32>,
    mask: Option<Varlena<'_>>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> std::result::Result<(), ErrorReport> {
    begin(fcinfo);
    Ok(policy::set(&Wanted {
        relation: required(relation, "relation")?,
        column: required(column_name, "column_name")?,
        form: form_named(&required(form, "form")?)?,
        value_type: value_type.map(|name| type_name(&name)).transpose()?,
        source,
        tag: tag.map(|tag| exact_text(&tag)).transpose()?,
        bound: names(required(bind, "bind")?)?,
        block,
        mask: mask.map(|mask| bounded_text(&mask, "mask", LONGEST_WORD)).transpose()?,
    })?)
}

#[pg_extern(sql = false)]
fn envelope_drop_policy(
    relation: Option<pg_sys::Oid>,
    column_name: Option<&CStr>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> std::result::Result<bool, ErrorReport> {
    begin(fcinfo);
    let relation = required(relation, "relation")?;
    Ok(policy::drop(relation, required(column_name, "column_name")?)?)
}

#[pg_extern(sql = false)]
fn envelope_binding_done(
    relation: Option<pg_sys::Oid>,
    column_name: Option<&CStr>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> std::result::Result<bool, ErrorReport> {
    begin(fcinfo);
    let relation = required(relation, "relation")?;
    Ok(policy::binding_done(relation, required(column_name, "column_name")?)?)
}

fn form_named(name: &[u8]) -> Result<Form> {
    Form::named(&bounded_text(name, "form", LONGEST_WORD)?)
        .ok_or_else(|| Error::BadArgument("form must be 'sealed', 'source' or 'bytea'".into()))
}

/// As SQL writes it, in the server's encoding.
fn type_name(name: &[u8]) -> Result<CString> {
    if name.len() > LONGEST_WORD {
        return Err(Error::BadArgument("value_type is too long".into()));
    }
    CString::new(name).map_err(|_| Error::BadArgument("value_type is no type".into()))
}

/// What values are bound to must be the same everywhere.
fn exact_text(text: &[u8]) -> Result<String> {
    if text.len() > LONGEST_WORD {
        return Err(Error::BadArgument("tag is too long".into()));
    }
    encoding::to_exact_string(text)
        .map_err(|why| Error::NotUtf8 { untranslatable: why.is_untranslatable() })
}

fn names(names: NameArray) -> Result<Vec<CString>> {
    match names {
        NameArray::TooLong => Err(Error::BadArgument("bind is too long".into())),
        NameArray::Elements(names) => {
            names.into_iter().map(|name| required(name, "bind")).collect()
        }
    }
}

row_function!(envelope_row_context_wrapper, |fcinfo| {
    begin(fcinfo);
    // SAFETY: the call's own information; it is declared (regclass, name, text[]).
    let (relation, column, parts) = unsafe {
        let arguments = Arguments::of(fcinfo);
        (arguments.oid(0), arguments.name(1), arguments.texts(2))
    };
    let (relation, column) = (required(relation, "relation")?, required(column, "column_name")?);
    row_context(relation, column, &required(parts, "parts")?)
});

fn row_context(
    relation: pg_sys::Oid,
    column: &CStr,
    parts: &RawTexts<'_>,
) -> Result<Option<pg_sys::Datum>> {
    let table = table::get(relation)?;
    let Some(policy) = table.policy(column) else {
        let (column, table) = (encoding::to_string(column.to_bytes()), table.name());
        return Err(PolicyError::None { column, table }.into());
    };
    let bound = policy.bound_columns.len();
    if parts.len() != bound {
        let message = format!("parts must be the values of {bound} bound columns, in their order");
        return Err(Error::BadArgument(message));
    }
    if bound == 0 {
        return Ok(Some(VarlenaBuf::of_len(0).into_datum()));
    }
    let mut context = RowContext::begin(&policy.tag);
    for (part, column) in parts.iter().zip(&policy.bound_columns) {
        let Some(part) = part else {
            let (column, table) = (column.clone(), table.name());
            return Err(PolicyError::BoundNull { column, table }.into());
        };
        context.push_text(&part)?;
    }
    let text =
        encoding::from_utf8(context.bytes()?).map_err(|_| Error::Untranslatable("the context"))?;
    Ok(Some(VarlenaBuf::copy_of(&text).into_datum()))
}

row_function!(envelope_must_be_empty_wrapper, |fcinfo| {
    // SAFETY: the call's own information.
    let value = unsafe { Arguments::of(fcinfo) };
    if value.is_null(0) {
        Ok(Some(pg_sys::Datum::from(true)))
    } else {
        Err(Error::from(PolicyError::NotEmpty))
    }
});

/// Event trigger after CREATE TRIGGER.
#[pg_extern(sql = false)]
fn envelope_watch_policies(
    fcinfo: pg_sys::FunctionCallInfo,
) -> std::result::Result<(), ErrorReport> {
    // SAFETY: the call's own information.
    Ok(unsafe { policy::after_command(fcinfo) }?)
}
