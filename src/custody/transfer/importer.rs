//! Who may import what. A superuser anything; the owner of a table what is for that table: keyrings that are new here,
//! and those whose keys they manage. What the KMS may be asked for them is what `envelope.allowed_keks` permits, of keys
//! that were made for a database of this name: whoever may read the wraps of one database is not to have another one
//! open them.

use envelope::header::KeyId;
use pgrx::pg_sys;
use uuid::Uuid;

use crate::catalog::rows::{self, State, WrappedKey};
use crate::custody::orphans;
use crate::custody::transfer::document::Transferred;
use crate::error::{Error, Result};
use crate::keyring::table;
use crate::keyring::users;
use crate::pg::{acl, guc, report};

/// Bytes of an exported keyring: ten thousand wraps and more.
const LONGEST: usize = 16 * 1024 * 1024;

/// The same for who is no superuser: what does not fit into memory here would end the server, not the statement.
const LONGEST_OF_OWNERS: usize = 1024 * 1024;

/// Bytes of an exported keyring that the current role may give.
pub fn longest() -> usize {
    if acl::is_superuser() { LONGEST } else { LONGEST_OF_OWNERS }
}

/// 42501 unless the current role is a superuser, or `relation` was named and is its own.
pub fn require_owner(relation: Option<pg_sys::Oid>) -> Result<()> {
    if acl::is_superuser() {
        return Ok(());
    }
    let relation = relation.ok_or(Error::NotImporter)?;
    table::gone(relation).map_or(Ok(()), Err)?;
    if acl::owns_relation(acl::current_role(), relation) { Ok(()) } else { Err(Error::NotImporter) }
}

/// Leaves out what is another's: keyrings that a WARNING names; 42501 for the one that seals. And what nobody needs but
/// the owner of what it is about: that a key was destroyed which is not here. Whoever knows the id of another's key could
/// take that id away so.
pub fn leave_out_others(imported: &mut Transferred) -> Result<()> {
    if acl::is_superuser() {
        return Ok(());
    }
    require_managed(imported.sealing().id)?;
    let mut others = Vec::new();
    for keyring in &imported.keyrings {
        if !is_managed(keyring.id)? {
            others.push(keyring.id);
        }
    }
    for keyring_id in &others {
        report::warning(
            format!("keyring {keyring_id} is here already, and was left as it is"),
            "The current role may not manage its keys: have its owner, or a superuser, import.",
        );
    }
    imported.keyrings.retain(|keyring| !others.contains(&keyring.id));
    for keyring in &mut imported.keyrings {
        let mut unknown = Vec::new();
        for (key, _) in &keyring.keys {
            let key_id = key.row.key_id;
            if key.row.state == State::Destroyed && rows::data_key(key_id)?.is_none() {
                unknown.push(key_id);
            }
        }
        keyring.keys.retain(|(key, _)| !unknown.contains(&key.row.key_id));
    }
    Ok(())
}

/// 42501 unless each of these wraps, which the KMS is to be asked for, says that it was made for a database of this name.
/// Two of one name are never in one cluster, and the nodes that a table's keys travel to have one name. Who may read the
/// wraps of a database, as its owner or for a dump, could have their own table in another one open them otherwise.
pub fn require_of_this_database<'a>(
    mut wraps: impl Iterator<Item = (KeyId, &'a WrappedKey)>,
) -> Result<()> {
    if acl::is_superuser() {
        return Ok(());
    }
    let name = guc::current_database();
    let is_here = |wrap: &WrappedKey| {
        wrap.kms_context.iter().any(|(key, value)| (key, value) == ("database", &*name))
    };
    match wraps.find(|(_, wrap)| !is_here(wrap)) {
        Some((key_id, _)) => Err(Error::OtherDatabase(key_id)),
        None => Ok(()),
    }
}

/// 42501 when one of the keyrings has become another's meanwhile. To be called under their locks.
pub fn require_own(imported: &Transferred) -> Result<()> {
    if acl::is_superuser() {
        return Ok(());
    }
    imported.keyrings.iter().try_for_each(|keyring| require_managed(keyring.id))
}

fn require_managed(keyring_id: Uuid) -> Result<()> {
    if is_managed(keyring_id)? { Ok(()) } else { Err(Error::ForeignKeyring(keyring_id)) }
}

/// Whether the keyring is new here, or the current role's to manage: as that of the table that seals with it, or of one
/// that was dropped, or as one that nothing but its tables opens with, and that no table here ever sealed with.
fn is_managed(keyring_id: Uuid) -> Result<bool> {
    let links = rows::tables_of(keyring_id)?;
    if links.is_empty() {
        return Ok(rows::keyring(keyring_id)?.is_none() && rows::data_keys(keyring_id)?.is_empty());
    }
    if let Some(sealing) = users::sealing_table(&links) {
        return Ok(table::as_seen_by(sealing, acl::current_role())?.manages(keyring_id));
    }
    if links.iter().any(|link| link.seals) {
        return Ok(orphans::require_former_owner(keyring_id, &links, "import").is_ok());
    }
    let role = acl::current_role();
    let mut users = links.iter().filter_map(users::living_table);
    Ok(users.all(|table| acl::owns_relation(role, table)))
}
