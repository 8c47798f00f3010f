//! Bringing the values of a column to the table's active key, a few pages of the table at a time.
//!
//! What stands here decides which pages come next and when it is done; the rows are changed by
//! `CALL envelope.reencrypt` (`sql/reencrypt.sql`), with the caller's own rights. The table is read
//! until a whole pass finds no value under another key: rows that others held are met again, and so
//! are those that a concurrent UPDATE moved to pages already read. As the last value may be moved so,
//! what ends it is a look at all of the table at one moment.

use std::ffi::CStr;
use std::ops::Range;

use envelope::header::{HEADER_LEN, KeyId, peek_key_id};
use pgrx::pg_sys;

use crate::catalog::rows::{self, Purpose, State};
use crate::catalog::write::reencryption::{self, Job};
use crate::error::{Error, Result};
use crate::keyring::columns;
use crate::keyring::table::{self, Table};
use crate::pg::relation::{self, display_name};
use crate::pg::table_scan::{self, Extent, Moment};
use crate::pg::{encoding, lock};

/// Pages to be worked on, and the keys in question.
pub struct Window {
    /// How often the table is being read.
    pub pass: i32,
    pub from_block: i64,
    pub to_block: i64,
    /// The table is read for the next time, and the last time has brought it no further.
    pub is_idle: bool,
    pub active_key: KeyId,
    /// The other keys that values of the table may be under, destroyed ones left out.
    pub old_keys: Vec<KeyId>,
}

/// 64 MiB: where there is little to do, a statement still ends soon.
const MOST_BLOCKS: i32 = 8192;

/// About as many values of 64 bytes, with a few columns beside them, as a page holds.
const ROWS_A_BLOCK: i32 = 40;

/// The pages of `relation` that come next; `None` when no value of `column` is left under another
/// key than the active one. `begins` tells the first call of a session: one that had ended begins
/// anew, one that was cut off goes on. Nor is there anything to do when `relation` is no partition
/// of `within` any more, but dropped or detached. The session that has called it keeps the others
/// out until its transaction ends.
pub fn next_window(
    relation: pg_sys::Oid,
    column: &CStr,
    batch_size: i32,
    begins: bool,
    within: Option<pg_sys::Oid>,
) -> Result<Option<Window>> {
    if within.is_some_and(|whole| !stays_part(relation, whole)) {
        return Ok(None);
    }
    let table = table::to_change(relation)?;
    // The column stays what it is while others are waited for.
    lock::keep_relation(relation);
    let number = columns::bytea(relation, column)?;
    if batch_size < 1 {
        return Err(Error::BadArgument("batch_size must be at least 1".into()));
    }
    let Some(blocks) = relation::pages(relation) else {
        return Err(Error::NotATable { what: "relation", table: display_name(relation) });
    };
    let Some(&active_key) = table.sealing_key()? else {
        return Err(table.no_key());
    };
    let new = || Job::new(active_key, blocks, (batch_size / ROWS_A_BLOCK).clamp(1, MOST_BLOCKS));
    let column = encoding::to_string(column.to_bytes());
    let mut job = loop {
        match Job::lock(relation, &column)? {
            Some(job) => break job,
            None => new().insert(relation, &column)?,
        }
    };
    if job.key_id != active_key || job.is_finished && begins {
        job.start_over(new())?;
    } else if begins {
        job.resume()?;
    }
    let old_keys = old_keys(&table, active_key)?;
    let is_left = || table_scan::at_one_moment(|now| has_any(now, relation, number, &old_keys));
    let Some(is_idle) = go_on(&mut job, blocks.into(), is_left)? else { return Ok(None) };
    Ok(Some(Window {
        pass: job.pass,
        from_block: job.next_block,
        to_block: job.blocks.min(job.next_block + i64::from(job.window_blocks)),
        is_idle,
        active_key,
        old_keys,
    }))
}

/// The partitions of `relation` where values of `column` are left under another key than the active
/// one, all looked at as they are at one moment: an UPDATE may move a row from one to another, of
/// which the first was still to be read and the second was done.
pub fn partitions_left(relation: pg_sys::Oid, column: &CStr) -> Result<Vec<pg_sys::Oid>> {
    table::to_change(relation)?;
    let family = lock::lock_family(relation, false);
    table_scan::at_one_moment(|now| {
        let mut left = Vec::new();
        for member in family.into_iter().filter(|member| !relation::is_foreign(*member)) {
            let table = table::get(member)?;
            let Some(active_key) = table.active_key() else { continue };
            let old_keys = old_keys(&table, active_key)?;
            if has_any(now, member, columns::bytea(member, column)?, &old_keys) {
                left.push(member);
            }
        }
        Ok(left)
    })
}

fn has_any(now: &Moment, relation: pg_sys::Oid, column: i16, keys: &[KeyId]) -> bool {
    let is_one = |header: &[u8]| peek_key_id(header).is_some_and(|key| keys.contains(&key));
    table_scan::find_at(now, relation, &[column], HEADER_LEN, Extent::Whole, is_one).is_some()
}

/// Whether `relation` is `whole` or a partition of it; it stays so to the end of the transaction.
fn stays_part(relation: pg_sys::Oid, whole: pg_sys::Oid) -> bool {
    lock::keep_relation(relation);
    relation == whole || relation::partition_ancestors(relation).contains(&whole)
}

/// Moves a job to its next pass where one has ended, the table having `blocks` pages now: whether
/// the last pass was idle. `None` when there is nothing left to do: a pass has found nothing, and
/// `is_left` does not either.
fn go_on(job: &mut Job, blocks: i64, is_left: impl FnOnce() -> bool) -> Result<Option<bool>> {
    if job.is_finished {
        // Rows may have come from another partition.
        if !is_left() {
            return Ok(None);
        }
        (job.found, job.moved) = (0, 0);
        return next_pass(job, blocks).map(|()| Some(false));
    }
    if job.next_block < job.blocks {
        return Ok(Some(false));
    }
    // A pass that has found something is followed by another, and leaves to it what has been added
    // since, or it would run after its own rows for ever where a trigger puts the old value back.
    // One that has found nothing reads to the end, so that it has seen everything.
    if job.blocks < blocks && job.found == 0 {
        job.blocks = blocks;
        job.store()?;
        return Ok(Some(false));
    }
    if job.found == 0 && !is_left() {
        job.finish()?;
        return Ok(None);
    }
    let is_idle = job.moved == 0 || job.pass > 1 && job.found > job.left_before;
    next_pass(job, blocks)?;
    Ok(Some(is_idle))
}

fn next_pass(job: &mut Job, blocks: i64) -> Result<()> {
    (job.pass, job.next_block, job.blocks) = (job.pass + 1, 0, blocks);
    (job.left_before, job.found, job.moved) = (job.found - job.moved, 0, 0);
    job.store()
}

/// Notes that the pages from `blocks.start` up to `blocks.end` are done: `found` values were under
/// other keys, of which `moved` were brought to the active one. To be called in the transaction that
/// has done it.
pub fn window_done(
    relation: pg_sys::Oid,
    column: &CStr,
    batch_size: i32,
    blocks: Range<i64>,
    found: i64,
    moved: i64,
) -> Result<()> {
    table::to_change(relation)?;
    if blocks.start < 0 || blocks.end <= blocks.start || !(0..=found).contains(&moved) {
        return Err(Error::BadArgument("no window of pages is like that".into()));
    }
    let done = reencryption::Done {
        to_block: blocks.end,
        window_blocks: window_blocks(blocks.end - blocks.start, found, batch_size.into()),
        found,
        moved,
    };
    if reencryption::note(relation, &encoding::to_string(column.to_bytes()), &done)? {
        Ok(())
    } else {
        Err(Error::BadArgument("no re-encryption of that column is under way".into()))
    }
}

/// How many pages are to be next, when `now` pages held `found` values: about as many as hold a
/// batch, at most twice as many as now.
fn window_blocks(now: i64, found: i64, batch_size: i64) -> i32 {
    let twice = now.saturating_mul(2);
    let fitting = now.saturating_mul(batch_size).checked_div(found).unwrap_or(twice);
    let next = fitting.min(twice).clamp(1, MOST_BLOCKS.into());
    i32::try_from(next).unwrap_or(MOST_BLOCKS)
}

fn old_keys(table: &Table, active_key: KeyId) -> Result<Vec<KeyId>> {
    let mut old = Vec::new();
    // Those too that the role may not open with: a value under one of their keys is an error, and not
    // passed by.
    for keyring_id in table.keyrings() {
        let keys = rows::data_keys(keyring_id)?.into_iter();
        old.extend(
            keys.filter(|key| {
                key.purpose == Purpose::Seal
                    && key.state != State::Destroyed
                    && key.key_id != active_key
            })
            .map(|key| key.key_id),
        );
    }
    Ok(old)
}
