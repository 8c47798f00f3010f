//! What SQL sees. Arguments in, one call, result out; names, defaults, labels and rights stand in
//! `sql/functions.sql`.

#![allow(clippy::result_large_err, reason = "pgrx keeps the SQLSTATE of an ErrorReport alone")]

mod admin;
mod arguments;
mod asked;
mod build_index;
mod check;
mod columns;
mod context;
mod destroy;
mod evidence;
mod figures;
mod index_keys;
mod indexes;
mod inspect;
mod keyrings;
mod lifecycle;
mod lint;
mod matches;
mod node_state;
mod nodes;
mod or_null;
mod plan;
mod policies;
mod released;
mod rights;
mod seal_column;
mod seal_trigger;
mod sealed_type;
mod search;
mod sweep;
mod typed;
mod values;
mod verify;
mod views;
mod write_through;

use pgrx::pg_sys;

/// The head of every function: what other backends have changed is known from here on.
fn begin(fcinfo: pg_sys::FunctionCallInfo) {
    crate::keyring::begin_statement(Some(fcinfo));
}
