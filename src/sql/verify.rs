//! What `envelope.verify` is built of, and what of it other functions use that read a whole table.

use std::ffi::{CStr, CString};

use envelope::header::{HEADER_LEN, peek_key_id};
use pgrx::datum::IntoDatum;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{pg_extern, pg_sys};

use crate::error::{Error, Result};
use crate::keyring::{self, table};
use crate::pg::call::{Arguments, row_function};
use crate::pg::datum::UuidBuf;
use crate::pg::encoding;
use crate::pg::encoding::RowText;
use crate::pg::subxact::Undone;
use crate::sql::arguments::{LONGEST_CONTEXT, required};
use crate::sql::begin;
use crate::sql::build_index::given_terms;
use crate::sql::sweep::place;
use crate::sql::values::utf8;
use crate::sweep::faults::{self, Fault};
use crate::sweep::{distributed, indexing};
use crate::values;

// NULL for a value that opens, and for none; else its key id, SQLSTATE, message.
row_function!(envelope_fault_of_wrapper, |fcinfo| fault_of(fcinfo)
    .map(|fault| { fault.and_then(told) }));

// As that, with the names of index columns, and behind them what stands in each.
row_function!(envelope_row_fault_wrapper, |fcinfo| row_fault(fcinfo)
    .map(|fault| { fault.and_then(told) }));

fn told(Fault { key_id, error, .. }: Fault) -> Option<pg_sys::Datum> {
    let key_id = key_id.map(|key_id| RowText(key_id.to_string()));
    let (sqlstate, message) = (RowText(error.sqlstate_text()), RowText(error.to_string()));
    vec![key_id, Some(sqlstate), Some(message)].into_datum()
}

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

fn row_fault(fcinfo: pg_sys::FunctionCallInfo) -> Result<Option<Fault>> {
    begin(fcinfo);
    // SAFETY: the call's own information; declared (oid, bytea, text, text, text[], ...).
    let (arguments, relation, value, context, former, names) = unsafe {
        let arguments = Arguments::of(fcinfo);
        let value = arguments.survived_varlena(1);
        let (context, former) = (arguments.varlena(2), arguments.varlena(3));
        (arguments, arguments.oid(0), value, context, former, arguments.texts(4))
    };
    let (relation, context) = (required(relation, "relation")?, required(context, "context")?);
    let names = required(names, "index_columns")?;
    values::require_open_right(relation)?;
    if context.len().max(former.as_ref().map_or(0, |former| former.len())) > LONGEST_CONTEXT {
        return Err(Error::ContextTooLong);
    }
    let context = utf8(&context)?;
    let former = former.as_deref().map(utf8).transpose()?;
    let contexts = [&*context, former.as_deref().unwrap_or_default()];
    let names = names.iter().flatten().map(|name| CString::new(&*name));
    let names = names.collect::<std::result::Result<Vec<_>, _>>();
    let names = names.map_err(|_| Error::BadArgument("index_columns must be names".into()))?;
    let columns = names
        .iter()
        .enumerate()
        .map(|(at, name)| (name.as_c_str(), given_terms(fcinfo, arguments, 5 + at)));
    indexing::fault(relation, &contexts[..1 + usize::from(former.is_some())], value, columns)
}

#[pg_extern(sql = false)]
fn envelope_index_columns(
    relation: Option<pg_sys::Oid>,
    column_name: Option<&CStr>,
) -> std::result::Result<Vec<RowText>, ErrorReport> {
    keyring::begin_statement(None);
    let (relation, column) =
        (required(relation, "relation")?, required(column_name, "column_name")?);
    distributed::require_here(relation, column)?;
    let table = table::get(relation)?;
    let indexes = table.indexes(column).iter();
    let name = |name: &CString| RowText(encoding::to_string(name.to_bytes()));
    Ok(indexes.map(|index| name(&index.index_column)).collect())
}

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
