//! What `envelope.verify` is built of.

use pgrx::datum::IntoDatum;
use pgrx::pg_sys;

use crate::error::{Error, Result};
use crate::pg::call::{Arguments, row_function};
use crate::pg::encoding::RowText;
use crate::sql::arguments::{LONGEST_CONTEXT, required};
use crate::sql::begin;
use crate::sql::values::utf8;
use crate::sweep::faults::{self, Fault};
use crate::values;

// NULL for a value that opens, and for none; else its key id, SQLSTATE, message.
row_function!(envelope_fault_of_wrapper, |fcinfo| fault_of(fcinfo).map(|fault| {
    fault.and_then(|Fault { key_id, sqlstate, message }| {
        let key_id = key_id.map(|key_id| RowText(key_id.to_string()));
        vec![key_id, Some(RowText(sqlstate)), Some(RowText(message))].into_datum()
    })
}));

fn fault_of(fcinfo: pg_sys::FunctionCallInfo) -> Result<Option<Fault>> {
    begin(fcinfo);
    // SAFETY: the call's own information; the four are declared (oid, bytea, text, text).
    let (relation, value, context, former) = unsafe {
        let arguments = Arguments::of(fcinfo);
        let value = arguments.survived_varlena(1);
        (arguments.oid(0), value, arguments.varlena(2), arguments.varlena(3))
    };
    let relation = required(relation, "relation")?;
    let context = required(context, "context")?;
    let value = match value {
        None => return values::require_open_right(relation).map(|()| None),
        Some(Ok(value)) => value,
        Some(Err(why)) => return faults::of_unreadable(why).map(Some),
    };
    if context.len().max(former.as_ref().map_or(0, |former| former.len())) > LONGEST_CONTEXT {
        return Err(Error::ContextTooLong);
    }
    let context = utf8(&context)?;
    match former {
        None => faults::of_value(relation, &[&context], &value),
        Some(former) => faults::of_value(relation, &[&context, &utf8(&former)?], &value),
    }
}
