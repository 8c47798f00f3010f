//! Whether a node agrees with this one. Pure: two descriptions in, their differences out, at a cost that grows with the
//! number of tables and keys, and no faster.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::difference::{Active, Difference, Kind};
use super::state::{Id, KeyState, KeyringState, NodeState, TableState};
use crate::catalog::rows::{Purpose, State, Verb};

/// How many differences of one node are told.
const MOST: usize = 10_000;

const AUTO_CREATE_KEY: &str = "envelope.auto_create_key";
const DEFAULT_KEK: &str = "envelope.default_kek";

/// Which tables are to agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Those that are distributed over the nodes.
    Distributed,
    /// Those that both nodes have.
    Common,
}

/// In what `there` differs from `here`, and first of all that it has answered.
pub fn compare(here: &NodeState, there: &NodeState, scope: Scope) -> Vec<Difference> {
    let in_scope =
        |table: &&TableState| !table.hidden && (scope == Scope::Common || table.distributed);
    let tables: Vec<&TableState> = here.tables.iter().filter(in_scope).collect();
    let there = There::of(there);
    let mut found = vec![of(Kind::Asked { tables: tables.len() })];
    nodes(here, there.node, &mut found);
    let keyrings: HashMap<Id, &KeyringState> =
        here.keyrings.iter().map(|keyring| (keyring.keyring_id, keyring)).collect();
    for table in tables {
        let from = found.len();
        compare_table(table, &keyrings, &there, &mut found);
        for difference in &mut found[from..] {
            difference.relation = Some(table.relation.clone());
        }
        if found.len() > MOST {
            found.truncate(MOST);
            found.push(of(Kind::More));
            break;
        }
    }
    found
}

/// The other node, to be looked up.
struct There<'a> {
    node: &'a NodeState,
    tables: HashMap<&'a str, &'a TableState>,
    keyrings: HashMap<Id, &'a KeyringState>,
    kms: HashSet<&'a str>,
}

impl<'a> There<'a> {
    fn of(node: &'a NodeState) -> There<'a> {
        There {
            node,
            tables: node.tables.iter().map(|table| (table.relation.as_str(), table)).collect(),
            keyrings: node.keyrings.iter().map(|ring| (ring.keyring_id, ring)).collect(),
            kms: node.kms.iter().map(String::as_str).collect(),
        }
    }
}

/// Versions and settings.
fn nodes(here: &NodeState, there: &NodeState, found: &mut Vec<Difference>) {
    if here.system_identifier == there.system_identifier && here.database == there.database {
        found.push(of(Kind::SameDatabase));
    }
    if here.library_version != there.library_version {
        let (here, there) = (here.library_version.clone(), there.library_version.clone());
        found.push(of(Kind::Library { here, there }));
    } else if here.extension_version != there.extension_version {
        let (here, there) = (here.extension_version.clone(), there.extension_version.clone());
        found.push(of(Kind::Extension { here, there }));
    }
    let is_on = |node: &NodeState| node.settings.get(AUTO_CREATE_KEY).is_some_and(|on| on == "on");
    let makes = is_on(there);
    for (name, own) in &here.settings {
        let Some(other) = there.settings.get(name) else { continue };
        let kind = match name.as_str() {
            // One node makes keys: that is how it should be.
            AUTO_CREATE_KEY if makes => Kind::AutoCreate { here: is_on(here) },
            AUTO_CREATE_KEY => continue,
            _ if own == other => continue,
            DEFAULT_KEK => Kind::DefaultKek { makes },
            _ => Kind::Setting { name: name.clone(), here: own.clone(), there: other.clone() },
        };
        found.push(of(kind));
    }
}

fn compare_table(
    table: &TableState,
    keyrings: &HashMap<Id, &KeyringState>,
    there: &There<'_>,
    found: &mut Vec<Difference>,
) {
    let has_keys = table.seals.is_some() || !table.opens.is_empty();
    let other = there.tables.get(table.relation.as_str()).filter(|other| other.exists);
    let Some(other) = other else {
        if has_keys {
            found.push(of(Kind::NoTable { distributed: table.distributed }));
        }
        return;
    };
    if other.hidden {
        if has_keys {
            found.push(of(Kind::Hidden { role: there.node.role.clone() }));
        }
        return;
    }
    if let (Some(here), Some(there)) = (&table.owner, &other.owner)
        && here != there
        && has_keys
    {
        found.push(of(Kind::Owner { here: here.clone(), there: there.clone() }));
    }
    match (table.seals, other.seals) {
        (Some(here), Some(its)) if here == its => {
            if let (Some(here), Some(its)) = (keyrings.get(&here), there.keyrings.get(&its)) {
                compare_keyring(here, its, there, found);
            }
        }
        (None, None) => {}
        (Some(here), None) => {
            let opens = other.opens.contains(&here);
            let is_there = there.keyrings.contains_key(&here);
            let kind = if is_there { Kind::Unused { opens } } else { Kind::NoKeyring };
            found.push(of_keyring(here, kind));
        }
        (None, Some(its)) => found.push(of_keyring(its, Kind::KeyringOnlyThere)),
        (Some(here), Some(its)) => {
            found.push(of_keyring(here, Kind::OtherKeyring { here, there: its }));
        }
    }
    for column in unequal(&table.policies, &other.policies) {
        found.push(of(Kind::Policy { column }));
    }
    for column in unequal(&table.indexes, &other.indexes) {
        found.push(of(Kind::Index { column }));
    }
    for keyring in &table.opens {
        let opens = other.opens.contains(keyring) || other.seals == Some(*keyring);
        if !opens && there.node.sees_all {
            found.push(of_keyring(*keyring, Kind::NotShared));
        }
    }
}

/// The names of what is not the same here and there, or is on one of them alone.
fn unequal<T: PartialEq>(here: &BTreeMap<String, T>, there: &BTreeMap<String, T>) -> Vec<String> {
    let names: BTreeSet<&String> = here.keys().chain(there.keys()).collect();
    let differs = |name: &&&String| here.get(**name) != there.get(**name);
    names.iter().filter(differs).take(MOST).map(|name| (*name).clone()).collect()
}

fn compare_keyring(
    here: &KeyringState,
    other: &KeyringState,
    there: &There<'_>,
    found: &mut Vec<Difference>,
) {
    let from = found.len();
    let (own, its) = (Keys::of(here), Keys::of(other));
    for purpose in Purpose::ALL {
        compare_keys(&own, &its, purpose, found);
    }
    // Where the numbers differ, as after a fork, so may the least of them.
    let is_numbered_alike =
        |key: &KeyState| own.get(key.key_id).is_none_or(|known| known.version == key.version);
    let (least, its_least) = (here.minimum_version, other.minimum_version);
    if least != its_least && other.keys.iter().all(is_numbered_alike) {
        found.push(of(Kind::MinimumVersion { here: least, there: its_least }));
    }
    if let (Some(limits), Some(its_limits)) = (&here.limits, &other.limits)
        && limits != its_limits
    {
        found.push(of(Kind::Limits));
    }
    compare_rights(here, other, found);
    compare_keks(here, &its, there, found);
    if here.brought.is_none() && other.brought.is_none() {
        found.push(of(Kind::BothMake));
    }
    for difference in &mut found[from..] {
        difference.keyring_id = Some(here.keyring_id);
    }
}

/// The keys of a keyring, by their ids and by their versions.
struct Keys<'a> {
    all: &'a [KeyState],
    by_id: HashMap<Id, &'a KeyState>,
    by_version: HashMap<(Purpose, i32), &'a KeyState>,
}

impl<'a> Keys<'a> {
    fn of(keyring: &'a KeyringState) -> Keys<'a> {
        Keys {
            all: &keyring.keys,
            by_id: keyring.keys.iter().map(|key| (key.key_id, key)).collect(),
            by_version: keyring.keys.iter().map(|key| ((key.purpose, key.version), key)).collect(),
        }
    }

    fn get(&self, id: Id) -> Option<&'a KeyState> {
        self.by_id.get(&id).copied()
    }

    /// Those for `purpose` that are not in `other`, and open something here.
    fn beyond(&self, other: &Keys<'_>, purpose: Purpose) -> Vec<&'a KeyState> {
        let is_beyond = |key: &&KeyState| {
            key.purpose == purpose
                && key.state != State::Destroyed
                && !other.by_id.contains_key(&key.key_id)
        };
        self.all.iter().filter(is_beyond).collect()
    }

    fn active(&self, purpose: Purpose) -> Option<&'a KeyState> {
        self.all.iter().find(|key| key.purpose == purpose && key.state == State::Active)
    }

    fn sealing(&self, purpose: Purpose, other: &Keys<'_>) -> Option<Active> {
        self.active(purpose).map(|key| Active {
            key_id: key.key_id,
            version: key.version,
            elsewhere: other.get(key.key_id).map(|key| key.state),
        })
    }
}

fn compare_keys(own: &Keys<'_>, its: &Keys<'_>, purpose: Purpose, found: &mut Vec<Difference>) {
    let (missing, more) = (own.beyond(its, purpose), its.beyond(own, purpose));
    let fork = fork(own, its, &more);
    if let Some((version, here, there)) = fork {
        found.push(of_key(here, Kind::Fork { version, here, there }));
    }
    // What was made after the nodes have parted goes with that.
    let is_news = |key: &&KeyState| fork.is_none_or(|(version, ..)| key.version < version);
    for key in missing.into_iter().filter(is_news) {
        found.push(of_key(key.key_id, Kind::NoKey { version: key.version }));
    }
    for key in more.into_iter().filter(is_news) {
        found.push(of_key(key.key_id, Kind::KeyOnlyThere { version: key.version }));
    }
    let (here, there) = (own.sealing(purpose, its), its.sealing(purpose, own));
    let is_one = here.map(|key| key.key_id) == there.map(|key| key.key_id);
    if !is_one && fork.is_none() {
        let key = here.or(there).map(|key| key.key_id);
        found.push(Difference { key_id: key, ..of(Kind::OtherActive { here, there }) });
    }
    for key in own.all.iter().filter(|key| key.purpose == purpose) {
        let Some(other) = its.get(key.key_id) else { continue };
        // Which of them seals is told once.
        let is_told = !is_one && key.state.opens() && other.state.opens();
        if key.state != other.state && !is_told {
            let kind = Kind::OtherState { here: key.state, there: other.state };
            found.push(of_key(key.key_id, kind));
        }
    }
}

/// The first version that is one key here and another there, each of them unknown to the other node: one that has come
/// from there by keeping both stands here under another number.
fn fork(own: &Keys<'_>, its: &Keys<'_>, more: &[&KeyState]) -> Option<(i32, Id, Id)> {
    let parted = more.iter().filter_map(|key| {
        let own = own.by_version.get(&(key.purpose, key.version))?;
        its.get(own.key_id).is_none().then_some((key.version, own.key_id, key.key_id))
    });
    parted.min_by_key(|(version, ..)| *version)
}

fn compare_rights(here: &KeyringState, other: &KeyringState, found: &mut Vec<Difference>) {
    let mut rights: BTreeMap<&str, [Vec<Verb>; 2]> = BTreeMap::new();
    for (at, keyring) in [here, other].into_iter().enumerate() {
        for grant in &keyring.grants {
            let verbs = &mut rights.entry(&grant.role).or_default()[at];
            verbs.extend(&grant.verbs);
            verbs.sort_unstable();
            verbs.dedup();
        }
    }
    for (role, [here, there]) in rights {
        if here != there {
            found.push(of(Kind::Rights { role: role.to_owned(), here, there }));
        }
        if found.len() > MOST {
            return;
        }
    }
}

fn compare_keks(
    here: &KeyringState,
    its: &Keys<'_>,
    there: &There<'_>,
    found: &mut Vec<Difference>,
) {
    let mut others = Vec::new();
    let mut unfit = BTreeMap::new();
    for key in here.keys.iter().filter(|key| key.state != State::Destroyed) {
        for kek in &key.keks {
            let scheme = scheme(kek);
            if !there.kms.contains(scheme) {
                unfit.entry(scheme).or_insert(kek);
            }
        }
        let Some(other) = its.get(key.key_id) else { continue };
        let (own, its): (HashSet<&String>, HashSet<&String>) =
            (key.keks.iter().collect(), other.keks.iter().collect());
        if own != its && other.state != State::Destroyed {
            others.push(key.key_id);
        }
    }
    for (scheme, kek) in unfit {
        let kind = Kind::Provider { scheme: scheme.to_owned() };
        found.push(Difference { kek: Some(kek.clone()), ..of(kind) });
    }
    if let Some(first) = others.first() {
        found.push(of_key(*first, Kind::OtherKeks { keys: others.len() }));
    }
}

/// As a build names what it has.
fn scheme(kek: &str) -> &str {
    let scheme = kek.split_once(':').map_or(kek, |(scheme, _)| scheme);
    scheme.strip_suffix("+http").unwrap_or(scheme)
}

fn of(kind: Kind) -> Difference {
    Difference { kind, ..Difference::default() }
}

fn of_keyring(keyring: Id, kind: Kind) -> Difference {
    Difference { keyring_id: Some(keyring), ..of(kind) }
}

fn of_key(key: Id, kind: Kind) -> Difference {
    Difference { key_id: Some(key), ..of(kind) }
}

#[cfg(test)]
mod tests;
