//! What is to be run once an index was added.

use envelope::search::Rule;
use pgrx::pg_sys;
use uuid::Uuid;

use super::label;
use super::unique::Beside;
use crate::adopt::plan::text::literal;
use crate::catalog::rows::{self, IndexRow, Verb};
use crate::catalog::views;
use crate::error::Result;
use crate::pg::encoding::text;
use crate::pg::relation::{self, display_name, quoted};
use crate::pg::{acl, attribute};

/// The statements, in their order: the terms of the rows that are there, PostgreSQL's own index, rights.
pub fn after(index: &IndexRow, rule: &Rule, beside: &Beside) -> Result<Vec<String>> {
    let table = display_name(index.relation);
    let (column, index_column) = (text(&index.column_name), text(&index.index_column));
    let quoted_index = quoted(&index_column);
    let make = OwnIndex {
        is_unique: index.is_unique,
        is_tokens: rule.is_tokens(),
        is_partitioned: relation::pages(index.relation).is_none(),
    };
    let mut statements = vec![
        build_statement(&table, &column, &index_column),
        make.create(&table, &quoted_index, beside),
    ];
    statements.extend(rights(index, &table, &quoted_index)?);
    Ok(statements)
}

/// The statement that fills the column of an index; `table` is its name as SQL quotes it.
pub fn build_statement(table: &str, column: &str, index_column: &str) -> String {
    format!(
        "CALL envelope.build_index({}, {}, {})",
        literal(table),
        literal(column),
        literal(index_column)
    )
}

/// PostgreSQL's own index of such a column.
pub struct OwnIndex {
    pub is_unique: bool,
    pub is_tokens: bool,
    /// PostgreSQL has no CONCURRENTLY for partitioned tables.
    pub is_partitioned: bool,
}

impl OwnIndex {
    /// The statement that makes it; the names as SQL quotes them. A unique one has other columns `beside`.
    pub fn create(&self, table: &str, index_column: &str, beside: &Beside) -> String {
        let unique = if self.is_unique { "UNIQUE " } else { "" };
        let concurrently = if self.is_partitioned { "" } else { "CONCURRENTLY " };
        let using = if self.is_tokens { "USING gin " } else { "" };
        let columns = if self.is_unique { beside.with(index_column) } else { index_column.into() };
        format!("CREATE {unique}INDEX {concurrently}ON {table} {using}({columns})")
    }
}

/// Whoever writes to the table and reads terms can find out what any value of a list is. Who may read all columns of the
/// table loses this one; who is to search gets it back.
fn rights(index: &IndexRow, table: &str, quoted_index: &str) -> Result<Vec<String>> {
    let mut terms = vec![index.index_column.clone()];
    terms.extend(rows::indexes(index.relation)?.into_iter().map(|other| other.index_column));
    let others: Vec<String> = (1..=relation::column_count(index.relation))
        .filter(|number| attribute::type_of(index.relation, *number).0 != pg_sys::InvalidOid)
        .filter_map(|number| attribute::name(index.relation, number))
        .filter(|name| !terms.contains(name))
        .map(|name| quoted(&text(&name)))
        .collect();
    let mut statements = Vec::new();
    for reader in readers(index.relation, label::keyring_of(index)?)? {
        statements.extend(reader.without_terms(table, &others));
    }
    statements.push(format!("REVOKE SELECT ({quoted_index}) ON {table} FROM PUBLIC"));
    statements.push(format!(
        "-- for each role that is to search: GRANT SELECT ({quoted_index}) ON {table} TO ..."
    ));
    Ok(statements)
}

/// A role that may read all columns of a table, and is not to read its terms.
pub struct Reader {
    /// As SQL writes it.
    pub role: String,
    /// It is everybody, who can have no right on keys.
    pub is_public: bool,
}

impl Reader {
    /// The two statements that leave it these columns.
    pub fn without_terms(&self, table: &str, others: &[String]) -> [String; 2] {
        let role = &self.role;
        [
            format!("REVOKE SELECT ON {table} FROM {role}"),
            format!("GRANT SELECT ({}) ON {table} TO {role}", others.join(", ")),
        ]
    }
}

/// Those of a table that uses the index keys of `keyring`: not who may search, open values or manage keys, nor who has
/// the rights of the table's owner.
pub fn readers(table: pg_sys::Oid, keyring: Option<Uuid>) -> Result<Vec<Reader>> {
    let mut may = match keyring {
        Some(keyring) => rows::grants(keyring)?,
        None => Vec::new(),
    };
    may.retain(|(_, verb)| *verb != Verb::Encrypt);
    let owner = relation::owner(table);
    let mut readers = Vec::new();
    for (role, rights) in views::grants(table)? {
        let rights = text(&rights);
        let is_public = role == pg_sys::InvalidOid;
        let knows =
            |other: pg_sys::Oid| other != pg_sys::InvalidOid && acl::has_rights_of(role, other);
        let is_trusted =
            !is_public && may.iter().map(|(grantee, _)| *grantee).chain(owner).any(knows);
        if is_trusted || !rights.split(", ").any(|right| right == "SELECT") {
            continue;
        }
        let role = if is_public { "PUBLIC".to_owned() } else { quoted(&acl::display_role(role)) };
        readers.push(Reader { role, is_public });
    }
    Ok(readers)
}
