//! What is asked of a transit engine, and the right that it takes.

use crate::figures;

/// A call of the transit API. Source: OpenBao and Vault API documentation, "Transit secrets engine".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    DataKey,
    Encrypt,
    Decrypt,
    Rewrap,
    ReadKey,
}

impl Operation {
    /// What stands between the mount and the key's name.
    fn endpoint(self) -> &'static str {
        match self {
            Self::DataKey => "datakey/plaintext",
            Self::Encrypt => "encrypt",
            Self::Decrypt => "decrypt",
            Self::Rewrap => "rewrap",
            Self::ReadKey => "keys",
        }
    }

    /// As what it is counted.
    pub(super) fn counted_as(self) -> figures::Operation {
        match self {
            Self::DataKey => figures::Operation::Generate,
            Self::Encrypt => figures::Operation::Wrap,
            Self::Decrypt => figures::Operation::Unwrap,
            Self::Rewrap => figures::Operation::Rewrap,
            Self::ReadKey => figures::Operation::Describe,
        }
    }

    /// The path as a policy names it.
    pub(super) fn path(self, mount: &str, name: &str) -> String {
        format!("{mount}/{}/{name}", self.endpoint())
    }

    /// What a policy must allow on the path. `create` is never needed: with it, a key that is missing
    /// would be made on the spot, and not be derived.
    pub(super) fn capability(self) -> &'static str {
        match self {
            Self::ReadKey => "read",
            _ => "update",
        }
    }

    /// Whether a wrap is handed over, which may be what is wrong.
    pub(super) fn takes_wrap(self) -> bool {
        matches!(self, Self::Decrypt | Self::Rewrap)
    }
}
