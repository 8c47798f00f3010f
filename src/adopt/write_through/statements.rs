//! The statements that write to a view's table, and the types of their parameters.

use std::ffi::CString;

use pgrx::pg_sys;

use super::Written;
use super::chosen::Chosen;
use super::way::Way;
use crate::error::{Error, Result};
use crate::pg::path::PlainPath;
use crate::pg::quote::Sql;
use crate::pg::relation::{self, display_name};
use crate::pg::{column, view};

/// The statement of an action that writes the chosen columns. Its parameters are their values, then those of the row
/// as it was read.
pub fn of(way: &Way, action: Written, chosen: &Chosen) -> Result<(Sql, Vec<pg_sys::Oid>)> {
    // Names that PostgreSQL writes have their schema: the plan may be made anew under another search_path.
    let _path = PlainPath::new();
    let gone = || Error::NoRelation(display_name(way.table));
    let table = Sql::default()
        .quoted(&relation::quoted_cstring(way.table).ok_or_else(gone)?)
        .sql(" AS ")
        .quoted(view::ALIAS);
    let mut types: Vec<pg_sys::Oid> = chosen.iter().map(|at| way.kind(at)).collect();
    let first_read = types.len() + 1;
    if !matches!(action, Written::Insert | Written::Unseen) {
        types.extend(way.image.iter().map(|&at| way.kind(at)));
    }
    let row =
        || Ok::<_, Error>(same_key(way, first_read)?.sql(" AND ").add(&as_read(way, first_read)));
    let sql = match action {
        Written::Insert => insert(way, &table, chosen)?.add(&returning(way)),
        Written::Unseen => insert(way, &table, chosen)?,
        Written::Update => {
            let set = assignments(way, chosen)?;
            let set = set.into_iter().map(|(column, value)| column.sql(" = ").add(&value));
            let head = Sql::new("UPDATE ").add(&table).sql(" SET ");
            let head = head.joined(&set.collect::<Vec<_>>(), ", ");
            head.sql(" WHERE ").add(&row()?).add(&returning(way))
        }
        Written::Delete => Sql::new("DELETE FROM ").add(&table).sql(" WHERE ").add(&row()?),
        Written::Look => Sql::new("SELECT ")
            .add(&as_read(way, first_read))
            .sql(", t.xmin FROM ")
            .add(&table)
            .sql(" WHERE ")
            .add(&same_key(way, first_read)?),
    };
    Ok((sql, types))
}

fn insert(way: &Way, table: &Sql, chosen: &Chosen) -> Result<Sql> {
    let head = Sql::new("INSERT INTO ").add(table);
    let (columns, values): (Vec<_>, Vec<_>) = assignments(way, chosen)?.into_iter().unzip();
    if columns.is_empty() {
        return Ok(head.sql(" DEFAULT VALUES"));
    }
    let head = head.sql(" (").joined(&columns, ", ").sql(") VALUES (");
    Ok(head.joined(&values, ", ").sql(")"))
}

/// The view's columns, as it shows them of the row that was written.
fn returning(way: &Way) -> Sql {
    let columns = way.shown.columns.iter();
    let shown: Vec<Sql> = columns.map(|column| Sql::default().quoted(&column.sql)).collect();
    Sql::new(" RETURNING ").joined(&shown, ", ")
}

/// Columns of the table, and what they are to hold.
fn assignments(way: &Way, chosen: &Chosen) -> Result<Vec<(Sql, Sql)>> {
    chosen
        .iter()
        .enumerate()
        .map(|(parameter, at)| {
            let pair = way.pairs.iter().find(|pair| pair.opened == at);
            let column = pair.map_or(at, |pair| pair.input);
            let value = Sql::new(&format!("${}", parameter + 1));
            let value = if pair.is_some() {
                plaintext(value, way.kind(at), way.kind(column))
            } else {
                value
            };
            Ok((Sql::default().name(&name(way, column)?), value))
        })
        .collect()
}

/// A value that is to be sealed, for the column that it goes into: text by assignment, or as its UTF-8 bytes, values of
/// other types as their form. A source column takes it as it is.
fn plaintext(value: Sql, kind: pg_sys::Oid, column: pg_sys::Oid) -> Sql {
    let texts = [pg_sys::TEXTOID, pg_sys::VARCHAROID, pg_sys::BPCHAROID];
    let is_text = column::base_type(kind).is_some_and(|base| texts.contains(&base));
    let is_bytea = |kind| column::base_type(kind) == Some(pg_sys::BYTEAOID);
    if is_bytea(kind) || !column::is_sealable(column) {
        value
    } else if !is_text {
        let form = Sql::new("envelope.form_of(").add(&value).sql(")");
        if is_bytea(column) { form.sql("::pg_catalog.bytea") } else { form }
    } else if is_bytea(column) {
        Sql::new("pg_catalog.convert_to(").add(&value).sql("::pg_catalog.text, 'UTF8')")
    } else {
        value
    }
}

/// That a row has the key of the one that was read.
fn same_key(way: &Way, first_read: usize) -> Result<Sql> {
    let equal = way.key.iter().map(|(place, column)| {
        let stored = Sql::new("t.").name(&name(way, way.image[*place])?).to_cstring();
        let read = Sql::new(&format!("${}", first_read + place)).to_cstring();
        Ok(Sql::default().quoted(&column.is_equal(&stored, &read)))
    });
    Ok(Sql::default().joined(&equal.collect::<Result<Vec<_>>>()?, " AND "))
}

/// That it is what was read, byte for byte: whatever its types, and NULL like NULL.
fn as_read(way: &Way, first_read: usize) -> Sql {
    let stored: Vec<Sql> =
        way.image.iter().map(|&at| Sql::default().quoted(&way.shown.columns[at].sql)).collect();
    let read: Vec<Sql> =
        (0..stored.len()).map(|place| Sql::new(&format!("${}", first_read + place))).collect();
    // Two ROWs would be compared column by column, by operators that not all types have.
    Sql::new("(ROW(")
        .joined(&stored, ", ")
        .sql(")::pg_catalog.record) OPERATOR(pg_catalog.*=) (ROW(")
        .joined(&read, ", ")
        .sql(")::pg_catalog.record)")
}

/// The table's column that the view shows at `at` as it is.
fn name(way: &Way, at: usize) -> Result<CString> {
    let number = way.shown.columns[at].stored.unwrap_or(0);
    column::raw_name(way.table, number).ok_or_else(|| Error::NoRelation(display_name(way.table)))
}
