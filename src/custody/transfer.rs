//! A table's keyrings as JSON, out of one database and into another. Data keys stay wrapped:
//! whoever reads it needs the KEK.

mod document;
mod grants;
mod importer;
mod merge;
mod plan;
mod take;

use std::collections::HashSet;

use pgrx::pg_sys;
use uuid::Uuid;

use crate::audit::{self, Action};
use crate::catalog::write::events;
use crate::catalog::{at_one_moment, rows, shards, write};
use crate::custody::transfer::document::{Transferred, TransferredKeyring};
pub use crate::custody::transfer::importer::longest as longest_import;
pub use crate::custody::transfer::merge::Resolve;
use crate::custody::transfer::plan::{Plan, WAS_NOT_HERE};
pub use crate::custody::transfer::take::{Batch, Step, longest as longest_batch, take};
use crate::custody::{followed, links};
use crate::error::{Error, Result};
use crate::keyring;
use crate::keyring::table;
use crate::keyring::users;
use crate::pg::relation::{self, Kind};
use crate::pg::report;
use crate::{kek, settings};

/// The keyring that `relation` seals with, and those beside it that it or a partition of it opens with,
/// as JSON text. For those who may manage its keys; a keyring that they may not open is left out, and
/// told.
pub fn export(relation: pg_sys::Oid) -> Result<String> {
    settings::check_unplanted()?;
    let table = table::get(relation)?;
    table.require_manage_right()?;
    let sealing = table.sealing_keyring()?;
    let (schema, name) = relation::qualified_name(table.root()).ok_or_else(|| table.no_key())?;
    let mut ids = vec![sealing];
    // A partition is exported by itself.
    let root = table.root();
    let members = if relation == root { relation::partitions(root) } else { vec![root, relation] };
    for member in members {
        let opens: HashSet<Uuid> = table::get(member)?.open_keyrings().collect();
        for link in rows::keyring_tables(member)? {
            if ids.contains(&link.keyring_id) {
                continue;
            }
            if opens.contains(&link.keyring_id) {
                ids.push(link.keyring_id);
            } else {
                left_out(link.keyring_id, member);
            }
        }
    }
    let read = |id| read_keyring(id, id == sealing);
    // A key and its wraps as they are at one moment: it may be destroyed meanwhile.
    let keyrings = at_one_moment(|| ids.into_iter().map(read).collect::<Result<_>>())?;
    let exported = Transferred { schema, table: name, keyrings };
    for TransferredKeyring { id, .. } in &exported.keyrings {
        audit::log(Action::Export, |event| {
            event.table = Some(table.name());
            event.keyring_id = audit::keyring(*id);
        });
    }
    document::write(&exported)
}

fn left_out(keyring_id: Uuid, member: pg_sys::Oid) {
    let table = relation::display_name(member);
    report::warning(
        format!("keyring {keyring_id}, which table {table} opens with, is not in the export"),
        "The current role may not open it: have its owner, or a superuser, export.",
    );
}

fn read_keyring(id: Uuid, seals: bool) -> Result<TransferredKeyring> {
    let keyring = rows::keyring(id)?.ok_or(Error::UnknownKeyring(id))?;
    let with_wraps = |key: rows::DataKeyHistory| {
        let wraps = rows::wrapped_keys(key.row.key_id)?;
        Ok((key, wraps))
    };
    let keys = rows::data_key_histories(id)?.into_iter().map(with_wraps).collect::<Result<_>>()?;
    Ok(TransferredKeyring { id, seals, keyring, keys, grants: grants::read(id)? })
}

/// How a keyring is imported.
#[derive(Clone, Copy)]
pub struct How {
    /// Its keys are made and rotated where it comes from, from here on.
    pub follows: bool,
    /// Rights come along.
    pub brings_grants: bool,
    pub resolve: Resolve,
}

impl Default for How {
    fn default() -> How {
        How { follows: false, brings_grants: false, resolve: Resolve::Refuse }
    }
}

/// Brings the keyrings in `json` into this database and gives them to `relation`; without one, to
/// the table that bears the name they came with, if that seals with nothing yet. What is here gains
/// what is missing, after that was unwrapped and compared, and goes on with what has happened to it
/// there; nothing goes back. The id of the keyring that seals. For superusers, and for owners of the table as
/// [`importer`] has it: wraps from elsewhere are what this server asks its KMS to open.
pub fn import(json: &str, relation: Option<pg_sys::Oid>, how: How) -> Result<Uuid> {
    let incoming = Incoming::read(json, relation, how)?;
    // The KMS is asked before any lock is taken.
    let tried = incoming.tried()?;
    incoming.bring(&tried)
}

/// Keyrings that are to come in.
struct Incoming {
    imported: Transferred,
    target: Option<pg_sys::Oid>,
    by_name: bool,
    /// What the table that was named uses already.
    named: HashSet<Uuid>,
    how: How,
}

impl Incoming {
    /// Reads them, and sees whether the current role may bring them.
    fn read(json: &str, relation: Option<pg_sys::Oid>, how: How) -> Result<Incoming> {
        settings::check_unplanted()?;
        importer::require_owner(relation)?;
        let mut imported = document::read(json)?;
        at_one_moment(|| importer::leave_out_others(&mut imported))?;
        let target = match relation {
            Some(relation) => Some(relation),
            None => namesake(&imported)?,
        };
        if let Some(target) = target {
            table::require_can_have_keys(target)?;
        }
        for TransferredKeyring { id, .. } in &imported.keyrings {
            followed::require_own_keyring(*id, &imported.table_name())?;
        }
        if let Some(target) = target {
            followed::require_not_replicated(&table::get(target)?)?;
        }
        require_allowed(&imported)?;
        let named = relation.map_or_else(|| Ok(HashSet::new()), keyrings_of)?;
        Ok(Incoming { imported, target, by_name: relation.is_none(), named, how })
    }

    /// What there is to do.
    fn plan(&self) -> Result<Plan<'_>> {
        Plan::of(&self.imported, &self.named, self.how.resolve)
    }

    /// As [`Self::plan`], of all as it was at one moment: another's import may commit meanwhile, and a half of it would
    /// look like a contradiction.
    fn plan_at_one_moment(&self) -> Result<Plan<'_>> {
        at_one_moment(|| self.plan())
    }

    /// As [`Self::plan`], after the KMS was asked for what is not here.
    fn tried(&self) -> Result<Plan<'_>> {
        let plan = self.plan_at_one_moment()?;
        importer::require_of_this_database(plan.to_be_tried().copied())?;
        plan.try_wraps(&self.imported.table_name())?;
        Ok(plan)
    }

    /// Brings them; the id of the one that seals.
    fn bring(&self, tried: &Plan<'_>) -> Result<Uuid> {
        let Incoming { imported, target, how, .. } = self;
        if let Some(target) = *target {
            links::keep(target)?;
        }
        lock(imported, *target)?;
        importer::require_own(imported)?;
        let plan = self.plan()?;
        let table = target.map_or_else(|| imported.table_name(), relation::display_name);
        plan.require_tried(tried, &table)?;
        plan.carry_out(&table)?;
        if let Some(target) = *target {
            give(imported, &plan, target, self.by_name)?;
        }
        for keyring in &imported.keyrings {
            if how.brings_grants {
                grants::bring(keyring, &table)?;
            }
            if how.follows {
                followed::follow(keyring.id, &table)?;
            }
        }
        keyring::look_again();
        for TransferredKeyring { id, .. } in &imported.keyrings {
            events::tell(Action::Import, |event| {
                event.table = Some(table.clone());
                event.keyring_id = audit::keyring(*id);
                // What its keys tell of themselves, times and reasons, is what the import says.
                event.detail = plan.brings(*id).then(|| WAS_NOT_HERE.into());
            })?;
        }
        Ok(imported.sealing().id)
    }
}

/// The keyrings that `relation` uses.
fn keyrings_of(relation: pg_sys::Oid) -> Result<HashSet<Uuid>> {
    Ok(rows::keyring_tables(relation)?.into_iter().map(|link| link.keyring_id).collect())
}

/// The table that bears the name the keyrings came with, if it seals with nothing yet and no other
/// table seals with them.
fn namesake(imported: &Transferred) -> Result<Option<pg_sys::Oid>> {
    let Some(relation) = relation::plainly_named(&imported.schema, &imported.table) else {
        return Ok(None);
    };
    let is_free = relation::kind(relation) == Kind::Table
        && rows::sealing_keyring(shards::root(relation)?)?.is_none()
        && users::sealing_table(&rows::tables_of(imported.sealing().id)?).is_none();
    Ok(is_free.then_some(relation))
}

/// 42501 unless every KEK is allowed here.
fn require_allowed(imported: &Transferred) -> Result<()> {
    for TransferredKeyring { keyring, keys, .. } in &imported.keyrings {
        if let Some(kek) = &keyring.default_kek {
            kek::named(kek)?;
        }
        for wrap in keys.iter().flat_map(|(_, wraps)| wraps) {
            if !kek::is_allowed(&wrap.kek)? {
                return Err(Error::KekNotAllowed(wrap.kek.clone()));
            }
        }
    }
    Ok(())
}

/// In one order, so that two imports at once do not wait for each other.
fn lock(imported: &Transferred, target: Option<pg_sys::Oid>) -> Result<()> {
    let mut ids: Vec<Uuid> = imported.keyrings.iter().map(|keyring| keyring.id).collect();
    ids.sort_unstable();
    links::lock_links_of_all(ids.iter().copied())?;
    target.map_or(Ok(()), links::lock_table)?;
    // A key that is being destroyed must not get a wrap, nor one whose KEKs are being changed.
    ids.iter().try_for_each(|id| write::lock_keyring(*id, true).map(|_| ()))
}

fn give(imported: &Transferred, plan: &Plan<'_>, target: pg_sys::Oid, by_name: bool) -> Result<()> {
    let own = keyrings_of(target)?;
    for keyring in imported.keyrings.iter().filter(|keyring| !own.contains(&keyring.id)) {
        plan.require_proven(keyring.id)?;
    }
    let sealing = imported.sealing().id;
    let seals = links::link(sealing, target)?;
    for keyring in imported.keyrings.iter().filter(|keyring| !keyring.seals) {
        links::let_open(keyring.id, target)?;
    }
    if by_name && seals {
        let table = relation::display_name(target);
        report::notice(format!("table {table} seals with imported keyring {sealing}"));
    }
    Ok(())
}
