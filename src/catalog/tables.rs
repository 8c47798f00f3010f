//! PostgreSQL's own catalog, asked as the owner of the schema.

use std::collections::HashSet;

use pgrx::datum::DatumWithOid;
use pgrx::pg_sys;
use pgrx::spi::{Result as SpiResult, Spi, SpiHeapTupleData};

use crate::catalog::{EXTENSION, oid_of, schema};
use crate::error::{Error, Result};
use crate::pg::local_settings::LocalSettings;
use crate::pg::owner::ActingAsOwner;
use crate::pg::table_scan::Moment;
use crate::pg::{encoding, relation, spi};

/// The tables and materialized views of this database, PostgreSQL's own and other sessions' temporary
/// ones left out, that have a column of a type that holds sealed values.
pub fn with_sealable_columns() -> Result<Vec<pg_sys::Oid>> {
    rows_now(
        format!(
            "SELECT c.oid FROM pg_class c
             WHERE c.relkind IN ('r', 'm') AND NOT pg_is_other_temp_schema(c.relnamespace) AND c.oid >= 16384
               AND c.relnamespace <> 'envelope'::regnamespace AND {HAS_SEALABLE}"
        ),
        &[],
    )
}

/// Whether the relation `c` has a column of a type that holds sealed values: bytea, `envelope.sealed`, which the
/// catalog of an earlier release lacks, or a domain over one of them.
const HAS_SEALABLE: &str = "EXISTS (
  WITH RECURSIVE sealable (oid) AS (
    SELECT unnest(ARRAY['bytea'::regtype, to_regtype('envelope.sealed')])::oid
    UNION SELECT t.oid FROM pg_type t JOIN sealable s ON t.typbasetype = s.oid)
  SELECT FROM pg_attribute a JOIN sealable s ON a.atttypid = s.oid
  WHERE a.attrelid = c.oid AND a.attnum > 0)";

/// The tables whose rows `relation` shows, a view or a materialized view through the views that it reads, or an
/// index: those with a column of a type that holds sealed values. None for other relations.
pub fn shown_by(relation: pg_sys::Oid) -> Result<Vec<pg_sys::Oid>> {
    let _owner = ActingAsOwner::of_schema(schema()?).ok_or(Error::NotInstalled)?;
    // In a parallel worker, too, which takes no newer snapshot than its leader's.
    Spi::connect(|client| {
        let sql = format!(
            "WITH RECURSIVE shown (oid) AS (
               SELECT $1 UNION
               SELECT d.refobjid FROM shown s
               JOIN pg_class v ON v.oid = s.oid AND v.relkind IN ('v', 'm')
               JOIN pg_rewrite r ON r.ev_class = s.oid
               JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
                AND d.refclassid = 'pg_class'::regclass)
             SELECT c.oid FROM pg_class c
             WHERE c.oid IN (SELECT oid FROM shown
                             UNION SELECT indrelid FROM pg_index WHERE indexrelid = $1)
               AND c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
               AND {HAS_SEALABLE}
             ORDER BY c.oid::regclass::text"
        );
        let rows = client.select(sql.as_str(), None, &[relation.into()])?;
        rows.filter_map(|row| row.get(1).transpose()).collect::<std::result::Result<_, _>>()
    })
    .map_err(unread)
}

/// The version of the extension in this database, which `ALTER EXTENSION … UPDATE` moves.
pub fn extension_version() -> Result<Option<String>> {
    let _owner = ActingAsOwner::of_schema(schema()?).ok_or(Error::NotInstalled)?;
    let sql = "SELECT pg_catalog.convert_to(x.extversion, 'UTF8') FROM pg_catalog.pg_extension x
               WHERE x.extname = pg_catalog.convert_from($1, 'UTF8')";
    let version = spi::bytes(sql, &[extension()]).map_err(unread)?;
    Ok(version.map(|version| String::from_utf8_lossy(&version).into_owned()))
}

/// Whether a subscription brings the data keys of this database from another.
pub fn keys_are_subscribed() -> Result<bool> {
    are_subscribed(vec![oid_of(c"data_key")?])
}

/// Whether a subscription brings the rows of any of `relations` from another database. A database that was
/// copied from a subscriber has rows of that one's subscriptions.
pub fn are_subscribed(relations: Vec<pg_sys::Oid>) -> Result<bool> {
    let _owner = ActingAsOwner::of_schema(schema()?).ok_or(Error::NotInstalled)?;
    Spi::connect(|client| {
        let sql = "SELECT FROM pg_subscription_rel r JOIN pg_subscription s ON s.oid = r.srsubid
                   JOIN pg_database d ON d.oid = s.subdbid AND d.datname = current_database()
                   WHERE r.srrelid = ANY ($1)";
        client
            .select(sql, Some(1), &[relations.into()])
            .map(|rows| !rows.is_empty())
            .map_err(unread)
    })
}

/// `tops`, their partitions and their heirs in the one order in which everybody locks several tables:
/// parents before children, else by OID. Two sessions that lock them so do not wait for each other, nor
/// does who comes to a partition by its parent.
pub fn in_lock_order(tops: &HashSet<pg_sys::Oid>) -> Result<Vec<pg_sys::Oid>> {
    let tops: Vec<pg_sys::Oid> = tops.iter().copied().collect();
    rows_now(
        "WITH RECURSIVE below (relation) AS (
           SELECT unnest($1)
           UNION SELECT i.inhrelid FROM pg_inherits i JOIN below b ON i.inhparent = b.relation),
         above (relation, ancestor, depth) AS (
           SELECT relation, relation, 0 FROM below
           UNION SELECT a.relation, i.inhparent, a.depth + 1
                 FROM above a JOIN pg_inherits i ON i.inhrelid = a.ancestor)
         SELECT relation FROM above GROUP BY relation ORDER BY max(depth), relation",
        &[tops.into()],
    )
}

/// The tables that seal with a keyring.
pub fn with_keyrings() -> Result<Vec<pg_sys::Oid>> {
    rows_now(
        "SELECT c.oid FROM envelope.keyring_table t JOIN pg_class c ON c.oid = t.relation::oid WHERE t.seals",
        &[],
    )
}

/// The foreign tables of that server.
pub fn at_server(server: pg_sys::Oid) -> Result<Vec<pg_sys::Oid>> {
    rows_now("SELECT ftrelid FROM pg_foreign_table WHERE ftserver = $1", &[server.into()])
}

/// Whether this transaction has none open at `server`, one of postgres_fdw's, so that what it reads there next is what
/// is committed by then. A connection from an earlier transaction is closed for that: an idle one cannot be told from
/// one in use.
pub fn begins_anew_at(server: pg_sys::Oid) -> Result<bool> {
    let is_open = || -> Result<bool> {
        let Some(sql) = call_of_wrapper("postgres_fdw_get_connections", OPEN_AT)? else {
            return Ok(true);
        };
        Ok(!rows_now(sql, &[server.into()])?.is_empty())
    };
    if !is_open()? {
        return Ok(true);
    }
    let Some(sql) = call_of_wrapper("postgres_fdw_disconnect", CLOSE_AT)? else {
        return Ok(false);
    };
    {
        // It warns of one that is in use.
        let _quiet = LocalSettings::of(&[(c"client_min_messages", c"error")]);
        rows_now(sql, &[server.into()])?;
    }
    Ok(!is_open()?)
}

const OPEN_AT: &str =
    "SELECT s.oid FROM {} c JOIN pg_catalog.pg_foreign_server s ON s.srvname::text = c.server_name
                       WHERE s.oid = $1";
const CLOSE_AT: &str = "SELECT oid FROM pg_catalog.pg_foreign_server WHERE oid = $1 AND CASE oid WHEN $1 THEN {} IS NOT NULL END";

/// `sql` with the call of a function of postgres_fdw's own in the place of the braces; `None` when the extension has none
/// of that name.
fn call_of_wrapper(function: &str, sql: &str) -> Result<Option<Vec<u8>>> {
    let _owner = ActingAsOwner::of_schema(schema()?).ok_or(Error::NotInstalled)?;
    // The arguments that it has, so that nobody else's function of the name is meant.
    let found = spi::bytes(
        "SELECT convert_to(format('%I.%I(%s)', n.nspname, p.proname,
                                  CASE oidvectortypes(p.proargtypes) WHEN 'text' THEN 'srvname::text'
                                       WHEN 'boolean' THEN 'false' END), getdatabaseencoding())
         FROM pg_extension e
         JOIN pg_depend d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'
          AND d.classid = 'pg_proc'::regclass
         JOIN pg_proc p ON p.oid = d.objid AND p.proname = $1
          AND oidvectortypes(p.proargtypes) IN ('', 'text', 'boolean')
         JOIN pg_namespace n ON n.oid = p.pronamespace
         WHERE e.extname = 'postgres_fdw'",
        &[function.into()],
    )
    .map_err(unread)?;
    let (before, after) = sql.split_once("{}").unwrap_or((sql, ""));
    Ok(found.map(|call| [before.as_bytes(), &call, after.as_bytes()].concat()))
}

/// The rows of `relation` alone that a SELECT sees at `moment`; `None` when none can be run safely.
pub fn count_rows(relation: pg_sys::Oid, moment: &Moment) -> Result<Option<u64>> {
    let Some(_owner) = ActingAsOwner::of_relation(relation) else { return Ok(None) };
    let gone = || Error::NoRelation(relation::display_name(relation));
    let name = relation::quoted_cstring(relation).ok_or_else(gone)?;
    spi::count_rows(&name, moment).map(Some).map_err(unread)
}

/// The OIDs that a query gives, as it is now: not only as the calling statement sees it, which may have
/// waited for locks since.
pub(super) fn rows_now(
    sql: impl Into<Vec<u8>>,
    args: &[DatumWithOid<'_>],
) -> Result<Vec<pg_sys::Oid>> {
    let _owner = ActingAsOwner::of_schema(schema()?).ok_or(Error::NotInstalled)?;
    spi::oids(sql, args).map_err(unread)
}

fn unread(error: impl std::fmt::Display) -> Error {
    Error::Corrupt(format!("catalog read failed: {error}"))
}

/// What `read` makes of each row of `sql`, a query over what may be many rows.
pub fn ask<T>(
    sql: &str,
    arguments: &[DatumWithOid<'_>],
    read: fn(SpiHeapTupleData<'_>) -> SpiResult<T>,
) -> Result<Vec<T>> {
    let owner = ActingAsOwner::of_schema(schema()?).ok_or(Error::NotInstalled)?;
    owner.expecting_many_rows();
    select(sql, arguments, read)
}

fn select<T>(
    sql: &str,
    arguments: &[DatumWithOid<'_>],
    read: fn(SpiHeapTupleData<'_>) -> SpiResult<T>,
) -> Result<Vec<T>> {
    Spi::connect(|client| client.select(sql, None, arguments)?.map(read).collect::<SpiResult<_>>())
        .map_err(unread)
}

/// The argument of a statement about the members of the extension.
pub fn extension() -> DatumWithOid<'static> {
    EXTENSION.to_bytes().into()
}

/// What a query says of a table.
pub struct Said {
    /// `schema.table`, quoted as SQL would.
    pub table: String,
    /// None: empty.
    pub column: String,
    pub severity: String,
    pub sqlstate: String,
    pub message: String,
    pub remedy: String,
}

/// A row of six columns in that order; those that may hold names as bytes of the server's encoding.
pub fn said(row: SpiHeapTupleData<'_>) -> SpiResult<Said> {
    let text = |column| text_of(&row, column);
    Ok(Said {
        table: text(1)?,
        column: text(2)?,
        severity: row.get(3)?.unwrap_or_default(),
        sqlstate: row.get(4)?.unwrap_or_default(),
        message: text(5)?,
        remedy: text(6)?,
    })
}

/// What `read` makes of each row of `sql`, a statement about the members of the extension, which is its `$1`.
pub(super) fn about_members<T>(
    sql: &str,
    read: fn(SpiHeapTupleData<'_>) -> SpiResult<T>,
) -> Result<Vec<T>> {
    let _owner = ActingAsOwner::of_schema(schema()?).ok_or(Error::NotInstalled)?;
    select(sql, &[extension()], read)
}

/// Text that a statement gives as bytes of the server's encoding; nothing for NULL.
pub(super) fn text_of(row: &SpiHeapTupleData<'_>, column: usize) -> SpiResult<String> {
    let bytes: Option<&[u8]> = row.get(column)?;
    Ok(bytes.map(encoding::to_string).unwrap_or_default())
}
