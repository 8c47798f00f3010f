//! The words that stand in the catalog for a few known things.

use serde::{Deserialize, Serialize};

/// What a data key is for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    Seal,
    Index,
}

/// What a data key may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Seals and opens.
    Active,
    /// Opens, and is to seal once it is where it is needed. In the catalog: decrypt-only, and marked so.
    Pending,
    /// Opens.
    DecryptOnly,
    /// Does nothing, and can come back.
    Retired,
    /// Its wraps are gone.
    Destroyed,
}

/// What a role may do with the keys of a table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// Seal values.
    Encrypt,
    /// Open values.
    Decrypt,
    /// Make the index terms of what is searched for. Opens nothing.
    Search,
    /// Make and change keys, and say who may do what.
    Manage,
}

impl Purpose {
    /// All there are.
    pub const ALL: [Purpose; 2] = [Purpose::Seal, Purpose::Index];

    /// As it stands in the catalog.
    pub fn name(self) -> &'static str {
        match self {
            Purpose::Seal => "seal",
            Purpose::Index => "index",
        }
    }

    /// [`Self::name`] back.
    pub fn named(name: &str) -> Option<Purpose> {
        Self::ALL.into_iter().find(|purpose| purpose.name() == name)
    }
}

impl State {
    const ALL: [State; 5] =
        [State::Active, State::Pending, State::DecryptOnly, State::Retired, State::Destroyed];

    /// As it stands in messages, and in exports.
    pub fn name(self) -> &'static str {
        match self {
            State::Active => "active",
            State::Pending => "pending",
            State::DecryptOnly => "decrypt-only",
            State::Retired => "retired",
            State::Destroyed => "destroyed",
        }
    }

    /// [`Self::name`] back.
    pub fn named(name: &str) -> Option<State> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// As it stands in `data_key.state`, where a key that waits is marked in a column of its own.
    pub fn stored(self) -> &'static str {
        if self == State::Pending { State::DecryptOnly.name() } else { self.name() }
    }

    /// Whether values may be opened with it.
    pub fn opens(self) -> bool {
        matches!(self, State::Active | State::Pending | State::DecryptOnly)
    }
}

impl Verb {
    /// All there are.
    pub const ALL: [Verb; 4] = [Verb::Encrypt, Verb::Decrypt, Verb::Search, Verb::Manage];

    /// As it stands in the catalog and in SQL.
    pub fn name(self) -> &'static str {
        match self {
            Verb::Encrypt => "encrypt",
            Verb::Decrypt => "decrypt",
            Verb::Search => "search",
            Verb::Manage => "manage",
        }
    }

    /// [`Self::name`] back.
    pub fn named(name: &str) -> Option<Verb> {
        Self::ALL.into_iter().find(|verb| verb.name() == name)
    }
}
