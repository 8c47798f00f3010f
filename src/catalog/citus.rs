//! Citus: which tables it has distributed, and what this node is among its nodes.
//!
//! It is recognised by its catalog, as far as that stands in schema pg_catalog and belongs to an extension of that
//! name: anybody can make tables that are called so elsewhere. Nothing of it is linked or called.

use std::ffi::CStr;

use pgrx::pg_sys;

use crate::catalog::{scan, tables};
use crate::error::Result;
use crate::pg::{attribute, client, extension, relation};

/// Where its catalog stands.
pub(super) const SCHEMA: pg_sys::Oid = pg_sys::Oid::from_u32(pg_sys::PG_CATALOG_NAMESPACE);

/// Whether Citus has distributed `relation`: its rows stand on other nodes.
pub fn is_distributed(relation: pg_sys::Oid) -> Result<bool> {
    if table(c"pg_dist_partition").is_none() {
        return Ok(false);
    }
    let sql = "SELECT logicalrelid::oid FROM pg_catalog.pg_dist_partition WHERE logicalrelid = $1";
    Ok(!tables::rows_now(sql, &[relation.into()])?.is_empty())
}

/// The tables that Citus has distributed, those that it has put on all nodes and those of a schema among them.
pub fn distributed() -> Result<Vec<pg_sys::Oid>> {
    let Some(list) = table(c"pg_dist_partition") else { return Ok(Vec::new()) };
    let Some(column) = attribute::number(list, c"logicalrelid") else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    scan::all_of(list, |row| {
        found.extend(row.oid(column));
        Ok(true)
    })?;
    Ok(found)
}

/// Whether this session works for another node, as a part of what a client has asked that one for.
pub fn works_for_another_node() -> bool {
    client::application_begins_with(&ITS_APPLICATIONS) && table(c"pg_dist_shard").is_some()
}

/// What the applications are called as which nodes talk to each other. Whoever takes such a name is refused what
/// nodes are refused, and gets nothing for it.
const ITS_APPLICATIONS: [&[u8]; 3] =
    [b"citus_internal gpid=", b"citus_run_command gpid=", b"citus_rebalancer gpid="];

/// Whether Citus is here, and knows of nodes.
pub fn has_nodes() -> bool {
    table(c"pg_dist_node").is_some()
}

/// Whether Citus is here, and this node is its coordinator.
pub fn is_coordinator() -> Result<bool> {
    Ok(local_group()? == Some(0))
}

/// Whether `relation` is a table that Citus has distributed, and this node is not its coordinator.
pub fn is_away_from_coordinator(relation: pg_sys::Oid) -> Result<bool> {
    Ok(local_group()?.is_some_and(|group| group != 0) && is_distributed(relation)?)
}

/// The table of that name in Citus' catalog.
pub(super) fn table(name: &CStr) -> Option<pg_sys::Oid> {
    let list = relation::in_schema(SCHEMA, name)?;
    extension::owns_relation(c"citus", list).then_some(list)
}

/// The group of nodes that this one is of; 0 is the coordinator's.
fn local_group() -> Result<Option<i32>> {
    let Some(groups) = table(c"pg_dist_local_group") else { return Ok(None) };
    let mut group = None;
    scan::all_of(groups, |row| {
        group = attribute::number(groups, c"groupid").and_then(|column| row.i32(column));
        Ok(false)
    })?;
    Ok(group)
}
