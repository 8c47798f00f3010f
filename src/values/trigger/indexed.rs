//! The columns that hold the terms of a value: they follow it, whatever a statement says.
//!
//! A statement may leave them alone, or give them just what they get. No bytes, or no elements, ask for the terms of the
//! value that stands there to be made: so `CALL envelope.build_index` changes rows, and so anybody may who can update
//! the column, since nothing else ever gets there. Where changes arrive by replication, what arrives is kept.

use std::ffi::CStr;

use pgrx::pg_sys::{self, Datum};

use super::argument::{Argument, Target};
use super::in_place;
use super::rule::{IndexColumn, Rule};
use crate::catalog::rows::Verb;
use crate::error::{Error, IndexError, Result};
use crate::kek::By;
use crate::keyring::table::{self, ColumnIndex, Table};
use crate::pg::relation::display_name;
use crate::pg::trigger::{Row, TriggerCall, is_replica, is_same_stored_value};
use crate::pg::varlena::Varlena;
use crate::pg::{acl, encoding};
use crate::values::ValueType;
use crate::values::index::{Indexed, Standing, Stored, is_request, pairs, type_of};

/// What a statement gives an index column.
enum Given {
    /// Nothing, or that terms are to be made.
    Nothing,
    /// What the row had before.
    Before(Datum),
    Other(Datum),
}

/// The row gets the value whose sealed form that is; whoever writes it has been asked for the right to.
#[inline(always)]
pub fn set(
    call: &TriggerCall<'_>,
    row: &mut Row<'_>,
    table: &Table,
    target: Target<'_>,
    rule: Option<Rule<'_>>,
    form: &[u8],
) -> Result<()> {
    match rule.filter(|rule| !rule.index_columns.is_empty()) {
        Some(rule) => set_all(call, row, table, target, rule, form),
        None => Ok(()),
    }
}

#[inline(never)]
fn set_all(
    call: &TriggerCall<'_>,
    row: &mut Row<'_>,
    table: &Table,
    target: Target<'_>,
    rule: Rule<'_>,
    form: &[u8],
) -> Result<()> {
    let kind = type_of(rule.policy)?;
    for (index, column) in rule.indexes(table) {
        let given = given(call, row, index, *column);
        if is_replica() && !matches!(given, Given::Nothing) {
            continue;
        }
        set_one(call, row, table, index, *column, kind.as_ref(), form, given)
            .map_err(|error| at(call, target, error))?;
    }
    Ok(())
}

#[allow(clippy::too_many_arguments, reason = "what a row, an index and a value are")]
fn set_one(
    call: &TriggerCall<'_>,
    row: &mut Row<'_>,
    table: &Table,
    index: &ColumnIndex,
    column: IndexColumn,
    kind: Option<&ValueType>,
    form: &[u8],
    given: Given,
) -> Result<()> {
    let indexed = Indexed::of(table, index, By::Writer, kind, form)?;
    let standing = match given {
        Given::Nothing => None,
        // A value that has several classes keeps the one that it has.
        Given::Before(_) if !indexed.is_drawn() => None,
        Given::Before(datum) | Given::Other(datum) => {
            // SAFETY: a non-null value of the index's column, in a row that outlives this call.
            let stored = unsafe { Stored::of(&index.rule, datum) };
            Some(indexed.standing(&stored)?)
        }
    };
    match (standing, given) {
        (Some(Standing::Current), _) => return Ok(()),
        // To be told is to compare a term with a value of one's choice: who may not, gets the right terms.
        (Some(Standing::Wrong), Given::Other(_)) if may_compare(call, &indexed, column) => {
            return Err(set_by_statement(call, index));
        }
        _ => {}
    }
    match indexed.datum()? {
        Some(terms) => row.replace_by(column.number, terms),
        None if row.is_null(column.number) => {}
        None => row.empty(column.number),
    }
    Ok(())
}

/// Whether the role may ask for terms, open values, or read the terms that it has made.
#[cold]
fn may_compare(call: &TriggerCall<'_>, indexed: &Indexed<'_>, column: IndexColumn) -> bool {
    let may_read = || acl::may_read_column(acl::current_role(), call.relation_oid(), column.number);
    indexed.may_be_compared() || may_read()
}

/// The row has no value.
#[inline(always)]
pub fn none(call: &TriggerCall<'_>, row: &mut Row<'_>, argument: &mut Argument<'_>) -> Result<()> {
    let table = match table::get(call.relation_oid()) {
        // A foreign one can have no keys, and so no indexes.
        Err(Error::NotATable { .. }) => return Ok(()),
        table => table?,
    };
    match argument.rule(call, &table)?.filter(|rule| !rule.index_columns.is_empty()) {
        Some(rule) => empty_all(call, row, &table, rule),
        None => Ok(()),
    }
}

#[inline(never)]
fn empty_all(
    call: &TriggerCall<'_>,
    row: &mut Row<'_>,
    table: &Table,
    rule: Rule<'_>,
) -> Result<()> {
    for (index, column) in rule.indexes(table) {
        if row.is_null(column.number) {
            continue;
        }
        match given(call, row, index, *column) {
            Given::Nothing => {}
            _ if is_replica() => continue,
            Given::Before(_) => {}
            Given::Other(_) => return Err(set_by_statement(call, index)),
        }
        row.empty(column.number);
    }
    Ok(())
}

/// UPDATE leaves the value as it is stored.
#[inline(always)]
pub fn stays(
    call: &TriggerCall<'_>,
    row: &mut Row<'_>,
    table: &Table,
    argument: &mut Argument<'_>,
) -> Result<()> {
    match argument.rule(call, table)?.filter(|rule| !rule.index_columns.is_empty()) {
        Some(rule) => all_stay(call, row, table, rule, argument),
        None => Ok(()),
    }
}

fn all_stay(
    call: &TriggerCall<'_>,
    row: &mut Row<'_>,
    table: &Table,
    rule: Rule<'_>,
    argument: &mut Argument<'_>,
) -> Result<()> {
    let mut is_asked = false;
    // It is to be changed, mostly.
    if rule.index_columns.iter().any(|column| call.names(column.number)) {
        row.take_apart();
    }
    for (index, column) in rule.indexes(table) {
        let new = row.value(column.number);
        let is_same = match (call.old_value(column.number), new) {
            (None, None) => true,
            (Some(old), Some(new)) => is_same_stored_value(old, new),
            _ => false,
        };
        if is_same {
            // SAFETY: a non-null value of the index's column.
            let is_request = new.is_some_and(|new| unsafe { is_request(&index.rule, new) });
            is_asked |= is_request && call.names(column.number);
            continue;
        }
        match given(call, row, index, *column) {
            Given::Nothing if new.is_some() => is_asked = true,
            Given::Before(_) => {}
            _ if is_replica() => {}
            _ => return Err(set_by_statement(call, index)),
        }
    }
    if is_asked { make(call, row, table, rule, argument) } else { Ok(()) }
}

/// Makes the terms that are asked for, of the value that stands there.
#[inline(never)]
fn make(
    call: &TriggerCall<'_>,
    row: &mut Row<'_>,
    table: &Table,
    rule: Rule<'_>,
    argument: &mut Argument<'_>,
) -> Result<()> {
    // Whoever may manage the table's keys may build its indexes, too.
    if !table.allows(Verb::Manage) {
        table.require_seal_right()?;
    }
    let (kind, target) = (type_of(rule.policy)?, argument.target);
    let opened = in_place::open(call, row, argument).map_err(|error| at(call, target, error))?;
    // SAFETY: a non-null value of the row, in the layout of bytea, which outlives this call.
    let sealed = row.value(target.column).map(|sealed| unsafe { Varlena::from_datum(sealed) });
    let mut made = Ok(());
    for (index, column) in rule.indexes(table) {
        let new = row.value(column.number);
        // SAFETY: a non-null value of the index's column.
        if made.is_err() || !new.is_some_and(|new| unsafe { is_request(&index.rule, new) }) {
            continue;
        }
        // A class that the value has already is not drawn again.
        let given = match call.old_value(column.number) {
            // SAFETY: as above.
            Some(old) if !unsafe { is_request(&index.rule, old) } => Given::Before(old),
            _ => Given::Nothing,
        };
        let form = opened.as_slice();
        made = set_anew(call, row, table, index, *column, kind.as_ref(), form, given);
        if let (Ok(()), Some(sealed), Some(terms)) = (&made, &sealed, row.value(column.number)) {
            // SAFETY: a non-null value of the index's column, in a row that outlives this call.
            pairs::note(index.id, sealed, &unsafe { Stored::of(&index.rule, terms) });
        }
    }
    opened.wipe_and_free();
    made.map_err(|error| at(call, target, error))
}

#[allow(clippy::too_many_arguments, reason = "what a row, an index and a value are")]
fn set_anew(
    call: &TriggerCall<'_>,
    row: &mut Row<'_>,
    table: &Table,
    index: &ColumnIndex,
    column: IndexColumn,
    kind: Option<&ValueType>,
    form: &[u8],
    before: Given,
) -> Result<()> {
    // It is the request that is to be replaced, whatever stood there before.
    if let Given::Before(old) = before {
        let indexed = Indexed::of(table, index, By::Writer, kind, form)?;
        // SAFETY: a non-null value of the index's column, in a row that outlives this call.
        let stored = unsafe { Stored::of(&index.rule, old) };
        if indexed.is_drawn() && indexed.standing(&stored)? == Standing::Current {
            row.replace_by(column.number, old);
            return Ok(());
        }
    }
    set_one(call, row, table, index, column, kind, form, Given::Nothing)
}

fn given(call: &TriggerCall<'_>, row: &Row<'_>, index: &ColumnIndex, column: IndexColumn) -> Given {
    let Some(new) = row.value(column.number) else { return Given::Nothing };
    // SAFETY: a non-null value of the index's column.
    if unsafe { is_request(&index.rule, new) } {
        return Given::Nothing;
    }
    let is_before = call.old_value(column.number).is_some_and(|old| is_same_stored_value(old, new))
        || call.is_update() && !call.changes(column.number, column.kind, Some(new));
    if is_before { Given::Before(new) } else { Given::Other(new) }
}

/// The column that holds the terms of `index` in the trigger's table.
pub fn column(call: &TriggerCall<'_>, index: &ColumnIndex) -> Result<IndexColumn> {
    let name = index.index_column.as_c_str();
    let needs = if index.rule.is_tokens() { pg_sys::INT8ARRAYOID } else { pg_sys::BYTEAOID };
    match call.column(name) {
        Some((number, kind)) if kind == needs => Ok(IndexColumn { number, kind }),
        Some((_, kind)) => Err(IndexError::WrongColumn {
            index_column: text(name),
            table: display_name(call.relation_oid()),
            is: crate::pg::types::display_name(kind, -1),
            needs: if index.rule.is_tokens() { "bigint[]" } else { "bytea" },
        }
        .into()),
        None => Err(Error::NoSuchColumn {
            column: text(name),
            table: display_name(call.relation_oid()),
        }),
    }
}

#[cold]
fn at(call: &TriggerCall<'_>, target: Target<'_>, error: Error) -> Error {
    error.at(in_place::place(call, target, None))
}

#[cold]
fn set_by_statement(call: &TriggerCall<'_>, index: &ColumnIndex) -> Error {
    IndexError::SetByStatement {
        index_column: text(&index.index_column),
        table: display_name(call.relation_oid()),
        column: text(&index.column_name),
    }
    .into()
}

fn text(name: &CStr) -> String {
    encoding::to_string(name.to_bytes())
}
