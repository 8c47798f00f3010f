//! This node beside others.

use pgrx::pg_extern;
use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReport;

use crate::error::{Error, Result};
use crate::nodes;
use crate::pg::array::TextArray;
use crate::pg::json::Jsonb;
use crate::sql::arguments::required;
use crate::sql::begin;

#[pg_extern(sql = false)]
fn envelope_node_state(
    relations: Option<TextArray>,
    named_only: Option<bool>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> std::result::Result<Jsonb, ErrorReport> {
    begin(fcinfo);
    let relations = names(required(relations, "relations")?)?;
    let json = nodes::own(&relations, required(named_only, "named_only")?)?.to_json()?;
    Ok(Jsonb::from_text(&json).map_err(|_| Error::Untranslatable("a name"))?)
}

fn names(array: TextArray) -> Result<Vec<String>> {
    let names = match array {
        TextArray::Elements(names) => names.into_iter().collect::<Option<Vec<_>>>(),
        TextArray::TooLong => None,
        TextArray::NotUtf8(_) => return Err(Error::Untranslatable("a name in relations")),
    };
    names.ok_or_else(|| {
        Error::BadArgument(
            "relations must be names of tables, at most a megabyte, none of them NULL".into(),
        )
    })
}
