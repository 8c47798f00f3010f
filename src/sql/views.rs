//! `envelope.open_view`, and what the views call that it makes.

use std::collections::BTreeMap;
use std::ffi::CString;

use pgrx::iter::SetOfIterator;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{pg_extern, pg_sys};

use crate::adopt::views::{self, Mask, Wanted, Write};
use crate::error::{Error, Result};
use crate::keyring;
use crate::pg::call::{Arguments, row_function};
use crate::pg::encoding::ServerText;
use crate::pg::json::Jsonb;
use crate::pg::varlena::Varlena;
use crate::sql::arguments::{LONGEST_JSONB, bounded_text, required, too_long};
use crate::sql::begin;
use crate::sql::values::{in_server_encoding, with_context};
use crate::values;

/// Bytes of a qualified name, quotes and all.
const LONGEST_NAME: usize = 1024;

#[pg_extern(sql = false)]
fn envelope_open_view(
    relation: Option<pg_sys::Oid>,
    view_name: Option<Varlena<'_>>,
    write: Option<Varlena<'_>>,
    mask: Option<Jsonb>,
    execute: Option<bool>,
) -> std::result::Result<SetOfIterator<'static, ServerText>, ErrorReport> {
    keyring::begin_statement(None);
    let relation = required(relation, "relation")?;
    let view_name = name(&required(view_name, "view_name")?)?;
    let wanted = Wanted {
        relation,
        view: &view_name,
        write: Write::named(&bounded_text(&required(write, "write")?, "write", LONGEST_NAME)?)?,
        masks: masks(&required(mask, "mask")?)?,
    };
    let statements = views::open_view(&wanted)?;
    if required(execute, "execute")? {
        views::run(&statements)?;
    }
    let texts: Vec<_> =
        statements.iter().map(|statement| ServerText(statement.as_bytes().to_vec())).collect();
    Ok(SetOfIterator::new(texts))
}

row_function!(envelope_masked_wrapper, |fcinfo| {
    begin(fcinfo);
    // SAFETY: the call's own information; it is declared (regclass, name, a sealed value, text).
    let (arguments, column, value) = unsafe {
        let arguments = Arguments::of(fcinfo);
        (arguments, arguments.name(1), arguments.varlena(2))
    };
    with_context(arguments, 3, |relation, context| {
        let column = required(column, "column_name")?;
        let Some(value) = value else { return Ok(None) };
        let shown = values::masked(relation, column, context, &value)?;
        Ok(Some(in_server_encoding(shown)?.into_datum()))
    })
});

fn name(text: &[u8]) -> Result<CString> {
    if text.len() > LONGEST_NAME {
        return Err(too_long("view_name", LONGEST_NAME));
    }
    CString::new(text).map_err(|_| Error::BadArgument("view_name is no name".into()))
}

fn masks(json: &Jsonb) -> Result<BTreeMap<String, Mask>> {
    let text = json.text(LONGEST_JSONB).ok_or_else(|| too_long("mask", LONGEST_JSONB))?;
    let no_masks = |_| {
        let message = "mask must be an object: the names of opened columns, and a mask for each";
        Error::BadArgument(message.into())
    };
    let named: BTreeMap<String, String> = serde_json::from_str(&text).map_err(no_masks)?;
    named.into_iter().map(|(column, mask)| Ok((column, Mask::named(&mask)?))).collect()
}
