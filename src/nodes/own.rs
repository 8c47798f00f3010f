//! What this node says of itself, read from end to end at one moment. Each table costs the same, however many there are.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::Hash;

use envelope::header::KeyId;
use pgrx::pg_sys;
use uuid::Uuid;

use super::name;
use super::state::{
    FORMAT, GrantState, IndexState, KeyState, KeyringState, NodeState, PolicyState, TableState,
};
use crate::catalog::rows::{self, DataKeyRow, IndexRow, Keyring, KeyringTable, PolicyRow, Verb};
use crate::catalog::{self, citus, tables, whole};
use crate::custody::followed;
use crate::error::Result;
use crate::keyring::{self, users};
use crate::memory::OwnLimits;
use crate::pg::relation::{self, Kind};
use crate::pg::{acl, cluster, encoding, guc, types, xact};
use crate::{kms, settings};

/// This node, as far as the current role may know: the keyrings that it manages, for members of pg_monitor all. Of the
/// tables `named`, with their schemas as SQL quotes them, in any case; with `only`, of no others.
pub fn own(named: &[String], only: bool) -> Result<NodeState> {
    settings::check_unplanted()?;
    // What is kept of the catalog from here on may be older than what the caches have been told of.
    keyring::mark_stale();
    let extension_version = tables::extension_version()?;
    let (tables, keyrings) = catalog::at_one_moment(|| Read::all()?.told(named, only))?;
    let role = acl::current_role();
    Ok(NodeState {
        format: FORMAT.into(),
        library_version: env!("CARGO_PKG_VERSION").into(),
        extension_version,
        server_version: pg_sys::PG_VERSION_NUM,
        system_identifier: cluster::system_identifier().to_string(),
        database: guc::current_database(),
        on_standby: xact::is_in_recovery(),
        role: acl::display_role(role),
        sees_all: acl::may_monitor(role),
        kms: kms::built_in().into_iter().map(str::to_owned).collect(),
        settings: settings::of_node(),
        tables,
        keyrings,
    })
}

/// The catalog, by keyring and by key.
struct Read {
    role: pg_sys::Oid,
    sees_all: bool,
    /// By the names of their tables.
    keyrings: Vec<(Uuid, Keyring)>,
    links: HashMap<Uuid, Vec<KeyringTable>>,
    keys: HashMap<Uuid, Vec<DataKeyRow>>,
    keks: HashMap<KeyId, Vec<String>>,
    grants: HashMap<Uuid, Vec<(pg_sys::Oid, Verb)>>,
    origins: HashMap<Uuid, String>,
    distributed: HashSet<pg_sys::Oid>,
    policies: HashMap<pg_sys::Oid, Vec<PolicyRow>>,
    indexes: HashMap<pg_sys::Oid, Vec<IndexRow>>,
    /// Whether a subscription brings data keys.
    is_subscribed: bool,
}

impl Read {
    fn all() -> Result<Read> {
        let role = acl::current_role();
        let mut keyrings = whole::keyring_rows()?;
        keyrings.sort_by(|(a, one), (b, other)| (&one.table_name, a).cmp(&(&other.table_name, b)));
        Ok(Read {
            role,
            sees_all: acl::may_monitor(role),
            keyrings,
            links: by(whole::keyring_tables()?.into_iter().map(|link| (link.keyring_id, link))),
            keys: by(whole::data_keys()?.into_iter().map(|key| (key.keyring_id, key))),
            keks: by(whole::wraps_in_order()?),
            grants: by(whole::grants()?.into_iter().map(|(id, role, verb)| (id, (role, verb)))),
            origins: whole::followed_origins()?.into_iter().collect(),
            distributed: citus::distributed()?.into_iter().collect(),
            policies: by(rows::all_policies()?.into_iter().map(|policy| (policy.relation, policy))),
            indexes: by(rows::all_indexes()?.into_iter().map(|index| (index.relation, index))),
            is_subscribed: tables::keys_are_subscribed()?,
        })
    }

    fn told(
        mut self,
        named: &[String],
        only: bool,
    ) -> Result<(Vec<TableState>, Vec<KeyringState>)> {
        let mut told = Told::of(named);
        let mut keyrings = Vec::new();
        for (id, keyring) in std::mem::take(&mut self.keyrings) {
            let links = self.links.remove(&id).unwrap_or_default();
            if !self.sees_all && !self.manages(id, &links) {
                continue;
            }
            // One that no table uses any more goes to the table that bears the name.
            let is_orphaned = users::sealing_table(&links).is_none();
            let mut is_asked =
                !only || is_orphaned && told.plain_names.contains(&keyring.table_name);
            for link in &links {
                let Some(relation) = users::living_table(link) else { continue };
                // A table that a keyring is lent to may have one of its own, of which the role is not told.
                if !link.seals && !self.is_shown(relation) {
                    continue;
                }
                if told.names.contains_key(&relation) {
                    is_asked = true;
                } else if only {
                    continue;
                }
                let table = told.table(relation, |name| self.table(name, relation, true));
                if link.seals {
                    table.seals = Some(id.into());
                } else {
                    table.opens.push(id.into());
                }
            }
            if is_asked {
                keyrings.push(self.keyring(id, &keyring, &links)?);
            }
        }
        for (relation, _) in told.names.clone() {
            told.table(relation, |name| self.table(name, relation, self.is_shown(relation)));
        }
        let Told { mut tables, missing, .. } = told;
        let mut all: Vec<_> = tables.drain().map(|(_, table)| table).chain(missing).collect();
        all.sort_by(|one, other| one.relation.cmp(&other.relation));
        Ok((all, keyrings))
    }

    /// Whether the role may know of the keys of a table, though it manages none of them.
    fn is_shown(&self, relation: pg_sys::Oid) -> bool {
        self.sees_all || self.owns(relation::partition_root(relation))
    }

    fn owns(&self, relation: pg_sys::Oid) -> bool {
        relation::owner(relation).is_some_and(|owner| acl::has_rights_of(self.role, owner))
    }

    fn manages(&self, keyring_id: Uuid, links: &[KeyringTable]) -> bool {
        let owned = |link: &KeyringTable| {
            link.seals && users::living_table(link).is_some_and(|table| self.owns(table))
        };
        let granted = |(grantee, verb): &(pg_sys::Oid, Verb)| {
            *verb == Verb::Manage
                && acl::role_exists(*grantee)
                && acl::has_rights_of(self.role, *grantee)
        };
        links.iter().any(owned) || self.grants.get(&keyring_id).into_iter().flatten().any(granted)
    }

    fn table(&self, name: &str, relation: pg_sys::Oid, is_shown: bool) -> TableState {
        let exists = relation::kind(relation) == Kind::Table;
        let owner = relation::owner(relation).filter(|_| is_shown);
        TableState {
            relation: name.to_owned(),
            exists,
            hidden: exists && !is_shown,
            distributed: self.distributed.contains(&relation),
            owner: owner.map(acl::display_role),
            seals: None,
            opens: Vec::new(),
            policies: of_shown(&self.policies, relation, is_shown).map(policy).collect(),
            indexes: of_shown(&self.indexes, relation, is_shown).map(index).collect(),
        }
    }

    fn keyring(&self, id: Uuid, keyring: &Keyring, links: &[KeyringTable]) -> Result<KeyringState> {
        let sealing = users::sealing_table(links);
        let origin = self.origins.get(&id).cloned();
        let brought = sealing.map_or(Ok(None), |table| {
            let is_subscribed = || Ok(self.is_subscribed);
            followed::brought_by(relation::partition_root(table), origin, is_subscribed)
        })?;
        let mut grants: BTreeMap<String, Vec<Verb>> = BTreeMap::new();
        for (grantee, verb) in self.grants.get(&id).into_iter().flatten() {
            if acl::role_exists(*grantee) {
                grants.entry(acl::display_role(*grantee)).or_default().push(*verb);
            }
        }
        let grant = |(role, mut verbs): (String, Vec<Verb>)| {
            verbs.sort_unstable();
            GrantState { role, verbs }
        };
        let mut keys: Vec<_> = self.keys.get(&id).into_iter().flatten().collect();
        keys.sort_by_key(|key| (key.purpose.name(), key.version));
        Ok(KeyringState {
            keyring_id: id.into(),
            table_name: keyring.table_name.clone(),
            orphaned: sealing.is_none(),
            brought,
            minimum_version: keyring.minimum_version,
            limits: OwnLimits::parse(&keyring.limits).ok(),
            grants: grants.into_iter().map(grant).collect(),
            keys: keys.into_iter().map(|key| self.key(key)).collect(),
        })
    }

    fn key(&self, key: &DataKeyRow) -> KeyState {
        let DataKeyRow { key_id, purpose, version, state, .. } = *key;
        let keks = self.keks.get(&key_id).cloned().unwrap_or_default();
        KeyState { key_id: key_id.into(), purpose, version, state, keks }
    }
}

/// The tables that are told of.
struct Told {
    /// How those are called that were asked for.
    names: HashMap<pg_sys::Oid, String>,
    /// Those names as the catalog keeps them of tables that are gone.
    plain_names: HashSet<String>,
    tables: HashMap<pg_sys::Oid, TableState>,
    missing: Vec<TableState>,
}

impl Told {
    fn of(named: &[String]) -> Told {
        let mut told = Told {
            names: HashMap::new(),
            plain_names: HashSet::new(),
            tables: HashMap::new(),
            missing: Vec::new(),
        };
        for text in named.iter().collect::<HashSet<_>>() {
            let parts = name::parts(text);
            let found =
                parts.as_ref().and_then(|(schema, name)| relation::plainly_named(schema, name));
            match found {
                Some(relation) => {
                    told.names.insert(relation, text.clone());
                }
                None => told.missing.push(missing(text)),
            }
            told.plain_names.extend(parts.map(|(schema, name)| format!("{schema}.{name}")));
        }
        told
    }

    fn table(
        &mut self,
        relation: pg_sys::Oid,
        make: impl FnOnce(&str) -> TableState,
    ) -> &mut TableState {
        let name = self.names.get(&relation);
        self.tables.entry(relation).or_insert_with(|| match name {
            Some(name) => make(name),
            None => make(&relation::display_name(relation)),
        })
    }
}

fn of_shown<T>(
    all: &HashMap<pg_sys::Oid, Vec<T>>,
    relation: pg_sys::Oid,
    is_shown: bool,
) -> impl Iterator<Item = &T> {
    all.get(&relation).filter(|_| is_shown).into_iter().flatten()
}

fn policy(row: &PolicyRow) -> (String, PolicyState) {
    let has_type = row.value_type != pg_sys::InvalidOid;
    let state = PolicyState {
        form: row.form.name().to_owned(),
        tag: row.tag.clone(),
        bound: row.bound_columns.clone(),
        value_type: has_type.then(|| types::display_name(row.value_type, row.value_typmod)),
        source: row.source.as_deref().map(encoding::text),
        block: row.block,
        mask: row.mask.clone(),
    };
    (encoding::text(&row.column_name), state)
}

fn index(row: &IndexRow) -> (String, IndexState) {
    let state = IndexState {
        column: encoding::text(&row.column_name),
        rule: row.rule.clone(),
        label: row.label.clone(),
        term_length: row.term_length,
    };
    (encoding::text(&row.index_column), state)
}

fn missing(name: &str) -> TableState {
    TableState {
        relation: name.to_owned(),
        exists: false,
        hidden: false,
        distributed: false,
        owner: None,
        seals: None,
        opens: Vec::new(),
        policies: BTreeMap::new(),
        indexes: BTreeMap::new(),
    }
}

fn by<K: Eq + Hash, V>(pairs: impl IntoIterator<Item = (K, V)>) -> HashMap<K, Vec<V>> {
    let mut found: HashMap<K, Vec<V>> = HashMap::new();
    for (key, value) in pairs {
        found.entry(key).or_default().push(value);
    }
    found
}
