//! What is asked of a transit engine, and the right that it takes.

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
