//! Bringing the values of a column to the table's active key, a few pages of the table at a time.
//!
//! What stands here decides which pages come next and when it is done; the rows are changed by
//! `CALL envelope.reencrypt` (`sql/reencrypt.sql`), with the caller's own rights. The table is read
//! until a whole pass finds no value under another key: rows that others held are met again, and so
//! are those that a concurrent UPDATE moved to pages already read. As the last value may be moved so,
//! what ends it is a look at all of the table at one moment.

use std::ffi::CStr;
use std::ops::{ControlFlow, Range};

use envelope::header::{KeyId, peek_key_id};
use pgrx::pg_sys;

use crate::catalog::rows::{self, Purpose, State};
use crate::catalog::tables;
use crate::catalog::write::reencryption::{self, Job};
use crate::census::{columns, look};
use crate::error::{Error, Passed, Result};
use crate::kek;
use crate::keyring::table::{self, Table};
use crate::memory::IdMap;
use crate::pg::relation::{self, display_name};
use crate::pg::table_scan::{self, Moment};
use crate::pg::{encoding, lock, report, xact};

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

/// More than a page of any size holds: what is noted for one is not more.
const MOST_ROWS_A_BLOCK: i64 = 4096;

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
    if begins && xact::is_block() {
        return Err(Error::InTransactionBlock("envelope.reencrypt"));
    }
    // The column stays what it is while others are waited for.
    lock::keep_relation(relation);
    let number = columns::sealable(relation, column)?;
    if batch_size < 1 {
        return Err(Error::BadArgument("batch_size must be at least 1".into()));
    }
    for whole in within.into_iter().chain([relation]) {
        if tables::is_distributed(whole)? {
            return Err(Error::Distributed(display_name(whole)));
        }
    }
    let pages = || relation::pages(relation).ok_or_else(|| table::no_table(relation));
    let Some(&active_key) = kek::sealing_key(&table)? else {
        return Err(table.no_key());
    };
    let window = (batch_size / ROWS_A_BLOCK).clamp(1, MOST_BLOCKS);
    let new = || -> Result<Job> { Ok(Job::new(active_key, pages()?, window)) };
    let column = encoding::to_string(column.to_bytes());
    let mut job = loop {
        match Job::lock(relation, &column)? {
            Some(job) => break job,
            None => new()?.insert(relation, &column)?,
        }
    };
    if job.key_id != active_key || job.is_finished && begins {
        job.start_over(new()?)?;
    } else if begins {
        job.resume()?;
    }
    let old_keys = old_keys(&table, active_key)?;
    let look =
        || table_scan::with_moment(|now| Left::look(now, &table, number, active_key, &old_keys));
    // Another session may have worked on it, and the table may have been emptied, while it was waited for.
    let Some(is_idle) = go_on(&mut job, &|| pages().map(i64::from), &look)? else {
        return Ok(None);
    };
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
    let family = lock::keep_family(relation);
    table_scan::with_moment(|now| {
        let mut left = Vec::new();
        // Foreign partitions and temporary heirs have no values of these keys.
        for member in
            family.into_iter().filter(|member| relation::kind(*member) == relation::Kind::Table)
        {
            let table = table::get(member)?;
            let Some(active_key) = table.active_key() else { continue };
            let (number, old_keys) =
                (columns::sealable(member, column)?, old_keys(&table, active_key)?);
            if let Left::ToDo = Left::look(now, &table, number, active_key, &old_keys)? {
                left.push(member);
            }
        }
        Ok(left)
    })
}

/// What of a column is not under the active key.
enum Left {
    /// At least one value that can be brought to it.
    ToDo,
    /// None but these.
    Passed(Passed),
}

impl Left {
    /// Looks at all values of the table, as they are at one moment.
    fn look(
        now: &Moment,
        table: &Table,
        column: i16,
        active_key: KeyId,
        old_keys: &[KeyId],
    ) -> Result<Left> {
        let (mut passed, mut outcome) = (Passed::default(), Ok(false));
        let mut known = IdMap::default();
        look::at_all(now, table.relation(), &[column], |seen| {
            let key_id = peek_key_id(seen.head);
            let kind = match key_id {
                Some(key_id) if key_id == active_key => return ControlFlow::Continue(()),
                Some(key_id) if old_keys.contains(&key_id) => Ok(None),
                Some(key_id) => match known.get(&key_id) {
                    Some(kind) => Ok(Some(*kind)),
                    None => Kind::of(key_id, table).map(|kind| {
                        // Of unknown ones there may be as many as somebody has made up.
                        if !matches!(kind, Kind::Unknown) {
                            known.insert(key_id, kind);
                        }
                        Some(kind)
                    }),
                },
                None => Ok(Some(Kind::Plaintext)),
            };
            match kind {
                Ok(Some(kind)) => {
                    *kind.count_in(&mut passed) += 1;
                    return ControlFlow::Continue(());
                }
                Ok(None) => outcome = Ok(true),
                Err(error) => outcome = Err(error),
            }
            ControlFlow::Break(())
        })?;
        Ok(if outcome? { Left::ToDo } else { Left::Passed(passed) })
    }
}

/// What re-encryption leaves alone.
#[derive(Clone, Copy)]
enum Kind {
    Plaintext,
    OfOthers,
    Unknown,
    Destroyed,
}

impl Kind {
    /// Of values under `key_id`, which is none that `table` can be brought from.
    fn of(key_id: KeyId, table: &Table) -> Result<Kind> {
        Ok(match rows::data_key(key_id)? {
            None => Kind::Unknown,
            Some(row) if table.keyrings().any(|id| id == row.keyring_id) => Kind::Destroyed,
            Some(_) => Kind::OfOthers,
        })
    }

    fn count_in(self, passed: &mut Passed) -> &mut i64 {
        match self {
            Kind::Plaintext => &mut passed.plaintext,
            Kind::OfOthers => &mut passed.of_others,
            Kind::Unknown => &mut passed.unknown,
            Kind::Destroyed => &mut passed.destroyed,
        }
    }
}

/// Tells which values of `column` the re-encryption of `relation` has left alone, by a WARNING; when it
/// is to be `strict`, by an error.
pub fn tell_passed(relation: pg_sys::Oid, column: &CStr, strict: bool) -> Result<()> {
    table::to_change(relation)?;
    if tables::is_distributed(relation)? {
        return Err(Error::Distributed(display_name(relation)));
    }
    let (foreign, read): (Vec<_>, Vec<_>) = relation::partitions(relation)
        .into_iter()
        .partition(|member| relation::is_foreign(*member));
    let name = encoding::to_string(column.to_bytes());
    let mut passed =
        Passed { foreign: foreign.into_iter().map(display_name).collect(), ..Passed::default() };
    for member in read.into_iter().filter(|member| relation::pages(*member).is_some()) {
        match passed_in(member, column, &name)? {
            Some(of_member) => passed.add(&of_member),
            None if strict => return Err(Error::ChangedMeanwhile(display_name(relation))),
            None => {}
        }
    }
    let (table, column) = (display_name(relation), name);
    if passed.is_none() {
        return Ok(());
    }
    let hint = passed.hint(&table, &column);
    let detail = passed.to_string();
    let error = Error::PassedBy { table, column, passed: Box::new(passed) };
    if strict {
        return Err(error);
    }
    report::warning_at_length(error.to_string(), detail, hint);
    Ok(())
}

/// What was left alone in one table: as its own look at the end has found or, where there was none (it was
/// attached since, or another session is at it again), as it is now. `None`: there is more to do.
fn passed_in(relation: pg_sys::Oid, column: &CStr, name: &str) -> Result<Option<Passed>> {
    let table = table::get(relation)?;
    let Some(active_key) = table.active_key() else { return Ok(None) };
    if let Some(passed) = reencryption::passed(relation, name, active_key)? {
        return Ok(Some(passed));
    }
    lock::keep_relation(relation);
    let (number, old_keys) = (columns::sealable(relation, column)?, old_keys(&table, active_key)?);
    let left =
        table_scan::with_moment(|now| Left::look(now, &table, number, active_key, &old_keys));
    Ok(match left? {
        Left::ToDo => None,
        Left::Passed(passed) => Some(passed),
    })
}

/// Whether `relation` is `whole` or a partition of it; it stays so to the end of the transaction.
fn stays_part(relation: pg_sys::Oid, whole: pg_sys::Oid) -> bool {
    lock::keep_relation(relation);
    relation == whole || relation::partition_ancestors(relation).contains(&whole)
}

/// Moves a job to its next pass where one has ended: whether the last pass was idle. `None` when there is
/// nothing left to do: a pass has found nothing, and `look` does not either. `pages` are the table's now,
/// which may have become fewer; no page is no work.
fn go_on(
    job: &mut Job,
    pages: &dyn Fn() -> Result<i64>,
    look: &dyn Fn() -> Result<Left>,
) -> Result<Option<bool>> {
    if job.is_finished {
        // Rows may have come from another partition.
        if let Left::Passed(_) = look()? {
            return Ok(None);
        }
        (job.found, job.moved) = (0, 0);
        next_pass(job, pages()?.max(1))?;
        return Ok(Some(false));
    }
    let mut is_idle = false;
    loop {
        let blocks = pages()?;
        job.blocks = job.blocks.min(blocks);
        if job.next_block < job.blocks {
            return Ok(Some(is_idle));
        }
        // A pass that has found something is followed by another, and leaves to it what has been added
        // since, or it would run after its own rows for ever where a trigger puts the old value back.
        // One that has found nothing reads to the end, so that it has seen everything.
        if job.next_block < blocks && job.found == 0 {
            job.blocks = blocks;
            job.store()?;
            return Ok(Some(is_idle));
        }
        is_idle = job.moved == 0 || job.pass > 1 && job.found > job.left_before;
        if job.found > 0 {
            next_pass(job, blocks)?;
            continue;
        }
        if let Left::Passed(passed) = look()? {
            job.finish(&passed)?;
            return Ok(None);
        }
        // What is there stands on some page, whatever the table says of its size.
        next_pass(job, blocks.max(1))?;
        return Ok(Some(is_idle));
    }
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
    let most = (blocks.end.saturating_sub(blocks.start)).saturating_mul(MOST_ROWS_A_BLOCK);
    if blocks.start < 0
        || blocks.end <= blocks.start
        || blocks.end > i64::from(u32::MAX)
        || found > most
        || !(0..=found).contains(&moved)
    {
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
