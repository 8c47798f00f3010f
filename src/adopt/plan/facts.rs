//! What PostgreSQL's catalog says of a table and of whatever depends on its columns.

use serde::Deserialize;

use super::text::{Name, literal};

/// A table. Names are as SQL quotes them, where they are not said to be plain.
#[derive(Deserialize)]
pub struct Facts {
    /// The extension's own schema.
    pub schema: String,
    /// With its schema.
    pub name: String,
    /// Without quotes and schema.
    pub plain_name: String,
    pub is_partitioned: bool,
    pub parents: Vec<String>,
    /// That inherit from it and are no partitions.
    pub heirs: Vec<String>,
    pub rows: i64,
    pub bytes: i64,
    pub has_key: bool,
    /// The publications that it, or a partition of it, is in.
    pub published: Vec<String>,
    /// Columns of its row type.
    pub row_type_in: Vec<String>,
    pub columns: Vec<Column>,
    /// In the order in which they fire.
    pub triggers: Vec<Trigger>,
    pub checks: Vec<Check>,
    /// The plain names of all, of whatever kind.
    pub constraints: Vec<String>,
    pub uses: Vec<Use>,
    pub roles: Vec<Role>,
    pub policies: Vec<Policy>,
    /// How SQL quotes a name.
    #[serde(skip, default = "as_it_is")]
    pub quote: fn(&str) -> String,
}

#[derive(Deserialize, Clone)]
pub struct Column {
    /// Plain.
    pub name: String,
    pub quoted: String,
    /// As in CREATE TABLE.
    #[serde(rename = "type")]
    pub kind: String,
    pub category: Category,
    pub not_null: bool,
    pub domain_not_null: bool,
    pub identity: bool,
    pub generated: bool,
    pub default: Option<String>,
    /// What ALTER COLUMN SET STORAGE would say; none where it is that of the type.
    pub storage: Option<String>,
    pub compression: Option<String>,
    pub statistics: Option<i32>,
    pub collation: Option<String>,
    pub inherited: bool,
    pub comment: Option<String>,
    /// Rights on the column alone.
    pub grants: Vec<Grant>,
}

/// How values of a type are sealed and opened.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
pub enum Category {
    /// text, varchar and domains over them.
    Text,
    /// bytea and domains over it.
    Bytes,
    /// envelope.sealed.
    Sealed,
    /// Whatever has a canonical form, or none.
    Other,
}

#[derive(Deserialize, Clone)]
pub struct Grant {
    pub to: String,
    pub privilege: String,
    pub grantable: bool,
}

#[derive(Deserialize)]
pub struct Trigger {
    /// Plain.
    pub name: String,
    pub quoted: String,
    /// As pg_trigger.tgenabled.
    pub enabled: char,
    pub is_row: bool,
    pub is_before: bool,
    pub on_insert: bool,
    pub on_update: bool,
    /// It has a WHEN, or names columns.
    pub is_narrow: bool,
    pub kind: TriggerKind,
    #[serde(default)]
    pub arguments: Vec<String>,
    /// As pg_trigger.tgargs, in hex.
    #[serde(default)]
    pub argument_bytes: String,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
pub enum TriggerKind {
    /// envelope_seal
    Seal,
    /// envelope_mirror
    Mirror,
    Other,
}

#[derive(Deserialize)]
pub struct Check {
    /// Plain.
    pub name: String,
    pub quoted: String,
    pub valid: bool,
    /// Or it says nothing of any row (from PostgreSQL 18 on).
    pub is_enforced: bool,
    pub expression: String,
}

/// Something that depends on a column.
#[derive(Deserialize)]
pub struct Use {
    /// Plain.
    pub column: String,
    pub kind: String,
    pub name: String,
    /// The statement that takes it away; empty where none does.
    pub remove: String,
    /// The statement that makes it as it is; none but of what only makes queries quicker.
    #[serde(default)]
    pub make: Option<String>,
    /// It keeps the column unique, and does nothing else.
    #[serde(default)]
    pub is_only_unique: bool,
}

/// A role that was granted something on the table, and what it lacks on its keys.
#[derive(Deserialize)]
pub struct Role {
    /// Plain; none is PUBLIC.
    pub name: Option<String>,
    /// It may INSERT or UPDATE, and not `encrypt`.
    pub writes: bool,
    /// It may SELECT all columns, and not `decrypt`.
    pub reads_all: bool,
    /// Columns that it may SELECT, plain, if it may not `decrypt`.
    pub reads: Vec<String>,
}

/// As in `envelope.policies`.
#[derive(Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    /// Plain.
    pub column: String,
    pub form: String,
    /// As in CREATE TABLE; none is bytes as they come.
    pub value_type: Option<String>,
    pub category: Category,
    /// Plain.
    pub source: Option<String>,
    pub tag: String,
    /// Plain.
    pub bound: Vec<String>,
    pub block: Option<i32>,
    pub mask: Option<String>,
    /// Some values may still have the row context of before.
    #[serde(skip)]
    pub is_rebinding: bool,
}

impl Facts {
    /// A name that SQL has yet to quote.
    pub fn name(&self, plain: &str) -> Name {
        Name { quoted: (self.quote)(plain), plain: plain.to_owned() }
    }

    /// The table as a string constant, which any function takes for a regclass.
    pub fn literal(&self) -> String {
        literal(&self.name)
    }

    pub fn column(&self, plain: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == plain)
    }

    /// The policy of a column, or of the one whose plaintext it takes in.
    pub fn policy_about(&self, column: &str) -> Option<&Policy> {
        let by_source =
            || self.policies.iter().find(|policy| policy.source.as_deref() == Some(column));
        self.policy(column).or_else(by_source)
    }

    pub fn policy(&self, column: &str) -> Option<&Policy> {
        self.policies.iter().find(|policy| policy.column == column)
    }

    /// The CHECK that says `function` of a column.
    pub fn check(&self, function: &str, column: &str) -> Option<&Check> {
        let quoted = (self.quote)(column);
        self.checks.iter().find(|check| check.is_enforced && check.says(function, &quoted))
    }
}

impl Column {
    pub fn to_name(&self) -> Name {
        Name { plain: self.name.clone(), quoted: self.quoted.clone() }
    }
}

impl Check {
    /// Whether it is `envelope.function(column)`, which a domain or a client's dump may have dressed up.
    fn says(&self, function: &str, quoted: &str) -> bool {
        let bare = self.expression.trim_start_matches('(');
        let Some(argument) = bare.strip_prefix("envelope.") else { return false };
        let Some(argument) = argument.strip_prefix(function) else { return false };
        let argument = argument.trim_start_matches('(');
        let Some(rest) = argument.strip_prefix(quoted) else { return false };
        !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$' || c == '"')
    }
}

impl Trigger {
    /// Whether it sees the rows that are stored, before they are.
    pub fn sees_rows(&self) -> bool {
        self.is_row && self.is_before && (self.on_insert || self.on_update) && self.enabled != 'D'
    }

    /// Whether it seals all that arrives, in every session that is no replica's.
    pub fn is_whole(&self) -> bool {
        self.sees_rows()
            && self.on_insert
            && self.on_update
            && !self.is_narrow
            && self.enabled == 'O'
    }
}

fn as_it_is() -> fn(&str) -> String {
    str::to_owned
}
