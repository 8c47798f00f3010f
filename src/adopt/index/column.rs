//! The column of an index: one that is there and only the trigger sets, or one that is made.

use std::ffi::{CStr, CString};

use envelope::search::Rule;
use pgrx::pg_sys;

use super::unique::partition_key;
use crate::adopt::plan::text::{joined, literal};
use crate::catalog;
use crate::catalog::rows::{self, PolicyRow};
use crate::error::{Error, IndexError, Result};
use crate::pg::local_settings::{ALL_ROWS, CATALOG_PATH, LocalSettings};
use crate::pg::relation::{display_name, quoted};
use crate::pg::{acl, attribute, encoding, relation, spi, types};

/// The column of an index that is being added.
pub struct IndexColumn {
    pub name: CString,
    pub is_new: bool,
    /// It is to hold tokens, not a term.
    is_tokens: bool,
}

impl IndexColumn {
    /// The column that is named, or one that can be made.
    pub fn find(
        policy: &PolicyRow,
        named: Option<&CStr>,
        kind: &str,
        is_tokens: bool,
    ) -> Result<IndexColumn> {
        let relation = policy.relation;
        let name = match named {
            Some(name) => name.to_owned(),
            None => free(policy, kind)?,
        };
        let is_new = attribute::number(relation, &name).is_none();
        let column = IndexColumn { name, is_new, is_tokens };
        encoding::to_exact_string(column.name.to_bytes())
            .map_err(|why| Error::NotUtf8 { untranslatable: why.is_untranslatable() })?;
        if !column.is_new {
            require_ours_alone(relation, &column)?;
        }
        Ok(column)
    }

    /// For messages and SQL.
    pub fn plain(&self) -> String {
        encoding::to_string(self.name.to_bytes())
    }

    /// Makes it, if it is not there, as the current role; its comment says what it holds.
    pub fn make(&self, relation: pg_sys::Oid, rule: &Rule) -> Result<()> {
        if !self.is_new {
            return Ok(());
        }
        let (table, column) = (display_name(relation), quoted(&self.plain()));
        let needs = if self.is_tokens { "int8[]" } else { "bytea" };
        let sql = format!("ALTER TABLE {table} ADD COLUMN {column} pg_catalog.{needs}");
        spi::run(&sql).map_err(Error::Corrupt)?;
        let what = if self.is_tokens { "Tokens" } else { "Terms" };
        // Not the name of the sealed column, which may change.
        let comment = format!(
            "{what} by rule {rule} for search: envelope.indexes says of which column; only the sealing trigger sets them"
        );
        let sql = format!("COMMENT ON COLUMN {table}.{column} IS {}", literal(&comment));
        spi::run(&sql).map_err(Error::Corrupt)
    }

    /// 55000 when it holds values, which building the index would overwrite.
    pub fn require_empty(&self, relation: pg_sys::Oid) -> Result<()> {
        if self.is_new {
            return Ok(());
        }
        let (table, index_column) = (display_name(relation), self.plain());
        let sql = format!(
            "SELECT ''::pg_catalog.bytea WHERE EXISTS (SELECT FROM {table} WHERE {} IS NOT NULL)",
            quoted(&index_column)
        );
        let _all = LocalSettings::of(&[ALL_ROWS]);
        match spi::bytes(&sql, &[]).map_err(Error::Corrupt)? {
            None => Ok(()),
            Some(_) => Err(IndexError::HoldsValues { index_column, table }.into()),
        }
    }
}

/// The names that the column of an index may get where none is given: the first of these that no column bears.
pub fn usual_names(column: &str, kind: &str) -> [String; 2] {
    ["_ix".to_owned(), format!("_{kind}")].map(|tail| joined(column, &tail))
}

fn free(policy: &PolicyRow, kind: &str) -> Result<CString> {
    let column = encoding::to_string(policy.column_name.to_bytes());
    for name in usual_names(&column, kind) {
        let name = encoding::from_utf8(name.as_bytes())
            .ok()
            .and_then(|name| CString::new(&*name).ok())
            .ok_or(Error::Untranslatable("the name of the index column"))?;
        if attribute::number(policy.relation, &name).is_none() {
            return Ok(name);
        }
    }
    Err(IndexError::NoName { column, table: display_name(policy.relation) }.into())
}

/// Whoever may only manage keys must not have the trigger write to any column of the table.
fn require_ours_alone(relation: pg_sys::Oid, column: &IndexColumn) -> Result<()> {
    let (index_column, table) = (column.plain(), display_name(relation));
    if !acl::owns_relation(acl::current_role(), relation) {
        return Err(IndexError::NotOwner { index_column, table }.into());
    }
    let number = super::number(relation, &column.name)?;
    let not_the_triggers = |is| {
        let (index_column, table) = (column.plain(), display_name(relation));
        Err(IndexError::NotTheTriggers { index_column, table, is }.into())
    };
    if attribute::is_made(relation, number) {
        return not_the_triggers("is generated");
    }
    for policy in rows::nearest_policies(relation)? {
        let name = column.plain();
        let former = policy.former.iter().flat_map(|former| &former.bound_columns);
        if policy.column_name == column.name
            || policy.source.as_ref() == Some(&column.name)
            || policy.bound_columns.iter().chain(former).any(|bound| *bound == name)
        {
            return not_the_triggers("is one of a policy");
        }
    }
    let is_sealed = catalog::sealing_triggers(relation).iter().any(|trigger| {
        let arguments = trigger.arguments.iter();
        arguments.map(|argument| crate::adopt::policy::parts(argument)).any(|(target, source)| {
            target == column.name.to_bytes() || source == Some(column.name.to_bytes())
        })
    });
    if is_sealed {
        return not_the_triggers("is sealed by a trigger");
    }
    let (kind, modifier) = attribute::type_of(relation, number);
    let (right, needs) = match column.is_tokens {
        true => (pg_sys::INT8ARRAYOID, "bigint[]"),
        false => (pg_sys::BYTEAOID, "bytea"),
    };
    if kind != right {
        let is = types::display_name(kind, modifier);
        return Err(IndexError::WrongColumn { index_column, table, is, needs }.into());
    }
    if attribute::is_not_null(relation, number) {
        return not_the_triggers("is NOT NULL");
    }
    if attribute::has_default(relation, number) {
        return not_the_triggers("has a default");
    }
    Ok(())
}

/// For each valid unique index that `old` is a column of, `new` must have one that lets no more through; where there is
/// none, one of its own. A unique index of a partitioned table has the columns of the partition key, too. The columns of
/// one that is missing, as SQL names them.
pub fn not_as_unique(relation: pg_sys::Oid, old: &CStr, new: &CStr) -> Result<Option<String>> {
    let (old, new) = (super::number(relation, old)?, super::number(relation, new)?);
    let relation = relation.to_u32();
    let key = partition_key(&format!("{relation}::pg_catalog.oid"));
    let sql = format!(
        "WITH u AS (
           SELECT (i.indkey::pg_catalog.int2[])[0:i.indnkeyatts OPERATOR(pg_catalog.-) 1] AS columns
           FROM pg_catalog.pg_index i
           WHERE i.indrelid OPERATOR(pg_catalog.=) {relation}::pg_catalog.oid AND i.indisunique AND i.indisvalid
             AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL),
         o AS (
           SELECT pg_catalog.array_remove(u.columns, {old}::pg_catalog.int2) AS others FROM u
           WHERE {old}::pg_catalog.int2 OPERATOR(pg_catalog.=) ANY (u.columns)
           UNION ALL
           SELECT {key}
           WHERE NOT EXISTS (SELECT FROM u WHERE {old}::pg_catalog.int2 OPERATOR(pg_catalog.=) ANY (u.columns)))
         SELECT pg_catalog.convert_to((
           SELECT pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', '
                    ORDER BY a.attnum OPERATOR(pg_catalog.<>) {new}::pg_catalog.int2, a.attnum)
           FROM pg_catalog.pg_attribute a
           WHERE a.attrelid OPERATOR(pg_catalog.=) {relation}::pg_catalog.oid
             AND (a.attnum OPERATOR(pg_catalog.=) {new}::pg_catalog.int2 OR a.attnum OPERATOR(pg_catalog.=) ANY (o.others))), 'UTF8')
         FROM o
         WHERE NOT EXISTS (
           SELECT FROM u
           WHERE {new}::pg_catalog.int2 OPERATOR(pg_catalog.=) ANY (u.columns)
             AND pg_catalog.array_remove(u.columns, {new}::pg_catalog.int2) OPERATOR(pg_catalog.<@) o.others)
         ORDER BY o.others LIMIT 1"
    );
    let columns = spi::bytes(&sql, &[]).map_err(Error::Corrupt)?;
    Ok(columns.map(|names| String::from_utf8_lossy(&names).into_owned()))
}

/// Whether a valid index of PostgreSQL's stands on that column; a unique one on nothing else but the partition key.
pub fn has_valid_index(relation: pg_sys::Oid, column: &CStr, unique: bool) -> Result<bool> {
    let condition = if unique { IS_UNIQUE } else { "i.indisready AND it.is_first" };
    let what = "''::pg_catalog.text";
    Ok(of_indexes(relation, column, what, &format!("i.indisvalid AND {condition}"))?.is_some())
}

const IS_UNIQUE: &str = "i.indisunique AND i.indimmediate AND it.is_it";

/// An index on that column, with nothing else but the partition key, that CREATE INDEX CONCURRENTLY has left invalid, as
/// SQL names it.
pub fn invalid_index(relation: pg_sys::Oid, column: &CStr) -> Result<Option<String>> {
    let name = "pg_catalog.min(pg_catalog.format('%I.%I', n.nspname, c.relname))";
    of_indexes(relation, column, name, "NOT i.indisvalid AND it.is_it")
}

/// What of whole indexes that the column is in: whether it is the first, and whether it is all but for the partition key.
fn of_indexes(
    relation: pg_sys::Oid,
    column: &CStr,
    what: &str,
    condition: &str,
) -> Result<Option<String>> {
    let Some(number) = attribute::number(relation, column) else { return Ok(None) };
    let relation = format!("{}::pg_catalog.oid", relation.to_u32());
    let sql = format!(
        "SELECT pg_catalog.convert_to({what}, 'UTF8') FROM pg_catalog.pg_index i
         JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) i.indexrelid
         JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
         CROSS JOIN LATERAL (
           SELECT i.indkey[0] OPERATOR(pg_catalog.=) {number}::pg_catalog.int2 AS is_first,
                  {number}::pg_catalog.int2 OPERATOR(pg_catalog.=) ANY (k.columns)
                    AND pg_catalog.array_remove(k.columns, {number}::pg_catalog.int2) OPERATOR(pg_catalog.<@) {} AS is_it
           FROM (SELECT (i.indkey::pg_catalog.int2[])[0:i.indnkeyatts OPERATOR(pg_catalog.-) 1]) AS k (columns)) AS it
         WHERE i.indrelid OPERATOR(pg_catalog.=) {relation} AND i.indpred IS NULL AND {condition}",
        partition_key(&relation)
    );
    let told = spi::bytes(&sql, &[]).map_err(Error::Corrupt)?;
    Ok(told.and_then(|name| String::from_utf8(name).ok()))
}

/// What reads that column, or those of it in partitions, by its number: it would go on with it under another name.
pub fn needed_by(relation: pg_sys::Oid, column: &CStr) -> Result<Option<String>> {
    let mut found = Vec::new();
    for member in relation::family(relation, pg_sys::NoLock as pg_sys::LOCKMODE) {
        let Some(number) = attribute::number(member, column) else { continue };
        let sql = format!(
            "SELECT pg_catalog.convert_to(pg_catalog.string_agg(d.name, ', ' ORDER BY d.name), 'UTF8')
             FROM (SELECT DISTINCT pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid) AS name
                   FROM pg_catalog.pg_depend d
                   WHERE d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass
                     AND d.refobjid OPERATOR(pg_catalog.=) {}::pg_catalog.oid
                     AND d.refobjsubid OPERATOR(pg_catalog.=) {number}
                     AND (d.classid::pg_catalog.regclass::pg_catalog.text OPERATOR(pg_catalog.=) ANY (
                            '{{pg_rewrite,pg_policy,pg_proc,pg_trigger,pg_publication_rel,pg_attrdef}}'::pg_catalog.text[])
                          -- A generated column, before PostgreSQL 15.
                          OR d.objsubid OPERATOR(pg_catalog.>) 0
                          OR EXISTS (SELECT FROM pg_catalog.pg_constraint c
                                     WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_constraint'::pg_catalog.regclass
                                       AND c.oid OPERATOR(pg_catalog.=) d.objid
                                       AND c.contype OPERATOR(pg_catalog.=) 'f'))) d",
            member.to_u32()
        );
        let _path = LocalSettings::of(&[CATALOG_PATH]);
        if let Some(names) = spi::bytes(&sql, &[]).map_err(Error::Corrupt)? {
            found.push(String::from_utf8_lossy(&names).into_owned());
        }
    }
    Ok((!found.is_empty()).then(|| found.join(", ")))
}
