//! An IAM role under which the KMS is asked in place of the server's own identity.

use super::super::{Kind, KmsError};

/// A role to assume, and the name under which AWS's logs tell of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct AssumedRole {
    arn: String,
    session_name: String,
}

/// STS takes as many characters. Source: STS API Reference, AssumeRole, RoleSessionName.
const LONGEST_NAME: usize = 64;

impl AssumedRole {
    /// The IAM role `arn`, assumed for the database role `role`.
    pub(super) fn new(arn: &str, role: &str) -> AssumedRole {
        AssumedRole { arn: arn.to_owned(), session_name: session_name(role) }
    }

    /// Its ARN.
    ///
    /// # Errors
    /// [`Kind::BadUri`] when it is none of an IAM role.
    pub(super) fn arn(&self) -> Result<&str, KmsError> {
        let mut parts = self.arn.splitn(6, ':');
        let is_role = parts.next() == Some("arn")
            && parts.nth(1) == Some("iam")
            && parts
                .nth(2)
                .is_some_and(|name| name.strip_prefix("role/").is_some_and(|n| !n.is_empty()));
        if is_role && self.arn.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Ok(&self.arn);
        }
        let message = "envelope.aws_role_arn is not the ARN of an IAM role";
        Err(KmsError::new(Kind::BadUri, self.arn.chars().take(200).collect::<String>(), message)
            .with_hint("Write arn:aws:iam::<account>:role/<name>."))
    }

    /// What CloudTrail and `sts:RoleSessionName` show.
    pub(super) fn session_name(&self) -> &str {
        &self.session_name
    }
}

/// A database role's name with what STS does not take in a name as `=` and two hexadecimal digits,
/// so that two roles never look the same; only what is too long is cut.
fn session_name(role: &str) -> String {
    let mut name = String::from("pg-");
    for byte in role.bytes() {
        if byte.is_ascii_alphanumeric() || b"_+,.@-".contains(&byte) {
            name.push(char::from(byte));
        } else {
            name.push_str(&format!("={byte:02X}"));
        }
    }
    name.truncate(LONGEST_NAME);
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_names_are_what_sts_takes() {
        for (role, name) in [
            ("billing", "pg-billing"),
            ("x", "pg-x"),
            ("a b", "pg-a=20b"),
            ("a=20b", "pg-a=3D20b"),
            ("\u{e9}", "pg-=C3=A9"),
            ("", "pg-"),
        ] {
            assert_eq!(session_name(role), name);
        }
        assert_eq!(session_name(&"\u{e9}".repeat(31)).len(), LONGEST_NAME);
    }

    #[test]
    fn only_roles_are_assumed() {
        for arn in ["arn:aws:iam::123456789012:role/a", "arn:aws-cn:iam::123456789012:role/path/a"]
        {
            assert_eq!(AssumedRole::new(arn, "r").arn().ok(), Some(arn));
        }
        for arn in [
            "",
            "a",
            "arn:aws:iam::123456789012:user/a",
            "arn:aws:iam::123456789012:role/",
            "arn:aws:kms:eu-west-1:123456789012:role/a",
            "arn:aws:iam::123456789012:role/a b",
            "role/a",
        ] {
            assert!(AssumedRole::new(arn, "r").arn().is_err(), "{arn}");
        }
    }
}
