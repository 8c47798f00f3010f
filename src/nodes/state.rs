//! What one node says of itself, as it stands in JSON. Nothing in it is secret: no wrapped key, no path of a file with
//! one.
//!
//! Of another node it is outside data: reading is strict, and what was read is compared, not shown, but for names, ids
//! and versions.

use std::collections::BTreeMap;

use envelope::header::KeyId;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::catalog::rows::{Purpose, State, Verb};
use crate::custody::followed::Brought;
use crate::error::Error;
use crate::memory::OwnLimits;

/// What the document says of itself. A later form is another word.
pub const FORMAT: &str = "envelope/1 node";

/// Bytes of the JSON: that of some ten thousand tables.
pub const LONGEST: usize = 32 << 20;

/// A version number has fewer bytes.
const LONGEST_VERSION: usize = 32;

/// A node as it is at one moment, as far as its session's role may know.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct NodeState {
    pub format: String,
    pub library_version: String,
    /// `None`: whoever asks cannot see it.
    pub extension_version: Option<String>,
    /// PostgreSQL's, as a number.
    pub server_version: u32,
    pub system_identifier: String,
    pub database: String,
    pub on_standby: bool,
    /// Who asked, and whether that role sees all keyrings.
    pub role: String,
    pub sees_all: bool,
    /// The schemes of the KEKs that the library was built for.
    pub kms: Vec<String>,
    pub settings: BTreeMap<String, String>,
    pub tables: Vec<TableState>,
    pub keyrings: Vec<KeyringState>,
}

/// A table that uses keyrings, or that was asked about.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct TableState {
    /// With its schema, as SQL quotes it; as it was asked for, if it was.
    pub relation: String,
    pub exists: bool,
    /// The role may not manage its keys, and is told nothing else.
    pub hidden: bool,
    pub distributed: bool,
    pub owner: Option<String>,
    pub seals: Option<Id>,
    /// Beside the one that it seals with.
    pub opens: Vec<Id>,
    /// By the columns that they are of.
    pub policies: BTreeMap<String, PolicyState>,
    /// By the columns that hold the terms.
    pub indexes: BTreeMap<String, IndexState>,
}

/// What a column is.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct PolicyState {
    pub form: String,
    pub tag: String,
    pub bound: Vec<String>,
    /// `None`: what is sealed has no type.
    pub value_type: Option<String>,
    pub source: Option<String>,
    pub block: Option<i32>,
    pub mask: Option<String>,
}

/// What a search index computes.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct IndexState {
    pub column: String,
    pub rule: String,
    pub label: String,
    pub term_length: Option<u8>,
}

/// A keyring, also one that no table uses.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct KeyringState {
    pub keyring_id: Id,
    /// Its table, as last seen.
    pub table_name: String,
    pub orphaned: bool,
    pub brought: Option<Brought>,
    pub minimum_version: i32,
    /// `None`: they cannot be read, which the node's own check tells.
    pub limits: Option<OwnLimits>,
    pub grants: Vec<GrantState>,
    pub keys: Vec<KeyState>,
}

#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct GrantState {
    pub role: String,
    pub verbs: Vec<Verb>,
}

#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct KeyState {
    pub key_id: Id,
    pub purpose: Purpose,
    pub version: i32,
    pub state: State,
    /// In the order in which they are tried.
    pub keks: Vec<String>,
}

/// A UUID in its one form.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
#[serde(try_from = "String", into = "String")]
pub struct Id(pub [u8; 16]);

impl Id {
    pub fn uuid(self) -> Uuid {
        Uuid::from_bytes(self.0)
    }

    pub fn key(self) -> KeyId {
        KeyId(self.0)
    }
}

impl From<Uuid> for Id {
    fn from(id: Uuid) -> Id {
        Id(id.into_bytes())
    }
}

impl From<KeyId> for Id {
    fn from(id: KeyId) -> Id {
        Id(id.0)
    }
}

impl From<Id> for String {
    fn from(id: Id) -> String {
        id.uuid().hyphenated().to_string()
    }
}

impl TryFrom<String> for Id {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Id, &'static str> {
        let id = Uuid::try_parse(&text).map_err(|_| "no uuid")?;
        if String::from(Id::from(id)) == text { Ok(id.into()) } else { Err("no uuid") }
    }
}

/// Why what came is no [`NodeState`] of this form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unreadable {
    /// Another version of the library has written it.
    OtherVersion(String),
    TooLong,
    Malformed,
}

impl NodeState {
    /// From what a node has answered.
    pub fn parse(json: &str) -> Result<NodeState, Unreadable> {
        if json.len() > LONGEST {
            return Err(Unreadable::TooLong);
        }
        match serde_json::from_str::<NodeState>(json) {
            Ok(state) if state.format == FORMAT && state.is_sound() => Ok(state),
            _ => Err(other_version(json).map_or(Unreadable::Malformed, Unreadable::OtherVersion)),
        }
    }

    fn is_sound(&self) -> bool {
        let versions = std::iter::once(&self.library_version).chain(&self.extension_version);
        let mut keys = self.keyrings.iter().flat_map(|keyring| &keyring.keys);
        versions.into_iter().all(|version| is_version(version)) && keys.all(|key| key.version > 0)
    }

    /// As JSON text.
    pub fn to_json(&self) -> crate::error::Result<String> {
        serde_json::to_string(self).map_err(|error| Error::Corrupt(error.to_string()))
    }
}

/// The version that the library names, if it is not this one.
fn other_version(json: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Head {
        library_version: String,
    }
    let head: Head = serde_json::from_str(json).ok()?;
    let is_other =
        is_version(&head.library_version) && head.library_version != env!("CARGO_PKG_VERSION");
    is_other.then_some(head.library_version)
}

fn is_version(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b".-+_".contains(&byte);
    (1..=LONGEST_VERSION).contains(&text.len()) && text.bytes().all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nodes::samples;

    fn json() -> String {
        samples::node().to_json().unwrap_or_default()
    }

    #[test]
    fn back_and_forth() {
        assert_eq!(NodeState::parse(&json()), Ok(samples::node()));
    }

    #[test]
    fn words_are_those_of_the_catalog() {
        let written = |word: Result<String, serde_json::Error>| word.unwrap_or_default();
        for state in ["active", "pending", "decrypt-only", "retired", "destroyed"] {
            let read = State::named(state);
            assert_eq!(written(serde_json::to_string(&read)), format!("\"{state}\""));
        }
        for verb in Verb::ALL {
            assert_eq!(written(serde_json::to_string(&verb)), format!("\"{}\"", verb.name()));
        }
        for purpose in Purpose::ALL {
            assert_eq!(written(serde_json::to_string(&purpose)), format!("\"{}\"", purpose.name()));
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let good = json();
        let changed = |from: &str, to: &str| {
            let bad = good.replacen(from, to, 1);
            assert_ne!(bad, good, "{from}");
            NodeState::parse(&bad)
        };
        for (from, to) in [
            ("\"active\"", "\"asleep\""),
            ("\"seal\"", "\"open\""),
            ("\"decrypt\"", "\"read\""),
            ("\"version\":1", "\"version\":0"),
            ("\"version\":1", "\"version\":99999999999"),
            ("\"sees_all\"", "\"sees_all\":true,\"sees\""),
            ("\"tables\":[", "\"tables\":[1,"),
            ("10000000-", "{0000000-"),
            ("a0000000-", "A0000000-"),
            (FORMAT, "envelope/2 node"),
        ] {
            assert_eq!(changed(from, to), Err(Unreadable::Malformed), "{from} {to}");
        }
        for bad in ["", "null", "[]", "{}", "\u{0}"] {
            assert_eq!(NodeState::parse(bad), Err(Unreadable::Malformed));
        }
        let long = format!("{good}{}", " ".repeat(LONGEST));
        assert_eq!(NodeState::parse(&long), Err(Unreadable::TooLong));
    }

    #[test]
    fn another_version_is_told_apart() {
        let later = json().replacen(env!("CARGO_PKG_VERSION"), "9.1.0", 1);
        assert!(NodeState::parse(&later).is_ok(), "versions may differ where the form is known");
        let form = later.replacen(FORMAT, "envelope/2 node", 1);
        assert_eq!(NodeState::parse(&form), Err(Unreadable::OtherVersion("9.1.0".into())));
        let strange = json().replacen(env!("CARGO_PKG_VERSION"), "9; DROP TABLE", 1);
        assert_eq!(NodeState::parse(&strange), Err(Unreadable::Malformed));
    }
}
