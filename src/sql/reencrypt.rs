//! What `CALL envelope.reencrypt` is built of.

use std::ffi::CStr;

use envelope::header::{HEADER_LEN, KeyId, peek_key_id};
use pgrx::datum::Uuid;
use pgrx::iter::{SetOfIterator, TableIterator};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{name, pg_extern, pg_sys};

use crate::error::{Error, Place, Result};
use crate::keyring;
use crate::pg::call::{Arguments, row_function};
use crate::pg::datum::UuidBuf;
use crate::pg::relation::display_name;
use crate::pg::varlena::VarlenaBuf;
use crate::pg::{damage, encoding};
use crate::sql::arguments::required;
use crate::sql::values::with_value;
use crate::sweep::{self, Window};
use crate::values;

row_function!(envelope_reseal_wrapper, |fcinfo| {
    with_value(fcinfo, |relation, context, sealed| {
        let resealed = values::reseal(relation, context, sealed)?;
        Ok(resealed.unwrap_or_else(|| VarlenaBuf::copy_of(sealed)))
    })
});

// What re-encryption does with each row: an error says which.
row_function!(envelope_resealed_wrapper, |fcinfo| {
    at_row(fcinfo, |relation, context, sealed| {
        let resealed = values::reseal(relation, context, sealed)?;
        Ok(resealed.unwrap_or_else(|| VarlenaBuf::copy_of(sealed)))
    })
});
row_function!(envelope_opened_wrapper, |fcinfo| at_row(fcinfo, values::open));

row_function!(envelope_key_id_at_wrapper, |fcinfo| {
    let header = damage::reading(|| {
        // SAFETY: the call's own information; the argument is declared bytea.
        unsafe { Arguments::of(fcinfo).first_bytes(1, HEADER_LEN) }
    });
    match header {
        Ok(header) => {
            let key_id = header.and_then(|header| peek_key_id(&header));
            Ok(key_id.map(|key_id| UuidBuf::copy_of(&key_id.0).into_datum()))
        }
        Err(damage) => Err(Error::from(damage).at(place(fcinfo, 2, None))),
    }
});

/// [`with_value`], whose fourth argument is the value's column and whose fifth is its row's ctid.
fn at_row(
    fcinfo: pg_sys::FunctionCallInfo,
    work: impl FnOnce(pg_sys::Oid, &[u8], &[u8]) -> Result<VarlenaBuf>,
) -> Result<Option<pg_sys::Datum>> {
    let read = damage::reading(|| {
        with_value(fcinfo, |relation, context, sealed| {
            work(relation, context, sealed)
                .map_err(|error| error.at(place(fcinfo, 3, peek_key_id(sealed))))
        })
    });
    read.unwrap_or_else(|damage| Err(Error::from(damage).at(place(fcinfo, 3, None))))
}

/// Where the value stands: its table is the first argument, its column the one at `column`, and its row's
/// ctid the one behind that.
#[cold]
fn place(fcinfo: pg_sys::FunctionCallInfo, column: usize, key: Option<KeyId>) -> Place {
    // SAFETY: the call's own information; the last two are declared (name, tid).
    let (relation, column, row) = unsafe {
        let arguments = Arguments::of(fcinfo);
        (arguments.oid(0), arguments.name(column), arguments.tid(column + 1))
    };
    let column = column.map(|name| encoding::to_string(name.to_bytes())).unwrap_or_default();
    Place { table: display_name(relation.unwrap_or_default()), column, row, key }
}

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity, reason = "pgrx takes the columns from the signature")]
fn envelope_reencrypt_next(
    relation: Option<pg_sys::Oid>,
    column_name: Option<&CStr>,
    batch_size: Option<i32>,
    begins: Option<bool>,
    within: Option<pg_sys::Oid>,
) -> std::result::Result<
    TableIterator<
        'static,
        (
            name!(pass, i32),
            name!(from_block, i64),
            name!(to_block, i64),
            name!(is_idle, bool),
            name!(active_key, Uuid),
            name!(old_keys, Vec<Uuid>),
        ),
    >,
    ErrorReport,
> {
    keyring::begin_statement(None);
    let window = sweep::next_window(
        required(relation, "relation")?,
        required(column_name, "column_name")?,
        required(batch_size, "batch_size")?,
        required(begins, "begins")?,
        within,
    )?;
    Ok(TableIterator::new(window.into_iter().map(|window: Window| {
        (
            window.pass,
            window.from_block,
            window.to_block,
            window.is_idle,
            Uuid::from_bytes(window.active_key.0),
            window.old_keys.into_iter().map(|key_id| Uuid::from_bytes(key_id.0)).collect(),
        )
    })))
}

#[pg_extern(sql = false)]
fn envelope_reencrypt_left(
    relation: Option<pg_sys::Oid>,
    column_name: Option<&CStr>,
) -> std::result::Result<SetOfIterator<'static, pg_sys::Oid>, ErrorReport> {
    keyring::begin_statement(None);
    let left = sweep::partitions_left(
        required(relation, "relation")?,
        required(column_name, "column_name")?,
    )?;
    Ok(SetOfIterator::new(left))
}

#[pg_extern(sql = false)]
fn envelope_reencrypt_note(
    relation: Option<pg_sys::Oid>,
    column_name: Option<&CStr>,
    batch_size: Option<i32>,
    from_block: Option<i64>,
    to_block: Option<i64>,
    found: Option<i64>,
    moved: Option<i64>,
) -> std::result::Result<(), ErrorReport> {
    keyring::begin_statement(None);
    Ok(sweep::window_done(
        required(relation, "relation")?,
        required(column_name, "column_name")?,
        required(batch_size, "batch_size")?,
        required(from_block, "from_block")?..required(to_block, "to_block")?,
        required(found, "found")?,
        required(moved, "moved")?,
    )?)
}

#[pg_extern(sql = false)]
fn envelope_reencrypt_ended(
    relation: Option<pg_sys::Oid>,
    column_name: Option<&CStr>,
    strict: Option<bool>,
) -> std::result::Result<(), ErrorReport> {
    keyring::begin_statement(None);
    Ok(sweep::tell_passed(
        required(relation, "relation")?,
        required(column_name, "column_name")?,
        required(strict, "strict")?,
    )?)
}
