//! Tables whose values cannot be looked at from here, and what helps.

use std::fmt;

use super::{identifier, literal, on_placements};

/// What of a table's keeps its values from being seen.
#[derive(Debug)]
pub enum Unseen {
    OtherSessions,
    Distributed,
    /// It is a foreign table, whose rows only a SELECT gets, and that of this one would prove nothing.
    Foreign(NoProof),
}

/// Why a SELECT of a foreign table does not prove what is left there.
#[derive(Debug)]
pub enum NoProof {
    /// It is none of postgres_fdw's.
    OtherWrapper,
    /// Row security may hide rows from the role that is asked as, on the server of that name.
    RowSecurity(String),
    /// What was read from that server in this transaction before is all that it would see.
    ReadBefore(String),
    /// Who writes to it from here is not kept out.
    NotLocked,
    /// The owner of its schema could put another relation in its place; or the role may not do what its owner may; or
    /// a column is of somebody else's domain, whose constraints would run as its owner.
    NotItsOwners,
}

impl fmt::Display for Unseen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unseen::OtherSessions => "another session's temporary table",
            Unseen::Distributed => "distributed table",
            Unseen::Foreign(_) => "foreign table",
        })
    }
}

impl Unseen {
    /// For the HINT line.
    pub(super) fn hint(&self, table: &str, column: &str) -> String {
        let column = literal(column);
        let (there, census) = match self {
            Unseen::Distributed => {
                let column = column.replace('%', "%%");
                let call = format!("SELECT json_agg(c) FROM envelope.census(%L, {column}) c");
                (", on the coordinator", on_placements(table, &call))
            }
            _ => ("", format!("SELECT * FROM envelope.census({}, {column})", literal(table))),
        };
        let count = format!(
            "Count what is left{there}: {census}. If there is nothing under the key: \
             envelope.destroy_key(..., shred => true), or envelope.unshare_keyring(..., force => true)."
        );
        match self {
            Unseen::Foreign(NoProof::RowSecurity(server)) => format!(
                "Row security of server {0} may hide rows. Have it refuse instead, and they are searched from here: ALTER \
                 SERVER {0} OPTIONS (ADD options '-c row_security=off'). Or: {count}",
                identifier(server)
            ),
            Unseen::Foreign(NoProof::ReadBefore(server)) => format!(
                "This transaction has read from server {} before, and would see there what it saw then. Make this \
                 call the first that reads from it, in a transaction of its own.",
                identifier(server)
            ),
            _ => count,
        }
    }
}
