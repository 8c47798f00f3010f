//! Plaintext that comes in in a column of its own: `envelope_seal` empties it, `envelope_mirror` keeps both the same.

use std::ffi::CStr;

use envelope::header::{HEADER_LEN, peek_key_id};
use pgrx::pg_sys;

use super::argument::{Argument, Source, Target};
use super::{in_place, indexed, plain};
use crate::catalog::rows::Verb;
use crate::error::{Error, PolicyError, Result};
use crate::keyring::table;
use crate::pg::encoding;
use crate::pg::relation::display_name;
use crate::pg::trigger::{Row, TriggerCall, is_replica, is_same_stored_value};
use crate::pg::varlena::first_bytes;
use crate::values;

/// Seals a source that is not NULL, and empties it. One that is NULL changes nothing.
pub fn seal(
    call: &TriggerCall<'_>,
    row: &mut Row<'_>,
    argument: &mut Argument<'_>,
    source: Source<'_>,
) -> Result<()> {
    let target = argument.target;
    if row.is_null(source.column) {
        if means_to_erase(call, target, source) {
            return Err(source_null(call, target, source));
        }
        return in_place::seal(call, row, argument);
    }
    // It is emptied in any case.
    row.take_apart();
    match given(call, row, target, source) {
        Given::Both if !row.is_null(target.column) => {
            return Err(both_given(call, target, source));
        }
        // What is written there counts, also NULL: what is left in the source is older.
        Given::Target => {
            row.empty(source.column);
            return in_place::seal(call, row, argument);
        }
        _ => {}
    }
    if let Some(plaintext) = row.value(source.column) {
        seal_into(call, row, argument, source, plaintext)?;
        row.empty(source.column);
    }
    Ok(())
}

/// Seals a source that is not NULL, and leaves it. What is written to either is what both say, also NULL.
pub fn mirror(
    call: &TriggerCall<'_>,
    row: &mut Row<'_>,
    argument: &mut Argument<'_>,
    source: Source<'_>,
) -> Result<()> {
    let target = argument.target;
    let (plaintext, sealed) = (row.value(source.column), row.value(target.column));
    match (given(call, row, target, source), plaintext, sealed) {
        (_, None, None) => indexed::none(call, row, argument),
        // Erased, by either name.
        (Given::Source, None, Some(_)) => {
            row.empty(target.column);
            indexed::none(call, row, argument)
        }
        (Given::Target, Some(_), None) => {
            row.empty(source.column);
            indexed::none(call, row, argument)
        }
        (Given::Neither, None, Some(_)) if means_to_erase(call, target, source) => {
            Err(source_null(call, target, source))
        }
        // A row from before, which nobody has asked to be opened.
        (Given::Neither, None, Some(_)) => in_place::seal(call, row, argument),
        (Given::Both, Some(plaintext), Some(sealed)) => {
            require_open_right_if_sealed(call, sealed)?;
            in_place::seal(call, row, argument)?;
            if is_sealed_of(call, row, argument, source, plaintext)? {
                Ok(())
            } else {
                Err(both_given(call, target, source))
            }
        }
        (Given::Target | Given::Both, _, Some(sealed)) => {
            bring_back(call, row, argument, source, sealed)
        }
        (Given::Neither, Some(_), Some(_))
            if !must_hide_sameness(call, source)? && in_place::stays(call, row, argument)? =>
        {
            indexed::stays(call, row, &table::get(call.relation_oid())?, argument)
        }
        (_, Some(plaintext), _) => seal_into(call, row, argument, source, plaintext),
    }
}

/// To which of the two a statement gives another value than it had.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Given {
    Source,
    Target,
    Both,
    Neither,
}

fn given(call: &TriggerCall<'_>, row: &Row<'_>, target: Target<'_>, source: Source<'_>) -> Given {
    let (of_source, of_target) = if call.is_update() {
        let is_same = match (call.old_value(target.column), row.value(target.column)) {
            (None, None) => true,
            (Some(old), Some(new)) => is_same_stored_value(old, new),
            _ => false,
        };
        (call.changes(source.column, source.kind, row.value(source.column)), !is_same)
    } else {
        (!row.is_null(source.column), !row.is_null(target.column))
    };
    match (of_source, of_target) {
        (true, true) => Given::Both,
        (true, false) => Given::Source,
        (false, true) => Given::Target,
        (false, false) => Given::Neither,
    }
}

/// Whether UPDATE sets the source to NULL, and says nothing of what is sealed. Replication names all columns.
fn means_to_erase(call: &TriggerCall<'_>, target: Target<'_>, source: Source<'_>) -> bool {
    call.names(source.column) && !call.names(target.column) && !is_replica()
}

fn seal_into(
    call: &TriggerCall<'_>,
    row: &mut Row<'_>,
    argument: &mut Argument<'_>,
    source: Source<'_>,
    plaintext: pg_sys::Datum,
) -> Result<()> {
    let target = argument.target;
    let table = &table::get(call.relation_oid())?;
    let rule = argument.rule(call, table)?;
    let plaintext = plain::of(call, in_place::policy(rule), source, plaintext)?;
    in_place::require_plaintext(call, target, &plaintext)?;
    let context = in_place::context(call, row, rule)?;
    row.replace(target.column, values::seal_for(table, context.bytes()?, &plaintext)?);
    indexed::set(call, row, table, target, rule, &plaintext)
}

/// Whether the sealed value opens to `plaintext`, however its form is filled.
fn is_sealed_of(
    call: &TriggerCall<'_>,
    row: &Row<'_>,
    argument: &mut Argument<'_>,
    source: Source<'_>,
    plaintext: pg_sys::Datum,
) -> Result<bool> {
    let opened = in_place::open(call, row, argument)?;
    let written = plain::back(call, source, opened.as_slice());
    opened.wipe_and_free();
    let table = &table::get(call.relation_oid())?;
    let rule = argument.rule(call, table)?;
    let form = |datum| plain::of(call, in_place::policy(rule), source, datum);
    Ok(*form(written?)? == *form(plaintext)?)
}

/// Gives the source what was written to the target. Whoever wrote it in clear knows it; who wrote it sealed needs the
/// right to open it.
fn bring_back(
    call: &TriggerCall<'_>,
    row: &mut Row<'_>,
    argument: &mut Argument<'_>,
    source: Source<'_>,
    written: pg_sys::Datum,
) -> Result<()> {
    require_open_right_if_sealed(call, written)?;
    in_place::seal(call, row, argument)?;
    let opened = in_place::open(call, row, argument)?;
    let plaintext = plain::back(call, source, opened.as_slice());
    opened.wipe_and_free();
    row.replace_by(source.column, plaintext?);
    Ok(())
}

/// Whether UPDATE sets the source, by a role that may not open: were the sealed value left as it is when the plaintext is
/// what it was, and only then, that would say so. Replication names all columns.
fn must_hide_sameness(call: &TriggerCall<'_>, source: Source<'_>) -> Result<bool> {
    let names_it = call.names(source.column) && !is_replica();
    Ok(names_it && !table::get(call.relation_oid())?.allows(Verb::Decrypt))
}

/// Whether what was written is the plaintext beside it tells as much as to open it, by one guess after the other.
fn require_open_right_if_sealed(call: &TriggerCall<'_>, written: pg_sys::Datum) -> Result<()> {
    // SAFETY: a non-null value of the row, in the layout of bytea, which outlives this call.
    match peek_key_id(&unsafe { first_bytes(written, HEADER_LEN) }) {
        Some(_) => table::get(call.relation_oid())?.require_any_open_right(),
        None => Ok(()),
    }
}

#[cold]
fn source_null(call: &TriggerCall<'_>, target: Target<'_>, source: Source<'_>) -> Error {
    let (column, source_column, table) = named(call, target, source);
    PolicyError::SourceNull { column, source_column, table }.into()
}

#[cold]
fn both_given(call: &TriggerCall<'_>, target: Target<'_>, source: Source<'_>) -> Error {
    let (column, source_column, table) = named(call, target, source);
    PolicyError::BothGiven { column, source_column, table }.into()
}

fn named(
    call: &TriggerCall<'_>,
    target: Target<'_>,
    source: Source<'_>,
) -> (String, String, String) {
    let text = |name: &CStr| encoding::to_string(name.to_bytes());
    (text(target.name), text(source.name), display_name(call.relation_oid()))
}
