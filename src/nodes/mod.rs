//! Other nodes of this database: which there are, and what they answer.
//!
//! Servers that are named, from CREATE SERVER, are asked by connections of our own. Without names they are Citus' nodes, and
//! it is Citus that asks them.
//!
//! And this node beside them: what each says of itself, and whether they agree.

mod agree;
mod citus;
mod compare;
mod difference;
mod literal;
mod name;
#[cfg(feature = "nodes")]
mod options;
mod own;
#[cfg(test)]
mod samples;
#[cfg(feature = "nodes")]
mod servers;
mod state;
mod sync;
#[cfg(feature = "nodes")]
mod tls;

use std::ffi::CString;

use crate::error::{Error, Result};
use crate::pg::acl;

pub use self::agree::Others;
pub use self::difference::Difference;
pub use self::own::own;
pub use self::sync::{Row, Wish, sync};

/// Nodes, and how they are asked. What is open to them is closed when this is dropped.
pub struct Nodes {
    names: Vec<String>,
    way: Way,
}

enum Way {
    Citus(Vec<citus::Worker>),
    #[cfg(feature = "nodes")]
    Servers(Vec<servers::Server>),
}

/// What a node answers: the one text of the one row that it was asked for.
pub type Answer = std::result::Result<Option<String>, Fault>;

/// Why a node did not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Five characters.
    pub sqlstate: String,
    /// Neither a key nor a password: PostgreSQL's own message, or ours.
    pub message: String,
}

impl Fault {
    fn new(sqlstate: &str, message: impl Into<String>) -> Fault {
        Fault { sqlstate: sqlstate.to_owned(), message: message.into() }
    }
}

/// Whether the function of that signature is this extension's: in a database without it anybody may have made one of the
/// name, which would run as the role that asks. A question of its own: a part of another could run while that is planned.
const IS_OURS: &str = "SELECT (
    SELECT 'it is' FROM pg_catalog.pg_depend d
    JOIN pg_catalog.pg_extension e ON e.oid OPERATOR(pg_catalog.=) d.refobjid
    WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass::pg_catalog.oid
      AND d.objid OPERATOR(pg_catalog.=) pg_catalog.to_regprocedure($1)::pg_catalog.oid
      AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass::pg_catalog.oid
      AND d.deptype OPERATOR(pg_catalog.=) 'e'::pg_catalog.\"char\"
      AND e.extname OPERATOR(pg_catalog.=) 'pgrx-example'::pg_catalog.name)::pg_catalog.text";

/// What is said of a node where it is not.
const NO_EXTENSION: &str = "the extension is not there, or is an earlier release";

impl Nodes {
    /// Asks the nodes that are not left out whether a function of ours is there, before it may be called: `None` of a
    /// node that was not asked.
    pub fn have(
        &mut self,
        signature: &str,
        is_left_out: &[bool],
    ) -> Result<Vec<Option<std::result::Result<bool, Fault>>>> {
        let asked = is_left_out.iter().map(|left| (!left).then(|| signature.to_owned())).collect();
        let answers = self.ask(IS_OURS, asked)?.into_iter();
        Ok(answers.map(|answer| answer.map(|it| it.map(|found| found.is_some()))).collect())
    }

    /// The servers of those names; without names, Citus' other nodes. No node is asked yet.
    ///
    /// # Errors
    /// Servers are for superusers; there must be a way to nodes at all.
    pub fn new(servers: Option<&[CString]>) -> Result<Nodes> {
        let Some(names) = servers else {
            let workers = citus::workers()?.ok_or(Error::NoNodes)?;
            let names = workers.iter().map(citus::Worker::name).collect();
            return Ok(Nodes { names, way: Way::Citus(workers) });
        };
        // Such a connection is made by the server's own user, from its own machine, with files that it may read.
        if !acl::is_superuser() {
            return Err(Error::SuperuserOnly {
                what: "connect to other nodes by the names of servers",
                hint: "Have a superuser call it. Citus' nodes are asked as the current role: leave out servers.",
            });
        }
        Self::of_servers(names)
    }

    #[cfg(feature = "nodes")]
    fn of_servers(names: &[CString]) -> Result<Nodes> {
        let servers = names.iter().map(|name| servers::Server::new(name));
        let servers = servers.collect::<Result<Vec<_>>>()?;
        let names = names.iter().map(|name| crate::pg::encoding::text(name)).collect();
        Ok(Nodes { names, way: Way::Servers(servers) })
    }

    #[cfg(not(feature = "nodes"))]
    fn of_servers(_names: &[CString]) -> Result<Nodes> {
        Err(Error::NoConnections)
    }

    /// What the nodes are called: `host:port`, or the server's name.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Asks those of the nodes that have an argument `sql`, all at the same time; their answers, in the nodes' order.
    ///
    /// `sql` is one statement that gives one row of one text, with the argument, a text, as its `$1`. It names
    /// everything with its schema. It runs in a transaction of its own over there. Cancel ends the wait, and, as far as
    /// a node can be told, the statements.
    ///
    /// # Errors
    /// What keeps all nodes from being asked; what one node has against it is its answer.
    pub fn ask(
        &mut self,
        sql: &'static str,
        arguments: Vec<Option<String>>,
    ) -> Result<Vec<Option<Answer>>> {
        match &mut self.way {
            Way::Citus(workers) => citus::ask(workers, sql, &arguments),
            #[cfg(feature = "nodes")]
            Way::Servers(servers) => servers::ask(servers, sql, arguments),
        }
    }
}

#[cfg(all(test, not(feature = "nodes")))]
mod tests {
    use super::*;

    #[test]
    fn connections_that_were_left_out_are_told_by_their_feature() {
        let error = Nodes::of_servers(&[]).err();
        assert!(error.is_some_and(|error| {
            error.sqlstate_text() == "0A000" && error.to_string().contains("feature nodes")
        }));
    }
}
