//! What `CALL envelope.reencrypt` and `CALL envelope.seal_column` are built of.

use std::ffi::{CStr, CString};

use envelope::header::{HEADER_LEN, KeyId, peek_key_id};
use pgrx::datum::Uuid;
use pgrx::iter::TableIterator;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{name, pg_extern, pg_sys};

use crate::error::{Error, Place, Result};
use crate::keyring;
use crate::pg::call::{Arguments, finfo, row_function};
use crate::pg::damage::{self, Damage};
use crate::pg::datum::UuidBuf;
use crate::pg::encoding;
use crate::pg::relation::display_name;
use crate::pg::steps::{self, Ran, Step};
use crate::pg::varlena::{VarlenaBuf, is_at_hand};
use crate::sql::arguments::{LONGEST_CONTEXT, required};
use crate::sql::begin;
use crate::sql::values::{utf8, with_value};
use crate::sweep::{self, Call, Done, Source, Window, Work, batch};
use crate::values::{self, Contexts};

row_function!(envelope_reseal_wrapper, |fcinfo| {
    with_value(fcinfo, |relation, context, sealed| {
        let resealed = values::reseal(relation, context, sealed)?;
        Ok(resealed.unwrap_or_else(|| VarlenaBuf::copy_of(sealed)))
    })
});

// What re-encryption does with each row: an error says which.
row_function!(envelope_resealed_wrapper, |fcinfo| {
    with_contexts(fcinfo, |relation, contexts, sealed| {
        let resealed = values::reseal_under(relation, contexts, sealed)?;
        Ok(resealed.unwrap_or_else(|| VarlenaBuf::copy_of(sealed)))
    })
});

row_function!(envelope_key_id_at_wrapper, |fcinfo| {
    // SAFETY: the call's own information; the argument is declared bytea.
    let header = reading(fcinfo, || unsafe { Arguments::of(fcinfo).first_bytes(1, HEADER_LEN) });
    match header {
        Ok(header) => {
            let key_id = header.and_then(|header| peek_key_id(&header));
            Ok(key_id.map(|key_id| UuidBuf::copy_of(&key_id.0).into_datum()))
        }
        Err(damage) => Err(Error::from(damage).at(place(fcinfo, 2, None))),
    }
});

/// [`with_value`], whose fourth argument is a context that the value may have had before, whose fifth is its column
/// and whose sixth is its row's ctid.
fn with_contexts(
    fcinfo: pg_sys::FunctionCallInfo,
    work: impl FnOnce(pg_sys::Oid, Contexts<'_>, &[u8]) -> Result<VarlenaBuf>,
) -> Result<Option<pg_sys::Datum>> {
    // SAFETY: the call's own information; the argument is declared text.
    let former = unsafe { Arguments::of(fcinfo).varlena(3) };
    if former.as_ref().is_some_and(|former| former.len() > LONGEST_CONTEXT) {
        return Err(Error::ContextTooLong);
    }
    let former = former.as_deref().map(utf8).transpose()?;
    let read = reading(fcinfo, || {
        with_value(fcinfo, |relation, now, sealed| {
            work(relation, Contexts { now, former: former.as_deref() }, sealed)
                .map_err(|error| error.at(place(fcinfo, 4, peek_key_id(sealed))))
        })
    });
    read.unwrap_or_else(|damage| Err(Error::from(damage).at(place(fcinfo, 4, None))))
}

/// As [`damage::reading`], of the second argument, a value: one that stands in its row can be read, which need not be
/// found out.
pub(super) fn reading<T>(
    fcinfo: pg_sys::FunctionCallInfo,
    read: impl FnOnce() -> T,
) -> std::result::Result<T, Damage> {
    // SAFETY: the call's own information; the argument is declared bytea.
    let value = unsafe { Arguments::of(fcinfo) }.datum(1);
    // SAFETY: as above, and not NULL.
    match value.is_none_or(|value| unsafe { is_at_hand(value) }) {
        true => Ok(read()),
        false => damage::reading(read),
    }
}

/// Where the value stands: its table is the first argument, its column the one at `column`, and its row's
/// ctid the one behind that.
#[cold]
pub(super) fn place(fcinfo: pg_sys::FunctionCallInfo, column: usize, key: Option<KeyId>) -> Place {
    // SAFETY: the call's own information; the last two are declared (name, tid).
    let (relation, column, row) = unsafe {
        let arguments = Arguments::of(fcinfo);
        (arguments.oid(0), arguments.name(column), arguments.tid(column + 1))
    };
    let column = column.map(|name| encoding::to_string(name.to_bytes())).unwrap_or_default();
    Place { table: display_name(relation.unwrap_or_default()), column, row, key }
}

finfo!(envelope_sweep_run_wrapper);

/// Not as other functions are, under one guard: errors of users' triggers are to come out as they are. See [`steps`].
#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn envelope_sweep_run_wrapper(
    fcinfo: pg_sys::FunctionCallInfo,
) -> pg_sys::Datum {
    // SAFETY: the call's own information; nothing here is to be dropped.
    unsafe { steps::run(fcinfo, run, has_run) }
}

fn run(fcinfo: pg_sys::FunctionCallInfo) -> Result<Step<()>> {
    begin(fcinfo);
    // SAFETY: the call's own information; the first argument is declared text.
    let (arguments, sql) = unsafe {
        let arguments = Arguments::of(fcinfo);
        (arguments, arguments.varlena(0))
    };
    let sql = CString::new(&*required(sql, "statement")?);
    let sql = sql.map_err(|_| Error::BadArgument("statement must be SQL".into()))?;
    let parameters = [1, 2, 3, 4].map(|at| arguments.datum(at));
    Ok(Step::Run(batch::statement(&sql, parameters)?, ()))
}

fn has_run(_: pg_sys::FunctionCallInfo, (): (), ran: &Ran) -> Result<Step<()>> {
    let rows = ran.rows.map_err(batch::not_run)?;
    Ok(Step::Answer(Some(pg_sys::Datum::from(rows as i64))))
}

row_function!(envelope_sweep_is_met_wrapper, |_| {
    batch::leave_alone();
    Ok::<_, Error>(Some(pg_sys::Datum::from(false)))
});

row_function!(envelope_sweep_left_alone_wrapper, |_| {
    Ok::<_, Error>(Some(pg_sys::Datum::from(batch::left_alone() as i64)))
});

#[pg_extern(sql = false)]
#[allow(
    clippy::type_complexity,
    clippy::too_many_arguments,
    reason = "pgrx takes both from the signature"
)]
fn envelope_sweep_window(
    work: Option<&str>,
    relation: Option<pg_sys::Oid>,
    column_name: Option<&CStr>,
    batch_size: Option<i32>,
    begins: Option<bool>,
    within: Option<pg_sys::Oid>,
    by_rows: Option<bool>,
    is_seen: Option<bool>,
    source: Option<&CStr>,
    is_emptied: Option<bool>,
) -> std::result::Result<
    TableIterator<
        'static,
        (
            name!(pass, i32),
            name!(from_block, Option<i64>),
            name!(to_block, Option<i64>),
            name!(is_idle, bool),
            name!(active_key, Uuid),
            name!(old_keys, Vec<Uuid>),
        ),
    >,
    ErrorReport,
> {
    keyring::begin_statement(None);
    let window = sweep::next_window(Call {
        work: named(work)?,
        relation: required(relation, "relation")?,
        column: required(column_name, "column_name")?,
        batch_size: required(batch_size, "batch_size")?,
        begins: required(begins, "begins")?,
        within,
        by_rows: required(by_rows, "by_rows")?,
        source: source
            .map(|name| {
                Ok::<_, Error>(Source { name, is_emptied: required(is_emptied, "is_emptied")? })
            })
            .transpose()?,
        is_seen: required(is_seen, "is_seen")?,
    })?;
    Ok(TableIterator::new(window.into_iter().map(|window: Window| {
        (
            window.pass,
            window.blocks.as_ref().map(|blocks| blocks.start),
            window.blocks.as_ref().map(|blocks| blocks.end),
            window.is_idle,
            uuid(window.keys.active),
            window.keys.old.into_iter().map(uuid).collect(),
        )
    })))
}

#[pg_extern(sql = false)]
#[allow(clippy::too_many_arguments, reason = "pgrx takes the arguments from the signature")]
fn envelope_sweep_note(
    work: Option<&str>,
    relation: Option<pg_sys::Oid>,
    column_name: Option<&CStr>,
    batch_size: Option<i32>,
    from_block: Option<i64>,
    to_block: Option<i64>,
    met: Option<i64>,
    moved: Option<i64>,
    damaged: Option<i64>,
) -> std::result::Result<(), ErrorReport> {
    keyring::begin_statement(None);
    Ok(sweep::window_done(
        named(work)?,
        required(relation, "relation")?,
        required(column_name, "column_name")?,
        required(batch_size, "batch_size")?,
        Done {
            blocks: required(from_block, "from_block")?..required(to_block, "to_block")?,
            found: required(met, "met")?,
            moved: required(moved, "moved")?,
            damaged: required(damaged, "damaged")?,
        },
    )?)
}

#[pg_extern(sql = false)]
fn envelope_sweep_begins(work: Option<&str>) -> std::result::Result<(), ErrorReport> {
    Ok(sweep::require_no_block(named(work)?)?)
}

#[pg_extern(sql = false)]
fn envelope_sweep_settle(
    work: Option<&str>,
    relation: Option<pg_sys::Oid>,
    column_name: Option<&CStr>,
    is_left: Option<bool>,
) -> std::result::Result<bool, ErrorReport> {
    keyring::begin_statement(None);
    Ok(sweep::settle(
        named(work)?,
        required(relation, "relation")?,
        required(column_name, "column_name")?,
        required(is_left, "is_left")?,
    )?)
}

#[pg_extern(sql = false)]
#[allow(clippy::type_complexity, reason = "pgrx takes the columns from the signature")]
fn envelope_sweep_family(
    relation: Option<pg_sys::Oid>,
) -> std::result::Result<
    TableIterator<
        'static,
        (
            name!(parts, Vec<pg_sys::Oid>),
            name!(active_key, Option<Uuid>),
            name!(old_keys, Vec<Uuid>),
        ),
    >,
    ErrorReport,
> {
    keyring::begin_statement(None);
    let family = sweep::family(required(relation, "relation")?)?;
    let old_keys = family.old_keys.into_iter().map(uuid).collect();
    Ok(TableIterator::once((family.parts, family.active_key.map(uuid), old_keys)))
}

#[pg_extern(sql = false)]
fn envelope_sweep_ended(
    work: Option<&str>,
    relation: Option<pg_sys::Oid>,
    column_name: Option<&CStr>,
    strict: Option<bool>,
) -> std::result::Result<bool, ErrorReport> {
    keyring::begin_statement(None);
    Ok(sweep::tell_passed(
        named(work)?,
        required(relation, "relation")?,
        required(column_name, "column_name")?,
        required(strict, "strict")?,
    )?)
}

fn named(work: Option<&str>) -> Result<Work> {
    let unknown = || Error::BadArgument("work must be \"reencrypt\", \"seal\" or \"index\"".into());
    Work::named(required(work, "work")?).ok_or_else(unknown)
}

fn uuid(key_id: KeyId) -> Uuid {
    Uuid::from_bytes(key_id.0)
}
