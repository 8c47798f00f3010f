//! Other nodes asked, and held against this one.

use std::collections::HashSet;
use std::ffi::CString;

use serde_json::json;

use super::compare::{Scope, compare};
use super::difference::{Between, Difference, Kind};
use super::state::NodeState;
use super::{Answer, Fault, NO_EXTENSION, Nodes, own};
use crate::catalog::citus;
use crate::error::{Result, literal};
use crate::pg::relation;

/// Tables of other nodes that are looked for here.
const MOST: usize = 10_000;

const ANSWERS: &str = "envelope.node_state(pg_catalog.text[], pg_catalog.bool)";

const QUESTION: &str = "SELECT envelope.node_state(
    ARRAY(SELECT pg_catalog.jsonb_array_elements_text(
        $1::pg_catalog.jsonb OPERATOR(pg_catalog.->) 'relations')),
    ($1::pg_catalog.jsonb OPERATOR(pg_catalog.->>) 'only')::pg_catalog.bool)::pg_catalog.text";

/// Other nodes that are to be held against this one.
pub struct Others {
    nodes: Nodes,
    scope: Scope,
}

impl Others {
    /// As [`Nodes::new`].
    pub fn new(servers: Option<&[CString]>) -> Result<Others> {
        let scope = if servers.is_some() { Scope::Common } else { Scope::Distributed };
        Ok(Others { nodes: Nodes::new(servers)?, scope })
    }

    /// In what each node differs from this one, and what to do about it.
    pub fn differences(mut self) -> Result<Vec<(Difference, String)>> {
        let is_distributed = self.scope == Scope::Distributed;
        let named = if is_distributed { distributed()? } else { Vec::new() };
        let mut here = own(&named, is_distributed)?;
        let relations: Vec<&String> = here.tables.iter().map(|table| &table.relation).collect();
        let question = json!({ "relations": relations, "only": is_distributed }).to_string();
        let names = self.nodes.names().to_vec();
        let has_it = self.nodes.have(ANSWERS, &vec![false; names.len()])?;
        let asks = |it: &Option<std::result::Result<bool, Fault>>| matches!(it, Some(Ok(true)));
        let asked = has_it.iter().map(|it| asks(it).then(|| question.clone())).collect();
        let answers = self.nodes.ask(QUESTION, asked)?.into_iter().zip(has_it);
        let states: Vec<_> = answers
            .map(|(answer, has_it)| match (answer, has_it) {
                (Some(answer), _) => read(answer),
                (None, Some(Err(fault))) => Err(Kind::Silent(fault)),
                (None, _) => Err(Kind::Silent(Fault::new("42704", NO_EXTENSION))),
            })
            .collect();
        if !is_distributed {
            add_unknown(&mut here, &states)?;
        }
        let mut found = Vec::new();
        for (there, state) in names.iter().zip(states) {
            let differences = match state {
                Ok(state) => compare(&here, &state, self.scope),
                Err(kind) => vec![Difference { kind, ..Difference::default() }],
            };
            let sync = if is_distributed { SYNC.to_owned() } else { sync_server(there) };
            let between = Between { there, sync: &sync };
            found.extend(differences.into_iter().map(|difference| {
                let message = difference.message(&between);
                (difference, message)
            }));
        }
        Ok(found)
    }
}

const SYNC: &str = "envelope.sync_keyrings()";

/// As [`SYNC`], for one server.
fn sync_server(name: &str) -> String {
    format!("envelope.sync_keyrings(ARRAY[{}])", literal(name))
}

/// The tables that are to be on all nodes; partitions go with their tables.
fn distributed() -> Result<Vec<String>> {
    let tables = citus::distributed()?.into_iter();
    let whole = tables.filter(|table| relation::partition_root(*table) == *table);
    Ok(whole.map(relation::display_name).collect())
}

fn read(answer: Answer) -> std::result::Result<NodeState, Kind> {
    let text = answer.map_err(Kind::Silent)?;
    NodeState::parse(&text.unwrap_or_default()).map_err(Kind::Unreadable)
}

/// Adds the tables that have keys elsewhere, and are here without.
fn add_unknown(
    here: &mut NodeState,
    others: &[std::result::Result<NodeState, Kind>],
) -> Result<()> {
    let known: HashSet<&str> = here.tables.iter().map(|table| table.relation.as_str()).collect();
    let tables = others.iter().flatten().flat_map(|node| &node.tables);
    let unknown =
        tables.filter(|table| table.seals.is_some() && !known.contains(table.relation.as_str()));
    let unknown: HashSet<String> = unknown.map(|table| table.relation.clone()).take(MOST).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    let unknown: Vec<String> = unknown.into_iter().collect();
    let found = own(&unknown, true)?.tables;
    here.tables.extend(found.into_iter().filter(|table| table.exists));
    here.tables.sort_by(|one, other| one.relation.cmp(&other.relation));
    Ok(())
}
