//! As whom a KMS is asked in place of the server itself.

/// What the settings name for a database role, and that role's name where the KMS is to be told it.
/// Opaque to all but the provider whose setting it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    aws_role_arn: Option<String>,
    vault_role: Option<String>,
    /// Who assumes the IAM role, for the name of its session.
    database_role: Option<String>,
}

impl Identity {
    /// `None` when neither setting is set: the server's own identity. The database role's name counts
    /// only where AWS is told it, so that one role of Vault's is one identity for all.
    pub fn new(
        aws_role_arn: Option<String>,
        vault_role: Option<String>,
        database_role: impl FnOnce() -> String,
    ) -> Option<Identity> {
        if aws_role_arn.is_none() && vault_role.is_none() {
            return None;
        }
        let database_role = aws_role_arn.as_ref().map(|_| database_role());
        Some(Identity { aws_role_arn, vault_role, database_role })
    }

    /// What the log of the KMS of `kek` may know it by.
    pub fn shown_for(&self, kek: &str) -> Option<String> {
        if kek.starts_with("aws-kms:") {
            let (arn, role) = self.aws_role_arn.as_ref().zip(self.database_role.as_ref())?;
            return Some(format!("IAM role {arn}, for database role {role}"));
        }
        let role = self.vault_role.as_ref().filter(|_| kek.starts_with("vault"))?;
        Some(format!("Vault role {role}"))
    }

    /// `envelope.aws_role_arn`, and for which database role.
    #[allow(dead_code, reason = "for a provider, which a build may leave out")]
    pub(super) fn aws_role(&self) -> Option<(&str, &str)> {
        self.aws_role_arn.as_deref().zip(self.database_role.as_deref())
    }

    /// `envelope.vault_role`: one for all servers, or `host:port=role` pairs.
    #[allow(dead_code, reason = "for a provider, which a build may leave out")]
    pub(super) fn vault_role(&self) -> Option<&str> {
        self.vault_role.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_counts_where_the_kms_is_told_it() {
        let of = |aws: Option<&str>, vault: Option<&str>, role: &str| {
            Identity::new(aws.map(str::to_owned), vault.map(str::to_owned), || role.into())
        };
        assert_eq!(of(None, None, "a"), None);
        assert_eq!(of(None, Some("v"), "a"), of(None, Some("v"), "b"));
        assert_ne!(of(None, Some("v"), "a"), of(None, Some("w"), "a"));
        assert_ne!(of(Some("arn"), None, "a"), of(Some("arn"), None, "b"));
        let both = of(Some("arn"), Some("v"), "a");
        assert_eq!(both.as_ref().and_then(Identity::aws_role), Some(("arn", "a")));
        assert_eq!(both.as_ref().and_then(Identity::vault_role), Some("v"));
        let shown = |kek| both.as_ref().and_then(|it| it.shown_for(kek)).unwrap_or_default();
        assert!(shown("aws-kms://alias/x").contains("arn"));
        assert!(shown("vault://h/transit/keys/k").contains("role v"));
        assert_eq!(shown("file:///k"), "");
    }
}
