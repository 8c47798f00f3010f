//! What the trigger does with each column of a row that it was told to seal. [`is_kept`] decides.

use std::ffi::CStr;

use envelope::header::{HEADER_LEN, KeyId, is_sealed, peek_key_id};
use envelope::text::key_id_in_text;
use pgrx::pg_sys;

use crate::error::{Error, Place, Result};
use crate::keyring::table::{self, Whose};
use crate::pg::column::is_sealable;
use crate::pg::encoding;
use crate::pg::relation::display_name;
use crate::pg::trigger::{TriggerCall, is_same_stored_value};
use crate::pg::varlena::{Varlena, first_bytes};

/// The context of a column that no policy binds to its row.
const NO_CONTEXT: &[u8] = b"";

/// The row to store, as PostgreSQL has trigger functions answer.
pub fn seal_row(call: &TriggerCall<'_>) -> Result<Option<pg_sys::Datum>> {
    check_use(call)?;
    let mut row = call.new_row();
    for argument in call.arguments() {
        let column = sealable_column(call, argument)?;
        let Some(new) = row.value(column) else { continue };
        if is_kept_from_before(call, column, new)? {
            continue;
        }
        // SAFETY: a non-null value of the row, in the layout of bytea,, which outlives this loop's turn.
        let value = unsafe { Varlena::from_datum(new) };
        let relation = call.relation_oid();
        if let Some(key_id) = peek_key_id(&value)
            && is_kept(relation, argument, key_id, &value)
                .map_err(|error| error.at(place(call, argument, key_id)))?
        {
            continue;
        }
        if let Some(key_id) = key_id_in_text(&value) {
            require_plaintext(relation, argument, key_id)
                .map_err(|error| error.at(place(call, argument, key_id)))?;
        }
        row.replace(column, super::seal(relation, NO_CONTEXT, &value)?);
    }
    Ok(Some(row.into_datum()))
}

fn check_use(call: &TriggerCall<'_>) -> Result<()> {
    let misuse = if !call.is_before() {
        "must fire BEFORE, so that plaintext is never stored"
    } else if !call.is_for_row() {
        "must fire FOR EACH ROW"
    } else if !call.is_insert() && !call.is_update() {
        "must fire on INSERT or UPDATE"
    } else if call.arguments().next().is_none() {
        "needs the columns to seal as arguments"
    } else {
        return Ok(());
    };
    Err(Error::TriggerMisuse(misuse))
}

fn sealable_column(call: &TriggerCall<'_>, argument: &CStr) -> Result<i16> {
    if argument.to_bytes().contains(&b'=') {
        return Err(Error::TriggerMisuse("takes column names; arguments with \"=\" are reserved"));
    }
    let named = || {
        let column = encoding::to_string(argument.to_bytes());
        (column, display_name(call.relation_oid()), call.name())
    };
    match call.column(argument) {
        Some((column, kind)) if is_sealable(kind) && !call.is_generated(column) => Ok(column),
        Some((_, kind)) if is_sealable(kind) => {
            let (column, table, trigger) = named();
            Err(Error::GeneratedColumn { column, table, trigger })
        }
        Some(_) => {
            let (column, table, trigger) = named();
            Err(Error::NotSealable { column, table, trigger })
        }
        None => {
            let (column, table, trigger) = named();
            Err(Error::NoColumn { column, table, trigger })
        }
    }
}

/// Whether UPDATE leaves the column as it is stored, under one of the table's own keys. Then
/// nothing is opened or fetched from TOAST: an UPDATE of other columns needs no key, no KMS and
/// no right to seal. Plaintext from before the trigger does not pass.
fn is_kept_from_before(call: &TriggerCall<'_>, column: i16, new: pg_sys::Datum) -> Result<bool> {
    if !call.old_value(column).is_some_and(|old| is_same_stored_value(old, new)) {
        return Ok(false);
    }
    // SAFETY: a non-null value of the row, in the layout of bytea,, which outlives this call.
    let header = unsafe { first_bytes(new, HEADER_LEN) };
    match peek_key_id(&header) {
        Some(key_id) => Ok(table::whose(call.relation_oid(), key_id)? == Whose::Ours),
        None => Ok(false),
    }
}

/// The four-way decision, of a value whose first bytes name `key_id`; false: it is plaintext all the same.
///
/// (a) it names a key of this table's keyrings: it must open, and is kept, else it is refused;
/// (b) it names a key of another keyring: refused;
/// (c) it has the shape of a sealed value, under a key unknown here: refused, since nobody could
///     tell it from a value whose key was lost;
/// (d) anything else is plaintext, and is sealed.
fn is_kept(relation: pg_sys::Oid, column: &CStr, key_id: KeyId, value: &[u8]) -> Result<bool> {
    match table::whose(relation, key_id)? {
        Whose::Ours => {
            super::require_seal_right(relation)?;
            super::verify(relation, NO_CONTEXT, value)?;
            Ok(true)
        }
        Whose::Others => Err(Error::OtherTable(display_name(relation))),
        Whose::Nobodys if is_sealed(value) => Err(Error::LooksSealed {
            key: key_id,
            table: display_name(relation),
            column: encoding::to_string(column.to_bytes()),
        }),
        Whose::Nobodys => Ok(false),
    }
}

/// An error when `key_id`, which was found in a plaintext, is that of a data key: the plaintext is a sealed value
/// written as text, by a program that has read it in one form and writes it in another. Sealed once more it would
/// open to that text.
#[cold]
fn require_plaintext(relation: pg_sys::Oid, column: &CStr, key_id: KeyId) -> Result<()> {
    match table::whose(relation, key_id)? {
        Whose::Nobodys => Ok(()),
        Whose::Ours | Whose::Others => Err(Error::SealedAsText {
            table: display_name(relation),
            column: encoding::to_string(column.to_bytes()),
        }),
    }
}

/// Where the value stands that a row is to have.
#[cold]
fn place(call: &TriggerCall<'_>, column: &CStr, key_id: KeyId) -> Place {
    Place {
        table: display_name(call.relation_oid()),
        column: encoding::to_string(column.to_bytes()),
        row: call.old_row(),
        key: Some(key_id),
    }
}
