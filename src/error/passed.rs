//! What a re-encryption, or the sealing of a column, leaves alone, and what to do about it.

use std::fmt;

use super::{identifier, literal};

/// Values that were left alone, by what they are.
#[derive(Debug, Default, Clone)]
pub struct Passed {
    pub plaintext: i64,
    /// Under keys of keyrings that the table does not open with.
    pub of_others: i64,
    /// Under keys that are not in this database.
    pub unknown: i64,
    pub destroyed: i64,
    /// Under other keys of the table, and not opening.
    pub damaged: i64,
    /// Partitions that were not read, whatever stands there.
    pub foreign: Vec<String>,
}

impl Passed {
    /// Whether there is nothing to tell.
    pub fn is_none(&self) -> bool {
        self.counts().iter().all(|(count, _)| *count == 0) && self.foreign.is_empty()
    }

    /// With those of another table of the same tree.
    pub fn add(&mut self, other: &Passed) {
        self.plaintext += other.plaintext;
        self.of_others += other.of_others;
        self.unknown += other.unknown;
        self.destroyed += other.destroyed;
        self.damaged += other.damaged;
    }

    fn counts(&self) -> [(i64, &'static str); 5] {
        [
            (self.plaintext, "in clear"),
            (self.of_others, "under other tables' keyrings"),
            (self.unknown, "under keys that are not in this database"),
            (self.destroyed, "under destroyed keys"),
            (self.damaged, "that do not open"),
        ]
    }

    /// What to do about each kind.
    pub fn hint(&self, table: &str, column_name: &str) -> String {
        let mut hints = Vec::new();
        let (name, column) = (literal(table), identifier(column_name));
        if self.plaintext > 0 {
            hints.push(format!(
                "To seal clear text: CALL envelope.seal_column({name}, {}).",
                literal(column_name)
            ));
        }
        if self.of_others > 0 {
            hints.push(format!(
                "(envelope.inspect({column})).relation names the other table of a value. To open and \
                 re-encrypt its values here: SELECT envelope.share_keyring(other table, {name}). Or to \
                 bring them to the other table's active key, unless a sealing trigger here refuses \
                 that: UPDATE {table} SET {column} = envelope.reseal(other table, {column}) WHERE \
                 (envelope.inspect({column})).relation = other table."
            ));
        }
        if self.unknown > 0 {
            hints.push(
                "To bring missing keys here: envelope.import_keyring, or restore the rows of schema \
                 envelope."
                    .into(),
            );
        }
        if self.destroyed > 0 {
            hints.push("Values under destroyed keys are lost. Overwrite or delete them.".into());
        }
        if self.damaged > 0 {
            hints.push(format!(
                "To see which values do not open: SELECT * FROM envelope.verify({name}, {}).",
                literal(column_name)
            ));
        }
        if !self.foreign.is_empty() {
            hints.push("Change the rows of a foreign partition from here, by UPDATE: for values under other keys with envelope.reseal.".into());
        }
        hints.join(" ")
    }
}

impl fmt::Display for Passed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.counts().into_iter().filter(|(count, _)| *count > 0);
        let mut parts: Vec<String> =
            counts.map(|(count, what)| format!("{count} {what}")).collect();
        if !self.foreign.is_empty() {
            parts.push(format!("foreign partitions not read: {}", self.foreign.join(", ")));
        }
        write!(f, "{}.", parts.join("; "))
    }
}
