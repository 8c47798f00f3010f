//! How far a re-encryption, the sealing of a column or the building of an index has come. The row is locked while a part of the table is being worked
//! on, so that two sessions take turns instead of doing the same.

use envelope::header::KeyId;
use pgrx::datum::{DatumWithOid, Uuid as PgUuid};
use pgrx::pg_sys;
use pgrx::spi::{self, Spi, SpiHeapTupleData};
use uuid::Uuid;

use super::{pg_uuid, random_uuid, touch};
use crate::catalog::schema;
use crate::error::{Error, Passed, Result};
use crate::pg::owner::ActingAsOwner;
use crate::pg::spi::run_kept;

/// What is done with each value of a column.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Brought to the active key.
    Reencrypt,
    /// Sealed, where it is not.
    Seal,
    /// Given its terms, in the column of an index: that column is the job's.
    Index,
}

impl Work {
    /// As it stands in the catalog.
    pub fn name(self) -> &'static str {
        match self {
            Work::Reencrypt => "reencrypt",
            Work::Seal => "seal",
            Work::Index => "index",
        }
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<Work> {
        [Work::Reencrypt, Work::Seal, Work::Index].into_iter().find(|work| work.name() == name)
    }
}

/// A column of a table, and what is done with its values.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    pub work: Work,
    pub relation: pg_sys::Oid,
    pub column: &'a str,
}

impl Subject<'_> {
    fn arguments(&self) -> [DatumWithOid<'_>; 3] {
        [self.relation.into(), self.column.as_bytes().into(), self.work.name().as_bytes().into()]
    }
}

/// A row of `envelope.reencryption`; what its fields mean is said there.
pub struct Job {
    id: Uuid,
    pub key_id: KeyId,
    pub pass: i32,
    pub next_block: i64,
    pub blocks: i64,
    pub window_blocks: i32,
    pub found: i64,
    pub moved: i64,
    pub left_before: i64,
    pub damaged: i64,
    pub is_finished: bool,
}

impl Job {
    /// The job of a column, locked to the end of the transaction.
    pub fn lock(subject: Subject<'_>) -> Result<Option<Job>> {
        query_kept(
            "SELECT id, key_id, pass, next_block, blocks, window_blocks, found, moved,
                    left_before, finished_at IS NOT NULL, rows_damaged
             FROM envelope.reencryption
             WHERE relation::oid = $1 AND relation::oid <> 0::oid AND column_name = convert_from($2, 'UTF8')::name
               AND work = convert_from($3, 'UTF8')
             FOR UPDATE",
            &subject.arguments(),
            Job::read,
        )
    }

    /// Stores a new one, unless another session has: [`Self::lock`] then gives that one.
    pub fn insert(&self, subject: Subject<'_>) -> Result<()> {
        let [relation, column, work] = subject.arguments();
        query(
            "INSERT INTO envelope.reencryption
               (relation, column_name, work, id, key_id, blocks, window_blocks)
             VALUES ($1::regclass, convert_from($2, 'UTF8')::name, convert_from($3, 'UTF8'), $4, $5, $6, $7)
             ON CONFLICT DO NOTHING RETURNING 1",
            &[
                relation,
                column,
                work,
                pg_uuid(random_uuid()?),
                pg_uuid(self.key_id.into()),
                self.blocks.into(),
                self.window_blocks.into(),
            ],
            |_| Ok(()),
        )?;
        Ok(())
    }

    /// One that has done nothing yet.
    pub fn new(key_id: KeyId, blocks: u32, window_blocks: i32) -> Job {
        Job {
            id: Uuid::nil(),
            key_id,
            pass: 1,
            next_block: 0,
            blocks: blocks.into(),
            window_blocks,
            found: 0,
            moved: 0,
            left_before: 0,
            damaged: 0,
            is_finished: false,
        }
    }

    /// Begins from the start, as `new`.
    pub fn start_over(&mut self, new: Job) -> Result<()> {
        *self = Job { id: self.id, ..new };
        self.update(
            "rows_done = 0, rows_skipped = 0, rows_at_resume = 0, started_at = clock_timestamp(),
             resumed_at = clock_timestamp(), finished_at = NULL, rows_plaintext = 0,
             rows_of_others = 0, rows_unknown = 0, rows_destroyed = 0",
        )
    }

    /// A session begins to work on it where another has stopped.
    pub fn resume(&self) -> Result<()> {
        self.update("rows_at_resume = rows_done, resumed_at = clock_timestamp()")
    }

    /// Stores the place.
    pub fn store(&self) -> Result<()> {
        self.update("finished_at = NULL")
    }

    /// Nothing is left to do but what was passed by. Of damaged values the job knows itself.
    pub fn finish(&self, passed: &Passed) -> Result<()> {
        let Passed { plaintext, of_others, unknown, destroyed, .. } = passed;
        self.update(&format!(
            "finished_at = clock_timestamp(), rows_plaintext = {plaintext},
             rows_of_others = {of_others}, rows_unknown = {unknown}, rows_destroyed = {destroyed}"
        ))
    }

    fn update(&self, also: &str) -> Result<()> {
        let sql = format!(
            "UPDATE envelope.reencryption
             SET key_id = $2, pass = $3, next_block = $4, blocks = $5, window_blocks = $6,
                 found = $7, moved = $8, left_before = $9, rows_damaged = $10,
                 updated_at = clock_timestamp(), {also}
             WHERE id = $1 RETURNING 1"
        );
        let args = [
            pg_uuid(self.id),
            pg_uuid(self.key_id.into()),
            self.pass.into(),
            self.next_block.into(),
            self.blocks.into(),
            self.window_blocks.into(),
            self.found.into(),
            self.moved.into(),
            self.left_before.into(),
            self.damaged.into(),
        ];
        match query(&sql, &args, |_| Ok(()))? {
            Some(()) => Ok(()),
            None => Err(Error::Corrupt("the row of a re-encryption is gone".into())),
        }
    }

    fn read(row: &SpiHeapTupleData<'_>) -> spi::Result<Job> {
        Ok(Job {
            id: uuid(row, 1)?,
            key_id: uuid(row, 2)?.into(),
            pass: row.get(3)?.unwrap_or(1),
            next_block: row.get(4)?.unwrap_or_default(),
            blocks: row.get(5)?.unwrap_or_default(),
            window_blocks: row.get(6)?.unwrap_or(1),
            found: row.get(7)?.unwrap_or_default(),
            moved: row.get(8)?.unwrap_or_default(),
            left_before: row.get(9)?.unwrap_or_default(),
            is_finished: row.get(10)?.unwrap_or_default(),
            damaged: row.get(11)?.unwrap_or_default(),
        })
    }
}

fn uuid(row: &SpiHeapTupleData<'_>, column: usize) -> spi::Result<Uuid> {
    let id = row.get::<PgUuid>(column)?;
    Ok(id.map(|id| Uuid::from_bytes(*id.as_bytes())).unwrap_or_default())
}

/// Pages of a table that were worked on.
pub struct Done {
    pub to_block: i64,
    /// How many pages are to be next.
    pub window_blocks: i32,
    pub found: i64,
    pub moved: i64,
    pub damaged: i64,
}

/// Notes that the pages are done; false when there is no such job.
pub fn note(subject: Subject<'_>, done: &Done) -> Result<bool> {
    let [relation, column, work] = subject.arguments();
    let noted = query_kept(
        "UPDATE envelope.reencryption
         SET next_block = $4, window_blocks = $5, found = found + $6, moved = moved + $7,
             rows_done = rows_done + $7, rows_skipped = rows_skipped + greatest($6 - $7, 0),
             rows_damaged = rows_damaged + $8, updated_at = clock_timestamp()
         WHERE relation::oid = $1 AND relation::oid <> 0::oid AND column_name = convert_from($2, 'UTF8')::name
           AND work = convert_from($3, 'UTF8') RETURNING 1",
        &[
            relation,
            column,
            work,
            done.to_block.into(),
            done.window_blocks.into(),
            done.found.into(),
            done.moved.into(),
            done.damaged.into(),
        ],
        |_| Ok(()),
    )?;
    Ok(noted.is_some())
}

/// What the job of that column has passed by, if it has ended: a re-encryption, under `key_id`.
pub fn passed(subject: Subject<'_>, key_id: KeyId) -> Result<Option<Passed>> {
    let [relation, column, work] = subject.arguments();
    query(
        "SELECT rows_plaintext, rows_of_others, rows_unknown, rows_destroyed, rows_damaged
         FROM envelope.reencryption
         WHERE relation::oid = $1 AND column_name = convert_from($2, 'UTF8')::name
           AND work = convert_from($3, 'UTF8') AND (key_id = $4 OR work = 'seal')
           AND finished_at IS NOT NULL",
        &[relation, column, work, pg_uuid(key_id.into())],
        |row| {
            Ok(Passed {
                plaintext: row.get(1)?.unwrap_or_default(),
                of_others: row.get(2)?.unwrap_or_default(),
                unknown: row.get(3)?.unwrap_or_default(),
                destroyed: row.get(4)?.unwrap_or_default(),
                damaged: row.get(5)?.unwrap_or_default(),
                foreign: Vec::new(),
            })
        },
    )
}

/// Forgets the jobs of a table that is being dropped.
pub fn forget(relation: pg_sys::Oid) -> Result<()> {
    touch("DELETE FROM envelope.reencryption WHERE relation::oid = $1", &[relation.into()])?;
    Ok(())
}

/// Forgets the jobs of a column that is being dropped.
pub fn forget_column(relation: pg_sys::Oid, column: &str) -> Result<()> {
    let sql = "DELETE FROM envelope.reencryption
         WHERE relation::oid = $1 AND column_name = convert_from($2, 'UTF8')::name";
    touch(sql, &[relation.into(), column.as_bytes().into()])?;
    Ok(())
}

/// The jobs of a column, which is being renamed, are those of its new name.
pub fn rename_column(relation: pg_sys::Oid, column: &str, new_name: &str) -> Result<()> {
    // Of a column that went while nobody saw it.
    forget_column(relation, new_name)?;
    let sql = "UPDATE envelope.reencryption SET column_name = convert_from($3, 'UTF8')::name
         WHERE relation::oid = $1 AND column_name = convert_from($2, 'UTF8')::name";
    touch(sql, &[relation.into(), column.as_bytes().into(), new_name.as_bytes().into()])?;
    Ok(())
}

/// Runs one statement as the owner of the schema; what `read` makes of its first row.
fn query<T>(
    sql: &str,
    args: &[DatumWithOid<'_>],
    read: impl Fn(&SpiHeapTupleData<'_>) -> spi::Result<T>,
) -> Result<Option<T>> {
    let _owner = ActingAsOwner::of_schema(schema()?).ok_or(Error::NotInstalled)?;
    Spi::connect_mut(|client| {
        let mut rows = client.update(sql, Some(1), args)?;
        rows.next().map(|row| read(&row)).transpose()
    })
    .map_err(|error: spi::Error| Error::Corrupt(format!("catalog write failed: {error}")))
}

/// As [`query`], of a statement that is run for every batch.
fn query_kept<T>(
    sql: &'static str,
    args: &[DatumWithOid<'_>],
    read: impl Fn(&SpiHeapTupleData<'_>) -> spi::Result<T>,
) -> Result<Option<T>> {
    let _owner = ActingAsOwner::of_schema(schema()?).ok_or(Error::NotInstalled)?;
    run_kept(sql, args, |mut rows| rows.next().map(|row| read(&row)).transpose())
        .map_err(|error| Error::Corrupt(format!("catalog write failed: {error}")))
}
