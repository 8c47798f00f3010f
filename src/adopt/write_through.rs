//! `envelope.write_through('opened', 'input', 'sealed', …)`: the INSTEAD OF triggers of a view whose opened columns are
//! written to. What is written to `opened` goes into the table's column that the view shows as `input`; `sealed` is the
//! one that holds the sealed value, mostly the same.
//!
//! The table is written to as the current role, so that its rights, triggers and policies count. An UPDATE writes what
//! differs from the row that the statement has read, and only if that row is still so: else two sessions that each
//! add one to a number would add one together.

mod chosen;
mod statements;
mod way;

use pgrx::pg_sys;

use self::chosen::Chosen;
use self::way::{Pair, Way};
use crate::catalog::rows::Verb;
use crate::error::{Error, Result, ViewError};
use crate::keyring::table;
use crate::pg::relation::display_name;
use crate::pg::steps::{Ran, Step};
use crate::pg::trigger::{TriggerCall, Values, is_same_value};
use crate::pg::{acl, column, encoding, xact};

/// What a statement does to the table.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Written {
    Insert,
    /// An INSERT by a role that may not read the row.
    Unseen,
    Update,
    Delete,
    /// Nothing: it looks at the row with the key.
    Look,
}

/// What is to be done for the row that the trigger is called for.
pub fn write(call: &TriggerCall<'_>) -> Result<Step<Written>> {
    if !call.is_instead() {
        return Err(ViewError::Misuse("must fire INSTEAD OF, on a view").into());
    }
    let way = way::of(call)?;
    if call.is_insert() {
        insert(call, &way)
    } else if call.is_update() {
        update(call, &way)
    } else {
        step(&way, Written::Delete, &Chosen::default(), as_read(&way, &call.old_values()))
    }
}

fn insert(call: &TriggerCall<'_>, way: &Way) -> Result<Step<Written>> {
    let new = call.new_values();
    let mut chosen = Chosen::default();
    for &at in &way.stored {
        // What PostgreSQL makes itself it makes when the column is not named.
        if new.at(at).is_some() || !way.is_made(at) {
            chosen.add(at);
        }
    }
    for pair in &way.pairs {
        if new.at(pair.opened).is_some() {
            if new.at(pair.input).is_some() {
                return Err(both_given(way, pair));
            }
            chosen.add(pair.opened);
        }
    }
    let parameters = Values::taken(chosen.iter().map(|at| new.at(at)), chosen.len());
    let what = if may_read(way) { Written::Insert } else { Written::Unseen };
    step(way, what, &chosen, parameters)
}

/// Whether the current role may read what the view shows of a row. Who may only insert into the table may do so
/// through the view, and has PostgreSQL refuse to show what comes back.
fn may_read(way: &Way) -> bool {
    let role = acl::current_role();
    let mut columns = way.stored.iter().filter_map(|&at| way.shown.columns[at].stored);
    acl::may_read(role, way.table)
        || columns.all(|column| acl::may_read_column(role, way.table, column))
}

fn update(call: &TriggerCall<'_>, way: &Way) -> Result<Step<Written>> {
    let (old, mut new) = (call.old_values(), call.new_values());
    let differs =
        |new: &Values<'_>, at: usize| !is_same_value(old.at(at), new.at(at), way.kind(at));
    let mut chosen = Chosen::default();
    for &at in &way.stored {
        if differs(&new, at) {
            chosen.add(at);
        }
    }
    for pair in &way.pairs {
        if !differs(&new, pair.opened) {
            continue;
        }
        if chosen.has(pair.input) || chosen.has(pair.sealed) {
            return Err(both_given(way, pair));
        }
        require_shown(way, pair)?;
        if new.at(pair.opened).is_none() && pair.sealed != pair.input {
            // By way of its source a value cannot be erased.
            new.set(pair.sealed, None);
            chosen.add(pair.sealed);
        } else {
            chosen.add(pair.opened);
        }
    }
    if chosen.len() == 0 {
        return Ok(Step::Answer(Some(call.as_given())));
    }
    let count = chosen.len() + way.image.len();
    let read = way.image.iter().map(|&at| old.at(at));
    let parameters = Values::taken(chosen.iter().map(|at| new.at(at)).chain(read), count);
    step(way, Written::Update, &chosen, parameters)
}

/// What comes after a statement: the row as it stands then, as PostgreSQL has INSTEAD OF triggers answer; `None` when the
/// table takes nothing, and says so by no error.
pub fn written(call: &TriggerCall<'_>, what: Written, ran: &Ran) -> Result<Step<Written>> {
    let way = way::of(call)?;
    let rows = ran.rows.map_err(|code| not_run(format!("SPI: {code}")))?;
    let answer = match (what, rows) {
        (Written::Look, _) => look(&way, rows, ran)?,
        (Written::Insert | Written::Unseen, 0) => None,
        (Written::Unseen, _) => Some(call.as_given()),
        (Written::Update | Written::Delete, 0) => {
            let read = as_read(&way, &call.old_values());
            return step(&way, Written::Look, &Chosen::default(), read);
        }
        (Written::Delete, 1) => Some(pg_sys::Datum::from(call.old_tuple())),
        // SAFETY: the statements give the view's columns.
        (_, 1) => Some(unsafe { ran.first_row(call.descriptor()) }),
        _ => return Err(several(&way)),
    };
    Ok(Step::Answer(answer))
}

/// No row was touched. If the row still is as it was read, the table has refused it without an error, by a trigger or a
/// row security policy, and the statement passes over it as one on the table would.
fn look(way: &Way, rows: u64, ran: &Ran) -> Result<Option<pg_sys::Datum>> {
    let (view, table) = (display_name(way.view), display_name(way.table));
    if rows == 0 {
        return Err(ViewError::NotAsRead { view, table }.into());
    }
    // SAFETY: the statement gives a boolean and a transaction's number, neither of them NULL.
    let (is_as_read, writer) = unsafe { (ran.first_value(1), ran.first_value(2)) };
    if is_as_read.value() != 0 {
        Ok(None)
    } else if xact::is_own(writer.value() as u32) {
        Err(ViewError::ChangedBefore { view, table }.into())
    } else {
        Err(ViewError::NotAsRead { view, table }.into())
    }
}

fn step(
    way: &Way,
    what: Written,
    chosen: &Chosen,
    parameters: Values<'_>,
) -> Result<Step<Written>> {
    Ok(Step::Run(way.plan(what, chosen)?.with(&parameters), what))
}

fn as_read<'a>(way: &Way, old: &Values<'_>) -> Values<'a> {
    Values::taken(way.image.iter().map(|&at| old.at(at)), way.image.len())
}

fn not_run(why: String) -> Error {
    Error::Corrupt(format!("a statement could not be run: {why}"))
}

/// Whoever does not see a value has a mask in its place, which must not become the value.
fn require_shown(way: &Way, pair: &Pair) -> Result<()> {
    if table::get(way.table)?.allows(Verb::Decrypt) {
        return Ok(());
    }
    let (opened, input) = (name(way, pair.opened), name(way, pair.input));
    Err(ViewError::Masked { opened, input, view: display_name(way.view) }.into())
}

#[cold]
fn both_given(way: &Way, pair: &Pair) -> Error {
    let (opened, input) = (name(way, pair.opened), name(way, pair.input));
    ViewError::BothGiven { opened, input, view: display_name(way.view) }.into()
}

#[cold]
fn several(way: &Way) -> Error {
    let (view, table) = (display_name(way.view), display_name(way.table));
    ViewError::SeveralRows { view, table }.into()
}

/// The name of a column of the view, for messages.
fn name(way: &Way, at: usize) -> String {
    let number = i16::try_from(at + 1).unwrap_or(i16::MAX);
    let name = column::raw_name(way.view, number);
    name.map_or_else(String::new, |name| encoding::to_string(name.to_bytes()))
}
