//! A unique index whose index key was rotated: its second column takes the place of the first.

use std::ffi::CStr;

use pgrx::pg_sys;

use super::{column, index_of, tell, to_change};
use crate::adopt::plan::text::{joined, literal};
use crate::audit::Action;
use crate::catalog::rows::IndexRow;
use crate::catalog::{self, write};
use crate::error::{Error, IndexError, Result};
use crate::keyring;
use crate::pg::encoding::{self, text};
use crate::pg::local_settings::{CATALOG_PATH, LocalSettings};
use crate::pg::relation::{self, display_name, quoted};
use crate::pg::{attribute, lock, spi};

/// Gives the column `new` the name of `old`, and `old` that of `new`, where both hold the terms of one column by one rule;
/// the index that was in `old` ends.
pub fn swap(relation: pg_sys::Oid, old: &CStr, new: &CStr) -> Result<()> {
    to_change(relation)?;
    let table = display_name(relation);
    // In the order in which an index is added, which changes the table last.
    lock::lock_object(catalog::oid_of(c"column_index")?, pg_sys::InvalidOid);
    run(&format!("LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"))?;
    keyring::look_again();
    let (from, to) = (index_of(relation, old)?, index_of(relation, new)?);
    if let Some((why, hint)) = obstacle(relation, &from, &to)? {
        let (old, new) = (text(old), text(new));
        return Err(IndexError::NoSwap { old, new, table, why, hint }.into());
    }
    if let Some(by) = column::needed_by(relation, old)? {
        return Err(IndexError::StillRead { index_column: text(old), table, by }.into());
    }
    write::indexes::delete(from.id)?;
    let (old, new) = (text(old), text(new));
    let between = between(relation, &old)?;
    for statement in carried(relation, &table, &old, &new)? {
        run(&statement)?;
    }
    // The row follows the new column by itself.
    for (from, to) in [(&old, &between), (&new, &old), (&between, &new)] {
        run(&format!("ALTER TABLE {table} RENAME COLUMN {} TO {}", quoted(from), quoted(to)))?;
    }
    tell(Action::DropIndex, &from)
}

/// Statements that give the new column the rights and the comment of the old one, and let PostgreSQL's indexes on both
/// change names: the message of 23505 shows that one.
fn carried(relation: pg_sys::Oid, table: &str, old: &str, new: &str) -> Result<Vec<String>> {
    let (old_name, new_name) = (quoted(old), quoted(new));
    let (relation, to) = (relation.to_u32(), literal(&new_name));
    let (table, old) = (literal(table), literal(&old_name));
    let column = format!(
        "pg_attribute a JOIN pg_class t ON t.oid = a.attrelid
         WHERE a.attrelid = {relation} AND a.attnum > 0 AND NOT a.attisdropped AND quote_ident(a.attname) = {old}"
    );
    let index = |name: &str| {
        format!(
            "(SELECT i.indexrelid FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
              WHERE i.indrelid = {relation} AND i.indnkeyatts = 1 AND i.indpred IS NULL AND i.indisvalid
                AND quote_ident(a.attname) = {name} ORDER BY i.indisunique DESC, i.indexrelid LIMIT 1)"
        )
    };
    let sql = format!(
        "SELECT convert_to(json_agg(s.sql ORDER BY s.part, s.sql)::text, 'UTF8') FROM (
           SELECT 1 AS part, format('GRANT %s (%s) ON %s TO %s%s', g.privilege_type, {to}, {table},
                    CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(g.grantee)) END,
                    CASE WHEN g.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END) AS sql
           FROM (SELECT a.attacl, t.relowner FROM {column}) AS c, aclexplode(c.attacl) AS g
           WHERE g.grantee <> c.relowner
           UNION ALL
           SELECT 2, format('COMMENT ON COLUMN %s.%s IS %L', {table}, {to}, c.said)
           FROM (SELECT col_description(a.attrelid, a.attnum) AS said FROM {column}) AS c WHERE c.said IS NOT NULL
           UNION ALL
           SELECT 2 + r.part, format('ALTER INDEX %I.%I RENAME TO %I', n.nspname, r.named, r.becomes)
           FROM pg_class o JOIN pg_class w ON w.oid = {} JOIN pg_namespace n ON n.oid = o.relnamespace
           CROSS JOIN LATERAL (VALUES (1, o.relname::text, 'envelope_swap_' || o.oid), (2, w.relname, o.relname),
                                      (3, 'envelope_swap_' || o.oid, w.relname)) AS r (part, named, becomes)
           WHERE o.oid = {}
         ) AS s",
        index(&to),
        index(&old)
    );
    let _path = LocalSettings::of(&[CATALOG_PATH]);
    let told = spi::bytes(&sql, &[]).map_err(Error::Corrupt)?;
    let failed = |error: serde_json::Error| Error::Corrupt(format!("catalog read failed: {error}"));
    told.map_or(Ok(Vec::new()), |json| serde_json::from_slice(&json).map_err(failed))
}

/// Why `to` cannot take the place of `from`, and what is to be done about it.
fn obstacle(
    relation: pg_sys::Oid,
    from: &IndexRow,
    to: &IndexRow,
) -> Result<Option<(String, String)>> {
    let (table, new) = (display_name(relation), text(&to.index_column));
    let no = |why: String, hint: String| Ok(Some((why, hint)));
    if from.id == to.id {
        let hint = "Name the second column that envelope.add_index has made.";
        return no("they are one".into(), hint.into());
    }
    if let Some(difference) = difference(from, to) {
        let hint = "Add the second column with the kind, form, options, label and keys_of of the first. envelope.indexes shows them.";
        return no(difference, hint.into());
    }
    if !to.built {
        let [table, column, new] = [&table, &text(&to.column_name), &new].map(|it| literal(it));
        let hint = format!("CALL envelope.build_index({table}, {column}, {new}).");
        return no("it is not built".into(), hint);
    }
    if from.is_unique && !to.is_unique {
        let hint = "Add the second column with options => '{\"unique\": true}'.";
        return no("it is not unique".into(), hint.into());
    }
    if !from.is_unique {
        return Ok(None);
    }
    if let Some(columns) = column::not_as_unique(relation, &from.index_column, &to.index_column)? {
        // PostgreSQL has no CONCURRENTLY for partitioned tables.
        let has_rows = relation::pages(relation).is_some();
        let concurrently = if has_rows { "CONCURRENTLY " } else { "" };
        let hint = format!("CREATE UNIQUE INDEX {concurrently}ON {table} ({columns}).");
        return no("it has no valid unique index of the same columns".into(), hint);
    }
    Ok(None)
}

/// What makes the terms of two columns other ones.
fn difference(from: &IndexRow, to: &IndexRow) -> Option<String> {
    let of = |what: &str, old: String, new: String| {
        (old != new).then(|| format!("its {what} is {new}, and that of the other {old}"))
    };
    let length =
        |index: &IndexRow| index.term_length.map_or("none".into(), |length| length.to_string());
    of("sealed column", text(&from.column_name), text(&to.column_name))
        .or_else(|| of("rule", from.rule.clone(), to.rule.clone()))
        .or_else(|| of("label", from.label.clone(), to.label.clone()))
        .or_else(|| of("term_length", length(from), length(to)))
        .or_else(|| (!from.is_made_as(to)).then(|| "its index keys are other ones".into()))
}

/// A name that no column bears.
fn between(relation: pg_sys::Oid, name: &str) -> Result<String> {
    let is_free = |name: &String| {
        let name = encoding::from_utf8(name.as_bytes()).ok();
        let name = name.and_then(|name| std::ffi::CString::new(&*name).ok());
        name.is_some_and(|name| attribute::number(relation, &name).is_none())
    };
    (1..100)
        .map(|number| joined(name, &format!("_swap{number}")))
        .find(is_free)
        .ok_or(Error::Untranslatable("the name of the index column"))
}

fn run(sql: &str) -> Result<()> {
    spi::run(sql).map_err(Error::Corrupt)
}
