//! The look at all rows that ends the building of an index. That the index is built is noted for what was seen here, and
//! for nothing that a caller says: whoever may manage a table's keys can call whatever `CALL envelope.build_index` calls.

use std::cell::RefCell;
use std::ffi::CStr;

use pgrx::pg_sys;

use crate::catalog::citus;
use crate::error::{Error, Passed, Result};
use crate::keyring::table;
use crate::pg::local_settings::{ALL_ROWS, CATALOG_PATH, LocalSettings};
use crate::pg::quote::Sql;
use crate::pg::relation::{self, display_name, quoted_cstring};
use crate::pg::{acl, encoding, lock, spi, xact};
use crate::sweep::indexing::{goal_of, index_in};
use crate::sweep::{Work, distributed, family, source};

thread_local! {
    static BEGUN: RefCell<Option<Begun>> = const { RefCell::new(None) };
    static LOOKED: RefCell<Option<Looked>> = const { RefCell::new(None) };
    /// What the look that is on has met and left alone.
    static MET: RefCell<Option<Passed>> = const { RefCell::new(None) };
}

/// What the rows of a table are brought to.
struct Begun {
    relation: pg_sys::Oid,
    goal: String,
    transaction: u64,
    /// This session has had the table for itself since then.
    is_alone: bool,
}

/// A look that has found nothing left.
struct Looked {
    transaction: u64,
    goal: String,
    tables: Vec<pg_sys::Oid>,
    passed: Passed,
}

/// The rows of `relation` are brought to that from now on.
pub fn begin(relation: pg_sys::Oid, goal: &str) {
    let (goal, transaction) = (goal.to_owned(), xact::number());
    BEGUN.set(Some(Begun { relation, goal, transaction, is_alone: false }));
    LOOKED.take();
}

/// Whoever had begun to write to `relation` before has ended: this transaction keeps all others from writing to it, and to
/// its partitions. They know what rows are brought to, if the transaction that has changed that was one before.
pub fn writers_ended(relation: pg_sys::Oid) -> Result<()> {
    if !lock::family(relation).into_iter().all(lock::keeps_writers_out) {
        return Err(Error::BadArgument("relation is not locked against writers".into()));
    }
    BEGUN.with_borrow_mut(|begun| {
        let begun = begun.as_mut().filter(|begun| begun.relation == relation);
        if let Some(begun) = begun.filter(|begun| begun.transaction != xact::number()) {
            begun.is_alone = true;
        }
    });
    Ok(())
}

/// Keeps others from writing to `relation` and to its partitions until the transaction ends, if it is a shard of one's own;
/// whether it is.
pub fn lock_shard(relation: pg_sys::Oid) -> Result<bool> {
    let is_own = acl::owns_relation(acl::current_role(), relation);
    if !is_own || !table::get(relation)?.is_shard() {
        return Ok(false);
    }
    lock::keep_writers_out(relation);
    relation::partitions(relation).into_iter().for_each(lock::keep_writers_out);
    Ok(true)
}

/// Whether `relation` is distributed, so that its shards are built by their nodes. One replica of each shard is read. An error when a row is left there, or a
/// node does not know of the index.
pub fn left_on_nodes(relation: pg_sys::Oid, index_column: &CStr) -> Result<bool> {
    LOOKED.take();
    if !citus::is_distributed(relation)? {
        return Ok(false);
    }
    let table = table::to_change(relation)?;
    let index = index_in(&table, index_column)?;
    let (goal, column) = (goal_of(&table, index)?, &index.column_name);
    let quoted =
        quoted_cstring(relation).ok_or_else(|| Error::NoRelation(display_name(relation)))?;
    let sql = Sql::new(
        "SELECT pg_catalog.convert_to(pg_catalog.count(*)::pg_catalog.text, 'UTF8') FROM ",
    )
    .quoted(&quoted)
    .sql(" WHERE CASE WHEN envelope.is_unindexed(")
    .add(&cell(relation, "tableoid", column, index_column)?)
    .sql(", ")
    .name(index_column)
    .sql(") THEN true ELSE false END");
    let settings = LocalSettings::of(&[CATALOG_PATH, ALL_ROWS]);
    let left = spi::bytes(&encoding::to_string(sql.as_bytes()), &[]);
    drop(settings);
    if left.map_err(Error::Corrupt)?.as_deref() != Some(b"0") {
        return Err(distributed::refused(Work::Index, &table, relation, index_column));
    }
    let tables = match relation::pages(relation) {
        Some(_) => vec![relation],
        None => family(relation)?.parts,
    };
    let (transaction, passed) = (xact::number(), Passed::default());
    LOOKED.set(Some(Looked { transaction, goal, tables, passed }));
    Ok(true)
}

/// Those of `tables` in which a row is left without the terms that the index in that column has of its value, all looked at
/// as they are at one moment. Where it `skips`, values do not count that have none.
pub fn index_left(
    tables: Vec<pg_sys::Oid>,
    index_column: &CStr,
    skips: bool,
) -> Result<Vec<pg_sys::Oid>> {
    LOOKED.take();
    let (mut goal, mut parts) = (String::new(), Vec::new());
    for relation in &tables {
        let table = table::to_change(*relation)?;
        let index = index_in(&table, index_column)?;
        let goal_here = goal_of(&table, index)?;
        if !parts.is_empty() && goal != goal_here {
            return Err(Error::BadArgument("the tables are none of one family".into()));
        }
        goal = goal_here;
        parts.push(left_in(*relation, &index.column_name, index_column, skips)?);
    }
    if parts.is_empty() {
        return Ok(Vec::new());
    }
    MET.set(Some(Passed::default()));
    let settings = LocalSettings::of(&[CATALOG_PATH, ALL_ROWS]);
    let left = spi::oids(Sql::new("").joined(&parts, " UNION ALL ").as_bytes(), &[]);
    drop(settings);
    let passed = MET.take().unwrap_or_default();
    let left = left.map_err(Error::Corrupt)?;
    if left.is_empty() {
        LOOKED.set(Some(Looked { transaction: xact::number(), goal, tables, passed }));
    }
    Ok(left)
}

/// The first foreign partition of `relation` in which a row is left without its terms. Its server is asked. Nothing
/// keeps that server's other clients out meanwhile: what they write goes past the trigger, and has no terms.
pub fn left_elsewhere(relation: pg_sys::Oid, index_column: &CStr) -> Result<Option<pg_sys::Oid>> {
    let parts = relation::partitions(relation).into_iter();
    for part in parts.filter(|part| relation::is_foreign(*part)) {
        let table = table::get(part)?;
        let index = index_in(&table, index_column)?;
        let left = left_in(part, &index.column_name, index_column, true)?;
        let _settings = LocalSettings::of(&[CATALOG_PATH, ALL_ROWS]);
        if !spi::oids(left.as_bytes(), &[]).map_err(Error::Corrupt)?.is_empty() {
            return Ok(Some(part));
        }
    }
    Ok(None)
}

/// The OID of the table, where such a row is.
fn left_in(relation: pg_sys::Oid, column: &CStr, index_column: &CStr, skips: bool) -> Result<Sql> {
    let quoted =
        quoted_cstring(relation).ok_or_else(|| Error::NoRelation(display_name(relation)))?;
    let oid = format!("{}::pg_catalog.oid", relation.to_u32());
    let cell = cell(relation, &oid, column, index_column)?;
    let sql = Sql::new("SELECT ")
        .sql(&oid)
        .sql(" WHERE EXISTS (SELECT FROM ONLY ")
        .quoted(&quoted)
        .sql(" WHERE CASE WHEN envelope.is_unindexed(")
        .add(&cell)
        .sql(", ")
        .name(index_column)
        .sql(") THEN ");
    let sql = match skips {
        true => sql.sql("NOT envelope.is_unindexable(").add(&cell).sql(")"),
        false => sql.sql("true"),
    };
    Ok(sql.sql(" ELSE false END)"))
}

/// What is said of a row of the table that `oid` gives in SQL, to what looks at its terms.
fn cell(relation: pg_sys::Oid, oid: &str, column: &CStr, index_column: &CStr) -> Result<Sql> {
    let (now, former) = source::contexts(relation, column)?;
    Ok(Sql::new(oid)
        .sql(", ")
        .name(column)
        .sql("::pg_catalog.bytea, ")
        .add(&now)
        .sql(", ")
        .add(&former.unwrap_or_else(|| Sql::new("NULL")))
        .sql(", ")
        .literal(column)
        .sql(", ctid, ")
        .literal(index_column))
}

/// The look that is on has met a value that it leaves alone.
#[cold]
pub fn meet(count: impl FnOnce(&mut Passed) -> Result<()>) -> Result<()> {
    MET.with_borrow_mut(|met| met.as_mut().map_or(Ok(()), count))
}

/// What the last look has met in `relation` alone and left alone, if it was a moment ago and is about that goal.
pub fn passed(relation: pg_sys::Oid, goal: &str) -> Option<Passed> {
    LOOKED.with_borrow_mut(|looked| {
        let looked = looked.as_mut().filter(|looked| looked.is_now(goal))?;
        (looked.tables == [relation]).then(|| std::mem::take(&mut looked.passed))
    })
}

/// Whether nothing was left a moment ago in any of `tables`, which are all that hold rows of `relation`. An error unless
/// this session has looked, and others' writes from before were waited for.
pub fn nothing_left(relation: pg_sys::Oid, tables: &[pg_sys::Oid], goal: &str) -> Result<bool> {
    let not_looked = || Error::BadArgument("no index of that table was built by this call".into());
    let is_of_goal = BEGUN.with_borrow(|begun| {
        let begun = begun.as_ref().filter(|begun| begun.relation == relation && begun.is_alone);
        begun.map(|begun| begun.goal == goal)
    });
    if !is_of_goal.ok_or_else(not_looked)? {
        return Ok(false);
    }
    if tables.is_empty() {
        return Ok(true);
    }
    LOOKED.with_borrow(|looked| {
        let looked = looked.as_ref().filter(|looked| looked.transaction == xact::number());
        let looked = looked.ok_or_else(not_looked)?;
        Ok(looked.is_now(goal) && tables.iter().all(|table| looked.tables.contains(table)))
    })
}

impl Looked {
    fn is_now(&self, goal: &str) -> bool {
        self.transaction == xact::number() && self.goal == goal
    }
}
