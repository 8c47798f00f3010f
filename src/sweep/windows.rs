//! Which pages of a table come next, and when all is done.
//!
//! The rows are changed by `envelope.sweep` (`sql/sweep.sql`), with the caller's own rights. The table is read until a
//! whole pass finds no value that is to be changed: rows that others held are met again, and so are those that a
//! concurrent UPDATE moved to pages already read. As the last value may be moved so, what ends it is a look at all of
//! the table at one moment: by the values' headers here or, where these do not say it, by a query over the rows.

use std::ffi::CStr;
use std::ops::Range;

use envelope::header::KeyId;
use pgrx::pg_sys;

use crate::catalog::citus;
use crate::catalog::write::reencryption::{self, Job, Subject, Work};
use crate::census::columns;
use crate::error::{Error, Result};
use crate::keyring::table::{self, Table};
use crate::pg::relation;
use crate::pg::{encoding, lock, table_scan, xact};
use crate::sweep::left::{self, Keys, Left};
use crate::sweep::looking;
use crate::sweep::{distributed, indexing};
use crate::{kek, life};

/// What is to be done next, and the keys in question.
pub struct Window {
    /// How often the table is being read.
    pub pass: i32,
    /// The pages to be worked on; `None`: all rows are to be looked at, since a pass has found nothing.
    pub blocks: Option<Range<i64>>,
    /// The table is read for the next time, and the last time has brought it no further.
    pub is_idle: bool,
    pub keys: Keys,
}

/// 64 MiB: where there is little to do, a statement still ends soon.
const MOST_BLOCKS: i32 = 8192;

/// About as many values of 64 bytes, with a few columns beside them, as a page holds.
const ROWS_A_BLOCK: i32 = 40;

/// More than a page of any size holds: what is noted for one is not more.
const MOST_ROWS_A_BLOCK: i64 = 4096;

/// A call of `CALL envelope.reencrypt`, `seal_column` or `build_index` for one table.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    pub work: Work,
    pub relation: pg_sys::Oid,
    pub column: &'a CStr,
    /// About so many values between two commits.
    pub batch_size: i32,
    /// The first call of a session: a job that had ended begins anew, one that was cut off goes on.
    pub begins: bool,
    /// The table whose partition it is. Nothing is to be done for one that is none of it any more.
    pub within: Option<pg_sys::Oid>,
    /// Whether headers do not say if anything is left, so that rows must be asked.
    pub by_rows: bool,
    /// The column whose values are sealed into the other, where headers say it together with that.
    pub source: Option<left::Source<'a>>,
    /// Whether this session has gone through all of the last pass, and no value that it has met is still to be opened:
    /// then no further pass is needed for that.
    pub is_seen: bool,
}

/// What comes next; `None` when there is nothing left to be done, or the table was dropped or detached. The session
/// that has called it keeps the others out until its transaction ends.
pub fn next_window(call: Call<'_>) -> Result<Option<Window>> {
    let Call { work, relation, begins, .. } = call;
    if call.within.is_some_and(|whole| !stays_part(relation, whole)) {
        return Ok(None);
    }
    let table = work_on(work, relation)?;
    if begins {
        require_no_block(work)?;
    }
    // The column stays what it is while others are waited for.
    lock::keep_relation(relation);
    let number = value_column(work, &table, call.column)?;
    if call.batch_size < 1 {
        return Err(Error::BadArgument("batch_size must be at least 1".into()));
    }
    for whole in call.within.into_iter().chain([relation]) {
        if citus::is_distributed(whole)? {
            return Err(distributed::refused(work, &table, whole, call.column));
        }
    }
    let pages = || relation::pages(relation).ok_or_else(|| table::no_table(relation));
    let active = active_key(work, &table)?;
    let brought_to = match work {
        Work::Index => indexing::key(&table, call.column)?,
        _ => active,
    };
    let window = (call.batch_size / ROWS_A_BLOCK).clamp(1, MOST_BLOCKS);
    let new = || -> Result<Job> { Ok(Job::new(brought_to, pages()?, window)) };
    let column = encoding::to_string(call.column.to_bytes());
    let subject = Subject { work, relation, column: &column };
    let mut job = loop {
        match Job::lock(subject)? {
            Some(job) => break job,
            None => new()?.insert(subject)?,
        }
    };
    let is_other = work != Work::Seal && job.key_id != brought_to;
    if is_other || job.is_finished && begins {
        job.start_over(new()?)?;
    } else if begins {
        job.resume()?;
    }
    let keys = Keys::of(&table, active)?;
    let look = || {
        if call.by_rows {
            return Ok(None);
        }
        let look = |now: &_| left::look(now, work, &table, number, call.source, &keys, false);
        table_scan::with_moment(look).map(Some)
    };
    // Another session may have worked on it, and the table may have been emptied, while it was waited for.
    let (blocks, is_idle) = match go_on(&mut job, call.is_seen, &|| pages().map(i64::from), &look)?
    {
        Next::Pages { is_idle } => {
            let end = job.blocks.min(job.next_block + i64::from(job.window_blocks));
            (Some(job.next_block..end), is_idle)
        }
        Next::Look => (None, false),
        Next::Nothing => return Ok(None),
    };
    Ok(Some(Window { pass: job.pass, blocks, is_idle, keys }))
}

/// 2D000 in a transaction block, where nothing can be committed. PostgreSQL's own error does not say what to do.
pub fn require_no_block(work: Work) -> Result<()> {
    match xact::is_block() {
        true => Err(Error::InTransactionBlock(called(work))),
        false => Ok(()),
    }
}

/// The name of what was called.
fn called(work: Work) -> &'static str {
    match work {
        Work::Reencrypt => "envelope.reencrypt",
        Work::Seal => "envelope.seal_column",
        Work::Index => "envelope.build_index",
    }
}

/// `relation`, for whoever may do that to its values.
pub(super) fn work_on(work: Work, relation: pg_sys::Oid) -> Result<Table> {
    match work {
        Work::Reencrypt | Work::Index => table::to_change(relation),
        Work::Seal => {
            table::require_writable()?;
            let table = table::get(relation)?;
            table.require_seal_right()?;
            table.require_any_open_right()?;
            Ok(table)
        }
    }
}

/// The number of the column whose values it is about.
pub(super) fn value_column(work: Work, table: &Table, column: &CStr) -> Result<i16> {
    let relation = table.relation();
    match work {
        Work::Index => columns::sealable(relation, &indexing::index_in(table, column)?.column_name),
        _ => columns::sealable(relation, column),
    }
}

/// The key that `table` seals under: to seal, one is made if there is none.
fn active_key(work: Work, table: &Table) -> Result<KeyId> {
    if let Some(key) = kek::sealing_key(table)? {
        return Ok(*key);
    }
    if work == Work::Reencrypt {
        return Err(table.no_key());
    }
    life::create_on_first_use(table)?;
    let table = table::get(table.relation())?;
    kek::sealing_key(&table)?.copied().ok_or_else(|| table.no_key_made("in time"))
}

/// After a pass that has found nothing, and a look at all rows: when nothing `is_left`, it has ended; else the table
/// is read again. Whether it has ended.
pub fn settle(work: Work, relation: pg_sys::Oid, name: &CStr, is_left: bool) -> Result<bool> {
    let table = work_on(work, relation)?;
    lock::keep_relation(relation);
    let number = value_column(work, &table, name)?;
    let column = encoding::to_string(name.to_bytes());
    let Some(mut job) = Job::lock(Subject { work, relation, column: &column })? else {
        return Err(none_under_way());
    };
    if is_left {
        let pages = relation::pages(relation).ok_or_else(|| table::no_table(relation))?;
        // What is there stands on some page, whatever the table says of its size.
        next_pass(&mut job, i64::from(pages).max(1))?;
        return Ok(false);
    }
    if work == Work::Index {
        let goal = indexing::goal_of(&table, indexing::index_in(&table, name)?)?;
        if let Some(passed) = looking::passed(relation, &goal) {
            job.finish(&passed)?;
            return Ok(true);
        }
    }
    let active = if work == Work::Index { active_key(work, &table)? } else { job.key_id };
    let keys = Keys::of(&table, active)?;
    let found =
        table_scan::with_moment(|now| left::look(now, work, &table, number, None, &keys, true))?;
    job.finish(&found.passed)?;
    Ok(true)
}

fn none_under_way() -> Error {
    Error::BadArgument("nothing of that kind is under way for that column".into())
}

/// Whether `relation` is `whole` or a partition of it; it stays so to the end of the transaction.
fn stays_part(relation: pg_sys::Oid, whole: pg_sys::Oid) -> bool {
    lock::keep_relation(relation);
    relation == whole || relation::partition_ancestors(relation).contains(&whole)
}

/// What a job does next.
enum Next {
    /// The next pages; whether the last pass was idle.
    Pages {
        is_idle: bool,
    },
    /// Ask all rows.
    Look,
    Nothing,
}

/// Moves a job to its next pass where one has ended. There is nothing left to do when a pass has found nothing, or has
/// changed all that it has found and `is_seen`, and `look` does not find anything either; it answers `None` when it
/// cannot tell. `pages` are the table's now, which may have become
/// fewer; no page is no work.
fn go_on(
    job: &mut Job,
    is_seen: bool,
    pages: &dyn Fn() -> Result<i64>,
    look: &dyn Fn() -> Result<Option<Left>>,
) -> Result<Next> {
    if job.is_finished {
        // Rows may have come from another partition.
        match look()? {
            None => return Ok(Next::Look),
            Some(left) if !left.is_to_do => return Ok(Next::Nothing),
            Some(_) => {}
        }
        (job.found, job.moved) = (0, 0);
        next_pass(job, pages()?.max(1))?;
        return Ok(Next::Pages { is_idle: false });
    }
    let mut is_idle = false;
    loop {
        let blocks = pages()?;
        job.blocks = job.blocks.min(blocks);
        if job.next_block < job.blocks {
            return Ok(Next::Pages { is_idle });
        }
        // A pass that has found something is followed by another, and leaves to it what has been added
        // since, or it would run after its own rows for ever where a trigger puts the old value back.
        // One that has found nothing reads to the end, so that it has seen everything.
        if job.next_block < blocks && job.found == 0 {
            job.blocks = blocks;
            job.store()?;
            return Ok(Next::Pages { is_idle });
        }
        is_idle = job.moved == 0 || job.pass > 1 && job.found > job.left_before;
        if job.found > 0 && !(is_seen && job.found == job.moved) {
            next_pass(job, blocks)?;
            continue;
        }
        let Some(left) = look()? else { return Ok(Next::Look) };
        if !left.is_to_do {
            job.finish(&left.passed)?;
            return Ok(Next::Nothing);
        }
        // What is there stands on some page, whatever the table says of its size.
        next_pass(job, blocks.max(1))?;
        return Ok(Next::Pages { is_idle });
    }
}

fn next_pass(job: &mut Job, blocks: i64) -> Result<()> {
    (job.pass, job.next_block, job.blocks) = (job.pass + 1, 0, blocks);
    (job.left_before, job.found, job.moved, job.damaged) = (job.found - job.moved, 0, 0, 0);
    job.store()
}

/// What was done on some pages.
pub struct Done {
    pub blocks: Range<i64>,
    /// Values that were to be changed.
    pub found: i64,
    /// Those of them that were.
    pub moved: i64,
    /// Values that do not open, and were passed by.
    pub damaged: i64,
}

/// Notes that pages are done. To be called in the transaction that has done it.
pub fn window_done(
    work: Work,
    relation: pg_sys::Oid,
    column: &CStr,
    batch_size: i32,
    done: Done,
) -> Result<()> {
    work_on(work, relation)?;
    let Done { blocks, found, moved, damaged } = done;
    let most = (blocks.end.saturating_sub(blocks.start)).saturating_mul(MOST_ROWS_A_BLOCK);
    if blocks.start < 0
        || blocks.end <= blocks.start
        || blocks.end > i64::from(u32::MAX)
        || found > most
        || !(0..=found).contains(&moved)
        || !(0..=most).contains(&damaged)
    {
        return Err(Error::BadArgument("no window of pages is like that".into()));
    }
    let done = reencryption::Done {
        to_block: blocks.end,
        window_blocks: window_blocks(blocks.end - blocks.start, found, batch_size.into()),
        found,
        moved,
        damaged,
    };
    let column = encoding::to_string(column.to_bytes());
    let is_noted = reencryption::note(Subject { work, relation, column: &column }, &done)?;
    if is_noted { Ok(()) } else { Err(none_under_way()) }
}

/// How many pages are to be next, when `now` pages held `found` values: about as many as hold a
/// batch, at most twice as many as now.
fn window_blocks(now: i64, found: i64, batch_size: i64) -> i32 {
    let twice = now.saturating_mul(2);
    let fitting = now.saturating_mul(batch_size).checked_div(found).unwrap_or(twice);
    let next = fitting.min(twice).clamp(1, MOST_BLOCKS.into());
    i32::try_from(next).unwrap_or(MOST_BLOCKS)
}
