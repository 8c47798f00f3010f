//! What a DROP means for keyrings. Backups may need a keyring for longer than its table lives: it
//! stays, without a table, until another adopts it. The extension itself, with every wrapped key,
//! is not dropped by the way.
//!
//! PostgreSQL tells of each table before it goes, in any command that takes tables along, so
//! nothing has to be kept in memory between a drop that is seen and a row that is written: a
//! rollback undoes both. An event trigger has the library loaded before such commands.

use pgrx::pg_sys;

use crate::audit::{self, Action};
use crate::catalog::rows::{self, KeyringTable};
use crate::catalog::write::events;
use crate::catalog::{self, whole, write};
use crate::error::{Error, Result};
use crate::keyring::table::plain_name;
use crate::keyring::users;
use crate::pg::hook::{self, Cause};
use crate::pg::relation::{self, Kind};
use crate::pg::{encoding, report};
use crate::settings;

/// What a drop is looked up in. With one of them missing the extension is not installed, or is
/// half gone since its own drop is allowed.
const LOOKED_UP: [&std::ffi::CStr; 6] = [
    c"keyring",
    c"keyring_table",
    c"keyring_table_relation",
    c"sealed_column",
    c"sealed_column_relation",
    c"reencryption",
];

/// From now on every drop is acted upon. To be called once, when the library is loaded.
pub fn watch() {
    hook::on_relation_drop(|relation, cause| {
        if let Err(error) = before_drop(relation, cause) {
            report::raise(error.into());
        }
    });
}

fn before_drop(relation: pg_sys::Oid, cause: Cause) -> Result<()> {
    if [c"keyring", c"keyring_table"]
        .iter()
        .any(|name| catalog::oid_of(name).is_ok_and(|it| it == relation))
    {
        return refuse_loss();
    }
    if relation::kind(relation) == Kind::Table
        && LOOKED_UP.iter().all(|name| catalog::oid_of(name).is_ok())
        && (cause == Cause::Statement || is_known(relation)?)
    {
        let_go(relation)?;
    }
    Ok(())
}

/// Whether there is anything to let go of. Most of what PostgreSQL drops for itself is no business of
/// ours; a table of a temporary type goes with the type.
fn is_known(relation: pg_sys::Oid) -> Result<bool> {
    Ok(!rows::keyring_tables(relation)?.is_empty()
        || !rows::sealed_columns(relation)?.is_empty()
        || !rows::indexes(relation)?.is_empty())
}

/// A dropped table's OID will be another table's some day, and whose it was is only known now.
fn let_go(relation: pg_sys::Oid) -> Result<()> {
    tell(relation)?;
    for link in rows::keyring_tables(relation)? {
        let owner = relation::owner(relation)
            .ok_or_else(|| Error::NoRelation(relation::display_name(relation)))?;
        write::links::orphan(link.id, owner)?;
        if link.seals {
            write::links::last_seen(link.keyring_id, &plain_name(relation)?)?;
        }
    }
    write::reencryption::forget(relation)?;
    for id in rows::sealed_columns(relation)? {
        write::links::orphan_column(id)?;
    }
    let of_keys = rows::indexes_with_keys_of(relation)?;
    if !(of_keys.is_empty() && rows::indexes(relation)?.is_empty()) {
        write::indexes::forget_table(relation)?;
    }
    Ok(())
}

/// Of a table that seals or has policies; which columns had them.
fn tell(relation: pg_sys::Oid) -> Result<()> {
    let links = rows::keyring_tables(relation)?;
    let sealing = links.iter().find(|link| link.seals).map(|link| link.keyring_id);
    let policies = rows::policies(relation)?;
    if sealing.is_none() && policies.is_empty() {
        return Ok(());
    }
    let columns: Vec<String> =
        policies.iter().map(|policy| encoding::text(&policy.column_name)).collect();
    events::tell(Action::DropTable, |event| {
        event.table = Some(relation::display_name(relation));
        event.keyring_id = sealing.and_then(audit::keyring);
        event.detail = (!columns.is_empty()).then(|| columns.join(", "));
    })
}

/// 2BP01 while there are keyrings. Looked at when the first of the catalog's tables is about to
/// go: of an extension PostgreSQL drops the members before it names the extension itself.
fn refuse_loss() -> Result<()> {
    if settings::allow_drop() || catalog::oid_of(c"keyring").is_err() {
        return Ok(());
    }
    let keyrings = whole::keyrings()?;
    if keyrings.is_empty() {
        return Ok(());
    }
    let links = match catalog::oid_of(c"keyring_table") {
        Ok(_) => whole::keyring_tables()?,
        Err(_) => Vec::new(),
    };
    let mut tables: Vec<String> = keyrings
        .iter()
        .map(|keyring| {
            let sealed = |link: &&KeyringTable| link.keyring_id == keyring.id && link.seals;
            let table = links.iter().filter(sealed).find_map(users::living_table);
            table.map_or_else(|| keyring.table_name.clone(), relation::display_name)
        })
        .collect();
    tables.sort_unstable();
    Err(Error::KeyringsWouldBeLost(tables))
}
