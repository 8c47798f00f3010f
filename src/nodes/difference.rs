//! In what a node differs from this one, and what to do about it.
//!
//! What the node has said is outside data. Of it ids, versions, states and the names of roles are shown; of settings
//! only words and numbers, and of an error the first line.

use std::fmt::Write;

use super::Fault;
use super::state::{Id, Unreadable};
use crate::catalog::rows::{State, Verb};

/// One difference, and what it is about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Difference {
    pub relation: Option<String>,
    pub keyring_id: Option<Id>,
    pub key_id: Option<Id>,
    pub kek: Option<String>,
    pub kind: Kind,
}

/// What differs. `here` is this node, `there` the other one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Nothing: the node has answered.
    Asked {
        tables: usize,
    },
    Silent(Fault),
    Unreadable(Unreadable),
    /// There are more differences than anybody reads.
    More,
    /// A database of the same name in a cluster of the same number.
    SameDatabase,
    Library {
        here: String,
        there: String,
    },
    Extension {
        here: Option<String>,
        there: Option<String>,
    },
    /// The library there was built without what a KEK needs.
    Provider {
        scheme: String,
    },
    Setting {
        name: String,
        here: String,
        there: String,
    },
    /// Both make keys, or the other one alone.
    AutoCreate {
        here: bool,
    },
    /// `makes`: and keys are made there.
    DefaultKek {
        makes: bool,
    },
    /// The table is not there. It is to be if it is `distributed`.
    NoTable {
        distributed: bool,
    },
    /// The role as which the node was asked may not know.
    Hidden {
        role: String,
    },
    NoKeyring,
    /// The keyring is there, and the table does not use it.
    Unused {
        opens: bool,
    },
    KeyringOnlyThere,
    OtherKeyring {
        here: Id,
        there: Id,
    },
    /// The table opens with it here and not there.
    NotShared,
    /// Two keys bear one version, each known to one node.
    Fork {
        version: i32,
        here: Id,
        there: Id,
    },
    /// A key that opens here is not there.
    NoKey {
        version: i32,
    },
    KeyOnlyThere {
        version: i32,
    },
    OtherActive {
        here: Option<Active>,
        there: Option<Active>,
    },
    OtherState {
        here: State,
        there: State,
    },
    MinimumVersion {
        here: i32,
        there: i32,
    },
    Limits,
    Owner {
        here: String,
        there: String,
    },
    Rights {
        role: String,
        here: Vec<Verb>,
        there: Vec<Verb>,
    },
    /// Keys that other KEKs wrap.
    OtherKeks {
        keys: usize,
    },
    /// A column has another policy, or none on one of them.
    Policy {
        column: String,
    },
    /// As that, of the terms that a column holds.
    Index {
        column: String,
    },
    /// Neither node has the keys from elsewhere.
    BothMake,
}

/// The key that seals on one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Active {
    pub key_id: Id,
    pub version: i32,
    /// What it is on the other node, if it is there.
    pub elsewhere: Option<State>,
}

impl Default for Kind {
    fn default() -> Kind {
        Kind::Asked { tables: 0 }
    }
}

/// The two nodes, as messages name them.
pub struct Between<'a> {
    /// The other one.
    pub there: &'a str,
    /// The statement that brings this node's keys there.
    pub sync: &'a str,
}

impl Difference {
    /// `None`: it is worth knowing, and nothing is wrong.
    pub fn sqlstate(&self) -> Option<String> {
        let code = match &self.kind {
            Kind::Silent(fault) => return Some(five(&fault.sqlstate)),
            Kind::Asked { .. }
            | Kind::SameDatabase
            | Kind::Setting { .. }
            | Kind::AutoCreate { here: true }
            | Kind::DefaultKek { makes: false }
            | Kind::NoTable { distributed: false }
            | Kind::OtherKeks { .. }
            | Kind::BothMake => return None,
            Kind::Unreadable(Unreadable::OtherVersion(_)) | Kind::Provider { .. } => "0A000",
            Kind::Unreadable(_) => "08P01",
            Kind::AutoCreate { here: false } | Kind::DefaultKek { makes: true } => "22023",
            Kind::Hidden { .. } | Kind::Owner { .. } | Kind::Rights { .. } => "42501",
            Kind::NoTable { distributed: true } => "42P01",
            Kind::NoKeyring
            | Kind::Unused { .. }
            | Kind::KeyringOnlyThere
            | Kind::NotShared
            | Kind::NoKey { .. }
            | Kind::KeyOnlyThere { .. } => "42704",
            Kind::OtherKeyring { .. } | Kind::Fork { .. } => "42710",
            Kind::More
            | Kind::Library { .. }
            | Kind::Extension { .. }
            | Kind::OtherActive { .. }
            | Kind::OtherState { .. }
            | Kind::MinimumVersion { .. }
            | Kind::Limits
            | Kind::Policy { .. }
            | Kind::Index { .. } => "55000",
        };
        Some(code.to_owned())
    }

    /// What is so, on which node, and what to do.
    pub fn message(&self, between: &Between<'_>) -> String {
        let Between { there: node, sync } = between;
        let on = format!("node {node}");
        let table = self.relation.as_deref().unwrap_or_default();
        let quoted = table.replace('\'', "''");
        let bring = format!("on this node call {sync}");
        let take = format!(
            "take it over by envelope.export_keyring('{quoted}') on {on} and envelope.import_keyring on this node"
        );
        match &self.kind {
            Kind::Asked { tables } => {
                format!("{on} has answered: tables compared with this node's: {tables}")
            }
            Kind::Silent(fault) => {
                let mut message = format!("{on} cannot be asked: {}", first_line(&fault.message));
                if ["42883", "3F000", "42704"].contains(&fault.sqlstate.as_str()) {
                    message += ": install the same version of the extension there as on this node";
                }
                message
            }
            Kind::Unreadable(Unreadable::OtherVersion(version)) => format!(
                "{on} has version {version} of the library, whose answer version {} of this node does not read: \
                 install the same on both",
                env!("CARGO_PKG_VERSION")
            ),
            Kind::Unreadable(Unreadable::TooLong) => {
                format!("{on} gives a longer answer than this node reads")
            }
            Kind::Unreadable(Unreadable::Malformed) => {
                format!("{on} gives an answer that this node does not understand")
            }
            Kind::More => {
                format!("{on} differs from this node in more: mend what is shown, and check again")
            }
            Kind::SameDatabase => format!(
                "{on} has the name and the system identifier of this node's database: it is this one, or a copy of it"
            ),
            Kind::Library { here, there } => format!(
                "{on} has version {there} of the library, and this node {here}: install the same on both"
            ),
            Kind::Extension { here, there } => {
                let shown = |version: &Option<String>| match version {
                    Some(version) => format!("version {version}"),
                    None => "no version".to_owned(),
                };
                format!(
                    "{on} has {} of the extension, and this node {}: ALTER EXTENSION \"pgrx-example\" UPDATE where it is \
                     older",
                    shown(there),
                    shown(here)
                )
            }
            Kind::Provider { scheme } => format!(
                "the library of {on} was built without what KEKs {scheme}: need, and cannot open keys of this node: \
                 install a build that has it"
            ),
            Kind::Setting { name, here, there } => format!(
                "{name} is {} on this node, and {} on {on}",
                shown_setting(here, "set"),
                shown_setting(there, "something else")
            ),
            Kind::AutoCreate { here: true } => format!(
                "envelope.auto_create_key is on on this node and on {on}: both make keys, which then differ. Leave it on \
                 on the one node that is to make them"
            ),
            Kind::AutoCreate { here: false } => format!(
                "envelope.auto_create_key is off on this node, and on on {on}: keys that are made there are not on this \
                 node. Set it off there"
            ),
            Kind::DefaultKek { makes } => format!(
                "envelope.default_kek is another on {on} than on this node: {}",
                if *makes {
                    "keys that are made there by themselves are wrapped by another KEK. Set the same, or set \
                     envelope.auto_create_key off there"
                } else {
                    "it counts if keys are made there"
                }
            ),
            Kind::NoTable { distributed: true } => format!(
                "distributed table {table} is not on {on}: have Citus bring its metadata there, then {bring}"
            ),
            Kind::NoTable { distributed: false } => {
                format!("table {table} of this node is not on {on}")
            }
            Kind::Hidden { role } => format!(
                "role {} may not see on {on} which keys table {table} has: grant it pg_monitor there",
                shown_name(role)
            ),
            Kind::NoKeyring => format!(
                "table {table} seals on this node with a keyring that is not on {on}, where it has none: {bring}"
            ),
            Kind::Unused { opens: false } => format!(
                "the keyring of table {table} of this node is on {on}, and no such table uses it there: {bring}, or \
                 envelope.adopt_keyring there"
            ),
            Kind::Unused { opens: true } => format!(
                "table {table} seals with the keyring on this node, and only opens with it on {on}: {bring}"
            ),
            Kind::KeyringOnlyThere => {
                format!("table {table} has a keyring on {on}, and none on this node: {take}")
            }
            Kind::OtherKeyring { here, there } => format!(
                "table {table} seals with keyring {} on this node, and with keyring {} on {on}: values of each do not open \
                 on the other. Import each other's (envelope.export_keyring('{quoted}'), envelope.import_keyring), and \
                 seal on one node alone from then on",
                here.uuid(),
                there.uuid()
            ),
            Kind::NotShared => format!(
                "table {table} opens with the keyring on this node, and not on {on}: {bring}"
            ),
            Kind::Fork { version, here, there } => format!(
                "the keys of table {table} were rotated on this node and on {on}: version {version} is data key {} on this \
                 node, and data key {} there. Import on each node what the other one exports, with resolve => \
                 'keep-both', and rotate on one node alone from then on",
                here.uuid(),
                there.uuid()
            ),
            Kind::NoKey { version } => format!(
                "version {version} of the key of table {table} is on this node, and not on {on}, where its values do not \
                 open: {bring}"
            ),
            Kind::KeyOnlyThere { version } => format!(
                "version {version} of the key of table {table} is on {on}, and not on this node, where its values do not \
                 open: {take}"
            ),
            Kind::OtherActive { here, there } => {
                other_active(table, node, *here, *there, &bring, &take)
            }
            Kind::OtherState { here, there } => {
                let what = match (here, there) {
                    (State::Destroyed, _) => {
                        "if no value is under it any more, envelope.destroy_key there, too".to_owned()
                    }
                    (_, State::Destroyed) => {
                        "no import brings it back there. If no value is under it any more, envelope.destroy_key on this \
                         node, too"
                            .to_owned()
                    }
                    (State::Retired, _) => bring,
                    (_, State::Retired) => {
                        format!("envelope.unretire_key on {on}, or envelope.retire_key on this node")
                    }
                    (_, State::Pending) => bring,
                    _ => take,
                };
                format!(
                    "data key of table {table} is {} on this node, and {} on {on}: {what}",
                    here.name(),
                    there.name()
                )
            }
            Kind::MinimumVersion { here, there } => format!(
                "the minimum version of table {table} is {here} on this node, and {there} on {on}: {}",
                if here > there {
                    bring
                } else {
                    format!("envelope.set_minimum_version('{quoted}', …) on one of them")
                }
            ),
            Kind::Limits => format!(
                "table {table} has other limits on {on} than on this node: envelope.set_limits('{quoted}', …) on one of \
                 them"
            ),
            Kind::Owner { here, there } => format!(
                "table {table} belongs to role {} on this node, and to role {} on {on}: each may do everything with its \
                 keys there",
                shown_name(here),
                shown_name(there)
            ),
            Kind::Policy { column } => format!(
                "column {} of table {table} has another policy on {on} than on this node: envelope.policies shows both, \
                 envelope.set_policy changes one",
                shown_name(column)
            ),
            Kind::Index { column } => format!(
                "column {} of table {table} holds other terms on {on} than on this node, or on one of them none: \
                 envelope.indexes shows both",
                shown_name(column)
            ),
            Kind::Rights { role, here, there } => rights(table, &on, role, here, there),
            Kind::OtherKeks { keys } => format!(
                "keys of table {table} that other KEKs wrap on {on} than on this node: {keys}. envelope.keys shows which"
            ),
            Kind::BothMake => format!(
                "the keys of table {table} can be made and rotated on this node and on {on}, where they then differ: \
                 {bring}, which marks them there as made here"
            ),
        }
    }
}

fn other_active(
    table: &str,
    node: &str,
    here: Option<Active>,
    there: Option<Active>,
    bring: &str,
    take: &str,
) -> String {
    let shown = |active: Option<Active>| match active {
        Some(Active { version, key_id, .. }) => {
            format!("version {version}, data key {}", key_id.uuid())
        }
        None => "no key".to_owned(),
    };
    let elsewhere = |active: Option<Active>, place: &str| {
        let Active { version, elsewhere, .. } = active?;
        let state = elsewhere.map_or("missing", State::name);
        Some(format!("version {version} is {state} {place}"))
    };
    let also: Vec<String> =
        elsewhere(here, "there").into_iter().chain(elsewhere(there, "here")).collect();
    let waits =
        |active: Option<Active>| active.and_then(|key| key.elsewhere) == Some(State::Pending);
    let remedy = if waits(there) {
        "envelope.activate_key on this node".to_owned()
    } else if waits(here) {
        format!("{bring}, or envelope.activate_key on node {node}")
    } else if there.map(|key| key.version) > here.map(|key| key.version) {
        take.to_owned()
    } else {
        bring.to_owned()
    };
    format!(
        "table {table} seals on this node with {}, and on node {node} with {} ({}): {remedy}",
        shown(here),
        shown(there),
        also.join(", ")
    )
}

fn rights(table: &str, on: &str, role: &str, here: &[Verb], there: &[Verb]) -> String {
    let role = shown_name(role);
    let listed = |verbs: &[Verb]| match verbs {
        [] => "nothing".to_owned(),
        verbs => verbs.iter().map(|verb| verb.name()).collect::<Vec<_>>().join(", "),
    };
    let mut remedies = Vec::new();
    let missing: Vec<Verb> = here.iter().filter(|verb| !there.contains(verb)).copied().collect();
    let extra: Vec<Verb> = there.iter().filter(|verb| !here.contains(verb)).copied().collect();
    if !missing.is_empty() {
        remedies.push(format!("envelope.grant_key there ({})", listed(&missing)));
    }
    if !extra.is_empty() {
        remedies.push(format!("envelope.revoke_key there ({})", listed(&extra)));
    }
    format!(
        "role {role} was granted {} on the keys of table {table} on this node, and {} on {on}: {}, or the other way \
         round on this node",
        listed(here),
        listed(there),
        remedies.join(" and ")
    )
}

/// A name from elsewhere, as it can stand in a line.
fn shown_name(name: &str) -> String {
    const LONGEST: usize = 63;
    let mut shown = String::from("\"");
    for c in name.chars().take(LONGEST) {
        match c {
            '"' => shown.push_str("\"\""),
            c if c.is_control() => shown.push('?'),
            c => shown.push(c),
        }
    }
    if name.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown.push('"');
    shown
}

/// A setting's value if it is a word or a number; `otherwise` for what it is.
fn shown_setting(value: &str, otherwise: &str) -> String {
    const LONGEST: usize = 20;
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    match value {
        "" => "not set".to_owned(),
        value if value.len() <= LONGEST && value.bytes().all(is_word) => value.to_owned(),
        _ => otherwise.to_owned(),
    }
}

/// The first line of an error.
pub(super) fn first_line(message: &str) -> String {
    const LONGEST: usize = 300;
    let line = message.lines().next().unwrap_or_default();
    let mut shown = String::new();
    for c in line.chars().take(LONGEST) {
        // Writing to a string does not fail.
        let _ = write!(shown, "{}", if c.is_control() { '?' } else { c });
    }
    shown
}

fn five(sqlstate: &str) -> String {
    let is_one = sqlstate.len() == 5
        && sqlstate.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    if is_one { sqlstate.to_owned() } else { "HV000".to_owned() }
}
