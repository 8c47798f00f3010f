//! `envelope.write_through('opened', 'input', 'sealed', …)`: the triggers of views that are written through.

use pgrx::pg_sys;

use crate::adopt::write_through::{self, Written};
use crate::error::{Error, Result, ViewError};
use crate::pg::call::finfo;
use crate::pg::steps::{self, Ran, Step};
use crate::pg::trigger::TriggerCall;
use crate::sql::begin;

finfo!(envelope_write_through_wrapper);

/// Not as other functions are, under one guard: see [`steps`].
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn envelope_write_through_wrapper(
    fcinfo: pg_sys::FunctionCallInfo,
) -> pg_sys::Datum {
    // SAFETY: the call's own information; nothing here is to be dropped.
    unsafe { steps::run(fcinfo, first, next) }
}

fn first(fcinfo: pg_sys::FunctionCallInfo) -> Result<Step<Written>> {
    begin(fcinfo);
    write_through::write(&call(fcinfo)?)
}

fn next(fcinfo: pg_sys::FunctionCallInfo, what: Written, ran: &Ran) -> Result<Step<Written>> {
    write_through::written(&call(fcinfo)?, what, ran)
}

fn call<'a>(fcinfo: pg_sys::FunctionCallInfo) -> Result<TriggerCall<'a>> {
    // SAFETY: the call's own information, which outlives the call.
    let call = unsafe { TriggerCall::from_fcinfo(fcinfo) };
    call.ok_or_else(|| Error::from(ViewError::Misuse("must be called as a trigger")))
}
