//! Which columns hold sealed values, and under which keys.

use std::ffi::CStr;

use envelope::header::{HEADER_LEN, peek_key_id};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{pg_extern, pg_sys};

use crate::census::columns;
use crate::pg::call::Arguments;
use crate::pg::datum::UuidBuf;
use crate::sql::arguments::required;
use crate::sql::begin;

#[pg_extern(sql = false)]
fn envelope_register_column(
    relation: Option<pg_sys::Oid>,
    column_name: Option<&CStr>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> std::result::Result<bool, ErrorReport> {
    begin(fcinfo);
    let relation = required(relation, "relation")?;
    Ok(columns::register_column(relation, required(column_name, "column_name")?)?)
}

#[pg_extern(sql = false)]
fn envelope_unregister_column(
    relation: Option<pg_sys::Oid>,
    column_name: Option<&CStr>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> std::result::Result<bool, ErrorReport> {
    begin(fcinfo);
    let relation = required(relation, "relation")?;
    Ok(columns::unregister_column(relation, required(column_name, "column_name")?)?)
}

#[pg_extern(sql = false)]
fn envelope_keep_stored(
    relation: Option<pg_sys::Oid>,
    column_name: Option<&CStr>,
    fcinfo: pg_sys::FunctionCallInfo,
) -> std::result::Result<(), ErrorReport> {
    begin(fcinfo);
    let relation = required(relation, "relation")?;
    Ok(columns::keep_stored(relation, required(column_name, "column_name")?)?)
}

/// Fetches no more of a value than its header: a census reads every row of a table. A value that
/// was cut names its key, too.
#[pg_extern(sql = false)]
fn envelope_key_id_of(fcinfo: pg_sys::FunctionCallInfo) -> Option<UuidBuf> {
    // SAFETY: the call's own information; the argument is declared bytea.
    let header = unsafe { Arguments::of(fcinfo).first_bytes(0, HEADER_LEN) };
    peek_key_id(&header?).map(|key_id| UuidBuf::copy_of(&key_id.0))
}
