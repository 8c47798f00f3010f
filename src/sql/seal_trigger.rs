//! `envelope_seal('column', …)`: the trigger that seals on INSERT and UPDATE.
//!
//! It runs before the row is stored, so that plaintext reaches neither heap nor WAL.

use crate::error::Error;
use crate::pg::call::row_function;
use crate::pg::copy_line::WithoutCopyLine;
use crate::pg::trigger::TriggerCall;
use crate::sql::begin;
use crate::values;

row_function!(envelope_seal_wrapper, |fcinfo| {
    let _row_of_copy = WithoutCopyLine::begin();
    begin(fcinfo);
    // SAFETY: the call's own information, which outlives the call.
    let call = unsafe { TriggerCall::from_fcinfo(fcinfo) };
    match call {
        Some(call) => values::seal_row(&call),
        None => Err(Error::TriggerMisuse("must be called as a trigger")),
    }
});
