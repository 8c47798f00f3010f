//! Reading every value of a table to learn which keys they are under. On what is seen here a key is
//! destroyed, and what a SELECT would see must be seen, or it is an error: rows that stand elsewhere,
//! values that cannot be read.

use std::ops::ControlFlow;

use envelope::header::{HEADER_LEN, peek_key_id};
use pgrx::pg_sys;

use crate::catalog::{citus, tables};
use crate::census::foreign;
use crate::error::{Error, NoProof, Place, Result, Unseen};
use crate::pg::column;
use crate::pg::relation::{self, display_name};
use crate::pg::table_scan::{self, Extent, Moment, Read, Seen, Unreadable};

/// Calls `each` with every value in `columns` of `relation`, by its header, among the rows of a moment,
/// until it breaks off. Where it `survives`, values that cannot be read are met, too.
pub fn at_all(
    moment: &Moment,
    relation: pg_sys::Oid,
    columns: &[i16],
    survives: bool,
    each: impl FnMut(&Seen<'_>) -> ControlFlow<()>,
) -> Result<()> {
    at_all_beside(moment, relation, columns, None, survives, each)
}

/// As [`at_all`]; in each row first with the value in `beside`, a column of any type, of which nothing is read.
pub fn at_all_beside(
    moment: &Moment,
    relation: pg_sys::Oid,
    columns: &[i16],
    beside: Option<i16>,
    survives: bool,
    mut each: impl FnMut(&Seen<'_>) -> ControlFlow<()>,
) -> Result<()> {
    require_here(relation, columns)?;
    let mut is_all = true;
    let read = read(moment, relation, columns, beside, Extent::Whole, survives, |seen| {
        let go_on = each(seen);
        is_all = go_on.is_continue();
        go_on
    })?;
    if is_all { require_all(moment, relation, &read) } else { Ok(()) }
}

/// The first value in `columns` of `relation` whose header `is_wanted`: of all, or of a sample.
pub fn find(
    relation: pg_sys::Oid,
    columns: &[i16],
    extent: Extent,
    is_wanted: impl Fn(&[u8]) -> bool,
) -> Result<Option<Place>> {
    let mut found = None;
    let each = |seen: &Seen<'_>| {
        if !is_wanted(seen.head) {
            return ControlFlow::Continue(());
        }
        found = Some(place(relation, seen));
        ControlFlow::Break(())
    };
    table_scan::with_moment(|now| match extent {
        Extent::Whole => at_all(now, relation, columns, false, each),
        Extent::Sample => read(now, relation, columns, None, extent, false, each).map(|_| ()),
    })?;
    Ok(found)
}

/// As [`find`]; the rows of a foreign table are asked for by a SELECT, which may prove that there is none.
pub fn find_anywhere(
    relation: pg_sys::Oid,
    columns: &[i16],
    extent: Extent,
    is_wanted: impl Fn(&[u8]) -> bool,
) -> Result<Option<Place>> {
    if extent == Extent::Whole && !columns.is_empty() && relation::is_foreign(relation) {
        return foreign::find(relation, columns, is_wanted);
    }
    find(relation, columns, extent, is_wanted)
}

/// The first value in `column` of `relation`, of any type of variable length, whose bytes are `is_wanted`. As
/// [`find_anywhere`] of foreign tables.
pub fn find_any(
    relation: pg_sys::Oid,
    column: i16,
    is_wanted: impl Fn(&[u8]) -> bool,
) -> Result<Option<Place>> {
    if relation::is_foreign(relation) {
        return foreign::find_any(relation, column, is_wanted);
    }
    require_here(relation, &[column])?;
    table_scan::with_moment(|now| {
        let mut found = None;
        let each = |seen: &Seen<'_>| {
            if !is_wanted(seen.head) {
                return ControlFlow::Continue(());
            }
            found = Some(Place::of(relation, seen.column, seen.row));
            ControlFlow::Break(())
        };
        let read = table_scan::read_any(now, relation, &[column], ALL_BYTES, Extent::Whole, each)
            .map_err(|Unreadable { column, row, damage }| {
            Error::from(damage).at(Place::of(relation, column, row))
        })?;
        if found.is_none() {
            require_all(now, relation, &read)?;
        }
        Ok(found)
    })
}

/// As many as a value may have.
pub(super) const ALL_BYTES: usize = i32::MAX as usize;

/// An error when a SELECT may see other rows than were read.
fn require_all(moment: &Moment, relation: pg_sys::Oid, read: &Read) -> Result<()> {
    let Read { rows, may_differ } = *read;
    if may_differ {
        let counted = tables::count_rows(relation, moment)?;
        if counted != Some(rows) {
            return Err(Error::RowsUnseen { table: display_name(relation), seen: rows, counted });
        }
    }
    Ok(())
}

fn place(relation: pg_sys::Oid, seen: &Seen<'_>) -> Place {
    Place { key: peek_key_id(seen.head), ..Place::of(relation, seen.column, seen.row) }
}

fn read(
    moment: &Moment,
    relation: pg_sys::Oid,
    columns: &[i16],
    beside: Option<i16>,
    extent: Extent,
    survives: bool,
    each: impl FnMut(&Seen<'_>) -> ControlFlow<()>,
) -> Result<Read> {
    table_scan::read(moment, relation, columns, beside, HEADER_LEN, extent, survives, each).map_err(
        |Unreadable { column, row, damage }| {
            Error::from(damage).at(Place::of(relation, column, row))
        },
    )
}

/// An error when `relation` has such columns and its rows cannot be read from here.
fn require_here(relation: pg_sys::Oid, columns: &[i16]) -> Result<()> {
    let Some(first) = columns.first() else { return Ok(()) };
    let unseen = if relation::is_foreign(relation) {
        Unseen::Foreign(NoProof::NotLocked)
    } else if relation::is_other_sessions(relation) {
        Unseen::OtherSessions
    } else if citus::is_distributed(relation)? {
        Unseen::Distributed
    } else {
        return Ok(());
    };
    let column = column::name(relation, *first).unwrap_or_default();
    Err(Error::CannotLook { column, unseen, table: display_name(relation) })
}
