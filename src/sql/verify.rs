//! What `envelope.verify` is built of, and what of it other functions use that read a whole table.

use envelope::header::{HEADER_LEN, peek_key_id};
use pgrx::datum::IntoDatum;
use pgrx::pg_sys;

use crate::error::{Error, Result};
use crate::pg::call::{Arguments, row_function};
use crate::pg::datum::UuidBuf;
use crate::pg::encoding::RowText;
use crate::pg::subxact::Undone;
use crate::sql::arguments::{LONGEST_CONTEXT, required};
use crate::sql::begin;
use crate::sql::sweep::place;
use crate::sql::values::utf8;
use crate::sweep::faults::{self, Fault};
use crate::values;

// NULL for a value that opens, and for none; else its key id, SQLSTATE, message.
row_function!(envelope_fault_of_wrapper, |fcinfo| fault_of(fcinfo).map(|fault| {
    fault.and_then(|Fault { key_id, error, .. }| {
        let key_id = key_id.map(|key_id| RowText(key_id.to_string()));
        let (sqlstate, message) = (RowText(error.sqlstate_text()), RowText(error.to_string()));
        vec![key_id, Some(sqlstate), Some(message)].into_datum()
    })
}));

row_function!(envelope_is_damaged_wrapper, |fcinfo| {
    fault_of(fcinfo).map(|fault| fault.is_some_and(|fault| fault.is_damage).into_datum())
});

// Its fifth argument is the value's column and its sixth the row's ctid.
row_function!(envelope_is_sound_wrapper, |fcinfo| match fault_of(fcinfo)? {
    Some(Fault { key_id, error, is_damage: true }) => Err(error.at(place(fcinfo, 4, key_id))),
    _ => Ok::<_, Error>(true.into_datum()),
});

row_function!(envelope_key_id_if_read_wrapper, |fcinfo| {
    // SAFETY: the call's own information; the argument is declared bytea.
    match unsafe { Arguments::of(fcinfo).survived_first_bytes(0, HEADER_LEN) } {
        Some(Ok(header)) => {
            let key_id = peek_key_id(&header);
            Ok(key_id.map(|key_id| UuidBuf::copy_of(&key_id.0).into_datum()))
        }
        Some(Err(Undone::Raised(code, message))) => Err(Error::Raised(code, message)),
        Some(Err(Undone::Failed(_))) | None => Ok(None),
    }
});

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
    let Some(value) = value else {
        return values::require_open_right(relation).map(|()| None);
    };
    if context.len().max(former.as_ref().map_or(0, |former| former.len())) > LONGEST_CONTEXT {
        return Err(Error::ContextTooLong);
    }
    let context = utf8(&context)?;
    match former {
        None => faults::of_value(relation, &[&context], value),
        Some(former) => faults::of_value(relation, &[&context, &utf8(&former)?], value),
    }
}
