//! What SQL sees. Arguments in, one call, result out; names, defaults, labels and rights stand in
//! `sql/functions.sql`.

#![allow(clippy::result_large_err, reason = "pgrx keeps the SQLSTATE of an ErrorReport alone")]

mod admin;
mod columns;
mod context;
mod destroy;
mod inspect;
mod keyrings;
mod lifecycle;
mod reencrypt;
mod rights;
mod seal_trigger;
mod values;

use pgrx::pg_sys;

use crate::error::{Error, Result};

/// Bytes of a context. It is read with every value, and a row's identity needs few.
const LONGEST_CONTEXT: usize = 64 * 1024;

/// The value of an argument that must not be NULL.
fn required<T>(argument: Option<T>, name: &'static str) -> Result<T> {
    // Not `ok_or`, which makes and drops the error for every argument of every row.
    let Some(argument) = argument else { return Err(Error::NullArgument(name)) };
    Ok(argument)
}

/// The head of every function: what other backends have changed is known from here on.
fn begin(fcinfo: pg_sys::FunctionCallInfo) {
    crate::keyring::begin_statement(Some(fcinfo));
}
