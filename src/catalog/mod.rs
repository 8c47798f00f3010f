//! The extension's own tables as typed rows: read by index scan with the newest snapshot, or many with
//! one ([`at_one_moment`]), written by SPI as the owner of the schema.

mod arrival;
pub mod checks;
pub mod citus;
mod invalidate;
pub mod loading;
mod refs;
pub mod rows;
mod scan;
pub mod shards;
pub mod tables;
pub mod views;
pub mod whole;
pub mod write;

use std::ffi::CStr;

use pgrx::pg_sys;

use crate::error::{Error, Result};
use crate::pg::sealing::{self, SealingTrigger};
use crate::pg::state::Number;
use crate::pg::{extension, relation};

pub use invalidate::watch;
pub use scan::at_one_moment;

const EXTENSION: &CStr = c"pgrx-example";
const SCHEMA: &CStr = c"envelope";

/// Its tables that sessions keep in mind.
pub const TABLES: [&CStr; 6] =
    [c"keyring", c"keyring_table", c"data_key", c"wrapped_key", c"key_grant", c"sealed_column"];

/// As [`TABLES`], of a later release: the catalog of an earlier one lacks them.
pub const LATER_TABLES: [&CStr; 1] = [c"column_index"];

/// The others.
const FURTHER_TABLES: [&CStr; 4] = [c"key_use", c"reencryption", c"followed_keyring", c"key_event"];

/// All of them: the extension writes to them as the owner of the schema.
pub fn tables() -> impl Iterator<Item = &'static CStr> {
    TABLES.into_iter().chain(LATER_TABLES).chain(FURTHER_TABLES)
}

/// Triggers that single tables have and that must fire always, and what is wrong when one does not.
pub const TRIGGERS: [(&CStr, &CStr, &str); 15] = [
    (c"data_key", c"keep_identity", "a data key can be overwritten by another"),
    (c"data_key", c"keep_destroyed", "a destroyed data key can come back"),
    (c"data_key", c"follow", "keys that replication brings are taken for this database's own"),
    (c"reencryption", c"stay_local", "replication changes what is of this database alone"),
    (c"followed_keyring", c"stay_local", "replication changes what is of this database alone"),
    (c"key_use", c"keep_out", KEPT_OUT),
    (c"key_use", c"keep_out_before", KEPT_OUT),
    (c"reencryption", c"keep_out", KEPT_OUT),
    (c"reencryption", c"keep_out_before", KEPT_OUT),
    (c"followed_keyring", c"keep_out", KEPT_OUT),
    (c"followed_keyring", c"keep_out_before", KEPT_OUT),
    (c"key_event", c"keep_out", KEPT_OUT),
    (c"key_event", c"keep_out_before", KEPT_OUT),
    (c"key_event", c"keep_history", REWRITABLE),
    (c"key_event", c"keep_history_truncate", REWRITABLE),
];

/// What is wrong without the triggers that keep others out.
pub const KEPT_OUT: &str = "members of pg_write_all_data may write";

/// What is wrong without those that have the history of keys grow only.
const REWRITABLE: &str = "the history of keys can be changed";

/// The event trigger by which drops are seen.
pub const DROPS: &CStr = c"envelope_watch_drops";

/// The OID of schema `envelope`, which must be the extension's own: in a database that does not have
/// the extension, but the preloaded library, whoever may create schemas could make one of that name
/// and put anything into it.
pub fn schema() -> Result<pg_sys::Oid> {
    static OURS: Number = Number::new(0);
    let schema = relation::schema_named(SCHEMA).ok_or(Error::NotInstalled)?;
    // Another schema has another OID, so that this one is asked about once.
    if OURS.get() != u64::from(schema.to_u32()) {
        if !extension::owns_schema(EXTENSION, schema) {
            return Err(Error::NotInstalled);
        }
        OURS.set(schema.to_u32().into());
    }
    Ok(schema)
}

/// The OID of the table or index `name` in schema `envelope`: a system-cache look-up, always
/// right even when the extension was dropped and created again. One that is missing was not there yet
/// when the catalog was made.
pub fn oid_of(name: &CStr) -> Result<pg_sys::Oid> {
    relation::in_schema(schema()?, name).ok_or(Error::Outdated)
}

/// The sealing triggers of `relation`, which is there.
pub fn sealing_triggers(relation: pg_sys::Oid) -> Vec<SealingTrigger> {
    sealing::triggers(EXTENSION, relation)
}

/// Has the sealing triggers of `relation` name the column `to` where they name `from`, as sealed column or as source.
pub fn rename_in_sealing_triggers(relation: pg_sys::Oid, from: &CStr, to: &CStr) {
    let (from, to) = (from.to_bytes(), to.to_bytes());
    sealing::rename_in_arguments(EXTENSION, relation, |argument| {
        let names: Vec<&[u8]> = argument.splitn(2, |byte| *byte == b'=').collect();
        let new = |name: &&[u8]| if *name == from { to.to_vec() } else { name.to_vec() };
        names.contains(&from).then(|| names.iter().map(new).collect::<Vec<_>>().join(&b'='))
    });
}

/// The type `name` in schema `envelope`.
fn type_of(name: &CStr) -> Result<pg_sys::Oid> {
    relation::type_in_schema(schema()?, name).ok_or(Error::NotInstalled)
}
