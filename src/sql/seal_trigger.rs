//! `envelope_seal('column', 'sealed_column=source_column', …)`: the trigger that seals on INSERT and UPDATE; and
//! `envelope_mirror`, which leaves the plaintext in the source.
//!
//! It runs before the row is stored, so that plaintext reaches neither heap nor WAL.

use pgrx::pg_sys;

use crate::error::{Error, Result};
use crate::pg::call::row_function;
use crate::pg::copy_line::WithoutCopyLine;
use crate::pg::trigger::TriggerCall;
use crate::sql::begin;
use crate::values::{self, Sources};

row_function!(envelope_seal_wrapper, |fcinfo| seal_row(fcinfo, Sources::Emptied));
row_function!(envelope_mirror_wrapper, |fcinfo| seal_row(fcinfo, Sources::Kept));

fn seal_row(fcinfo: pg_sys::FunctionCallInfo, sources: Sources) -> Result<Option<pg_sys::Datum>> {
    let _row_of_copy = WithoutCopyLine::begin();
    begin(fcinfo);
    // SAFETY: the call's own information, which outlives the call.
    let call = unsafe { TriggerCall::from_fcinfo(fcinfo) };
    match call {
        Some(call) => values::seal_row(&call, sources),
        None => Err(Error::TriggerMisuse {
            function: "envelope_seal",
            misuse: "must be called as a trigger",
        }),
    }
}
