//! What `CALL envelope.reencrypt` is built of.

use std::ffi::CStr;

use pgrx::datum::Uuid;
use pgrx::iter::{SetOfIterator, TableIterator};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{name, pg_extern, pg_sys};

use crate::keyring::{self, Window};
use crate::pg::call::row_function;
use crate::pg::varlena::VarlenaBuf;
use crate::sql::required;
use crate::sql::values::with_value;

row_function!(envelope_reseal_wrapper, |fcinfo| {
    with_value(fcinfo, |relation, context, sealed| {
        let resealed = keyring::reseal(relation, context, sealed)?;
        Ok(resealed.unwrap_or_else(|| VarlenaBuf::copy_of(sealed)))
    })
});

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity, reason = "pgrx takes the columns from the signature")]
fn envelope_reencrypt_window(
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
    let window = keyring::next_window(
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
    let left = keyring::partitions_left(
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
    Ok(keyring::window_done(
        required(relation, "relation")?,
        required(column_name, "column_name")?,
        required(batch_size, "batch_size")?,
        required(from_block, "from_block")?..required(to_block, "to_block")?,
        required(found, "found")?,
        required(moved, "moved")?,
    )?)
}
