//! Many tables' keyrings from the node where they are made, in one call: what is missing here is brought, what follows
//! follows, and each table says what was done. One that fails holds up no other.

use pgrx::pg_sys;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::catalog::rows::{self, Verb};
use crate::custody::transfer::document::{self, TransferredKeyring};
use crate::custody::transfer::plan::Plan;
use crate::custody::transfer::{How, Incoming, Resolve, grants, importer, keyrings_of};
use crate::error::{Error, Result};
use crate::keyring::users;
use crate::pg::acl;
use crate::pg::relation;
use crate::pg::server;
use crate::pg::subxact::{Undone, attempt};

/// What a node is told. It travels as JSON in ASCII, which no encoding changes.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    /// Which server and database it comes from.
    pub from: String,
    /// Nothing is to be changed.
    pub dry_run: bool,
    /// Rights come along.
    pub grants: bool,
    /// Who owns the tables where their keys are made, where these are to be theirs here, too. An owner may do all with the
    /// keys: anybody who may make a table could make one of that name.
    pub owners: Option<Vec<String>>,
    /// As an export gives them.
    pub documents: Vec<String>,
}

/// What was done for a table, or why it was not.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub step: String,
    pub ok: bool,
    pub sqlstate: Option<String>,
    pub message: String,
}

impl Step {
    /// One that was done.
    pub fn done(step: &str, message: impl Into<String>) -> Step {
        Step { step: step.into(), ok: true, sqlstate: None, message: message.into() }
    }

    /// One that was not, or something that is not as it should be.
    pub fn failed(step: &str, sqlstate: &str, message: impl Into<String>) -> Step {
        Step {
            step: step.into(),
            ok: false,
            sqlstate: Some(sqlstate.into()),
            message: message.into(),
        }
    }

    /// By an error.
    pub fn undone(step: &str, undone: Undone<Error>) -> Step {
        match undone {
            Undone::Failed(error) => Step::failed(step, &error.sqlstate_text(), error.to_string()),
            Undone::Raised(code, message) => {
                Step::failed(step, &Error::Raised(code, String::new()).sqlstate_text(), message)
            }
        }
    }
}

/// Bytes of a batch that the current role may give.
pub fn longest() -> usize {
    importer::longest().saturating_mul(4)
}

/// Takes a [`Batch`]; its tables' steps, in their order, both as JSON.
pub fn take(batch: &str) -> Result<String> {
    let batch: Batch = serde_json::from_str(batch).map_err(|_| {
        Error::BadArgument("batch must be what envelope.sync_keyrings sends".into())
    })?;
    if batch.from == server::this_database() {
        return Err(Error::SyncsItself);
    }
    let how = How { follows: true, brings_grants: batch.grants, resolve: Resolve::Refuse };
    // Of all tables first what asks the KMS, and then what takes locks: none is held while the KMS is asked.
    if batch.owners.as_ref().is_some_and(|owners| owners.len() != batch.documents.len()) {
        return Err(Error::BadArgument("batch must name an owner for each document".into()));
    }
    let owner = |at: usize| batch.owners.as_ref().map(|owners| owners[at].as_str());
    let documents = batch.documents.iter().enumerate();
    let found: Vec<_> =
        documents.map(|(at, json)| attempt(|| Found::of(json, owner(at), how))).collect();
    let tried: Vec<_> = found
        .iter()
        .map(|found| found.as_ref().ok().map(|found| attempt(|| found.tried(batch.dry_run))))
        .collect();
    let mut steps: Vec<Vec<Step>> = Vec::with_capacity(found.len());
    for (found, tried) in found.iter().zip(tried) {
        steps.push(match (found, tried) {
            (Ok(found), Some(Ok(plan))) => found.carry_out(&plan, batch.dry_run),
            (Ok(_), Some(Err(undone))) => vec![Step::undone("import", undone)],
            _ => Vec::new(),
        });
    }
    for (found, steps) in found.into_iter().zip(&mut steps) {
        if let Err(undone) = found {
            let step = Step::undone("import", undone);
            let is_missing = step.sqlstate.as_deref() == Some("42P01");
            steps.push(Step { step: if is_missing { "table".into() } else { step.step }, ..step });
        }
    }
    serde_json::to_string(&steps).map_err(|error| Error::System(error.to_string()))
}

/// Keyrings whose table is here, and how they differ from what is here.
struct Found {
    incoming: Incoming,
    /// The one that seals is here, and its table was dropped.
    is_orphaned: bool,
    /// Not all of them are the table's already.
    is_given: bool,
    follows_already: bool,
    rights: Rights,
}

/// Rights that differ, as a role and a verb.
#[derive(Default)]
struct Rights {
    missing: Vec<String>,
    of_nobody: Vec<String>,
    surplus: Vec<String>,
}

impl Found {
    fn of(json: &str, owner: Option<&str>, how: How) -> Result<Found> {
        let imported = document::read(json)?;
        let relation = relation::plainly_named(&imported.schema, &imported.table);
        let relation = relation.ok_or_else(|| Error::NoRelation(imported.table_name()))?;
        let sealing = imported.sealing().id;
        if rows::sealing_keyring(relation)? != Some(sealing) {
            require_owned_alike(relation, owner)?;
        }
        let incoming = Incoming::read(json, Some(relation), how)?;
        let links = rows::tables_of(sealing)?;
        require_not_taken(sealing, relation, users::sealing_table(&links))?;
        let own = keyrings_of(relation)?;
        let keyrings = &incoming.imported.keyrings;
        let is_given = rows::sealing_keyring(relation)? == Some(sealing)
            && keyrings.iter().all(|keyring| own.contains(&keyring.id));
        let mut follows_already = true;
        let mut rights = Rights::default();
        for keyring in keyrings {
            follows_already &= rows::followed_origin(keyring.id)?.is_some();
            rights.compare(keyring)?;
        }
        let is_orphaned =
            links.iter().any(|link| link.seals) && users::sealing_table(&links).is_none();
        Ok(Found { incoming, is_orphaned, is_given, follows_already, rights })
    }

    fn tried(&self, dry_run: bool) -> Result<Plan<'_>> {
        if dry_run { self.incoming.plan_at_one_moment() } else { self.incoming.tried() }
    }

    fn carry_out(&self, plan: &Plan<'_>, dry_run: bool) -> Vec<Step> {
        let (mut changes, active) = plan.outline();
        if !self.is_given && !self.is_orphaned && changes.is_empty() {
            changes.push(format!(
                "keyring {}, which was here already",
                self.incoming.imported.sealing().id
            ));
        }
        if !self.follows_already && changes.is_empty() && !self.is_orphaned {
            changes.push("its keys are made and rotated here no more".into());
        }
        let brings_rights = self.incoming.how.brings_grants && !self.rights.missing.is_empty();
        let is_nothing =
            changes.is_empty() && active.is_empty() && !self.is_orphaned && !brings_rights;
        if !is_nothing
            && !dry_run
            && let Err(undone) = attempt(|| self.incoming.bring(plan))
        {
            return vec![Step::undone("import", undone)];
        }
        let what = |changes: Vec<String>| {
            let changes = changes.join("; ");
            if dry_run { format!("would bring: {changes}") } else { changes }
        };
        let mut steps = Vec::new();
        if self.is_orphaned {
            let keyring = self.incoming.imported.sealing().id;
            steps.push(Step::done(
                "adopt",
                what(vec![format!("keyring {keyring}, whose table was dropped")]),
            ));
        }
        if !changes.is_empty() {
            steps.push(Step::done("import", what(changes)));
        }
        if !active.is_empty() {
            steps.push(Step::done("activate", what(active)));
        }
        let notices = plan.notices().iter();
        steps.extend(notices.map(|notice| Step::failed("differs", "55000", notice.clone())));
        self.rights.report(brings_rights, &what, &mut steps);
        if steps.is_empty() {
            steps.push(Step::done("same", "nothing to do"));
        }
        steps
    }
}

/// 42501 where the table is another's than where its keys are made.
fn require_owned_alike(relation: pg_sys::Oid, owner: Option<&str>) -> Result<()> {
    let Some(there) = owner else { return Ok(()) };
    let here = relation::owner(relation).map(acl::display_role).unwrap_or_default();
    if here == there {
        return Ok(());
    }
    let table = relation::display_name(relation);
    Err(Error::OwnedByAnother { table, here, there: there.to_owned() })
}

/// 42710 where the table seals with another keyring, or another table with this one.
fn require_not_taken(
    keyring: Uuid,
    relation: pg_sys::Oid,
    seals: Option<pg_sys::Oid>,
) -> Result<()> {
    let table = || relation::display_name(relation);
    let root = relation::partition_root(relation);
    if root != relation {
        let (table, root) = (table(), relation::display_name(root));
        return Err(Error::KeyringConflict(format!(
            "table {table} is a partition of {root} on this node"
        )));
    }
    if let Some(other) = rows::sealing_keyring(relation)?.filter(|other| *other != keyring) {
        let table = table();
        return Err(Error::KeyringConflict(format!(
            "table {table} seals with keyring {other} on this node, and with keyring {keyring} where it is to follow"
        )));
    }
    match seals.filter(|seals| *seals != relation) {
        Some(seals) => {
            let seals = relation::display_name(seals);
            Err(Error::KeyringConflict(format!(
                "keyring {keyring} seals table {seals} on this node, not {}",
                table()
            )))
        }
        None => Ok(()),
    }
}

impl Rights {
    fn compare(&mut self, keyring: &TransferredKeyring) -> Result<()> {
        let here = grants::read(keyring.id)?;
        let words = |(role, verb): &(String, Verb)| format!("{role} {}", verb.name());
        for right in keyring.grants.iter().filter(|right| !here.contains(right)) {
            let is_there = grants::role_called(&right.0).is_some();
            if is_there { &mut self.missing } else { &mut self.of_nobody }.push(words(right));
        }
        self.surplus.extend(here.iter().filter(|right| !keyring.grants.contains(right)).map(words));
        Ok(())
    }

    fn report(&self, brings: bool, what: &dyn Fn(Vec<String>) -> String, steps: &mut Vec<Step>) {
        if brings {
            steps.push(Step::done("rights", what(self.missing.clone())));
        } else if !self.missing.is_empty() {
            steps.push(Step::failed(
                "rights",
                "55000",
                format!("missing: {}", self.missing.join(", ")),
            ));
        }
        if !self.of_nobody.is_empty() {
            let roles = self.of_nobody.join(", ");
            steps.push(Step::failed("rights", "42704", format!("no such role: {roles}")));
        }
        if !self.surplus.is_empty() {
            let surplus = self.surplus.join(", ");
            let message =
                format!("not granted where the keys are made; see envelope.revoke_key: {surplus}");
            steps.push(Step::failed("rights", "55000", message));
        }
    }
}
