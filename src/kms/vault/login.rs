//! Ways to log in: which request each makes, of which files.

use serde::Serialize;

use super::body::{self, Body, Secret};

/// `envelope.vault_auth`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Method {
    /// A file that holds a token: an agent's sink.
    Token,
    AppRole,
    Jwt,
    Kubernetes,
    Cert,
}

impl Method {
    const ALL: [Method; 5] =
        [Method::Token, Method::AppRole, Method::Jwt, Method::Kubernetes, Method::Cert];

    /// As the setting names it, and as it is mounted unless it is told otherwise.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::AppRole => "approle",
            Self::Jwt => "jwt",
            Self::Kubernetes => "kubernetes",
            Self::Cert => "cert",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Method> {
        Self::ALL.into_iter().find(|method| method.name() == text)
    }

    /// What to do when the server lets nobody in by it.
    pub(super) fn hint(self) -> &'static str {
        match self {
            Self::Token => {
                "The token of envelope.vault_token_file is unknown or has expired: does the agent that writes it \
                 run?"
            }
            Self::AppRole => {
                "Check envelope.vault_role_id and the file of envelope.vault_secret_id_file: a secret id may have \
                 expired or may be used up (secret_id_num_uses must be 0 here, since each session logs in). Check \
                 envelope.vault_auth_mount: a mount that is not there is refused the same way."
            }
            Self::Jwt => {
                "Check the role of envelope.vault_role, the token of envelope.vault_jwt_file (audience, subject, \
                 when it expires), and envelope.vault_auth_mount: a mount that is not there is refused the same \
                 way."
            }
            Self::Kubernetes => {
                "Check the role of envelope.vault_role, the service account's token in envelope.vault_jwt_file, \
                 and envelope.vault_auth_mount. The server refuses the same way while it cannot reach the \
                 Kubernetes API."
            }
            Self::Cert => {
                "Check envelope.vault_client_cert_file and envelope.vault_client_key_file, the role of \
                 envelope.vault_role, and envelope.vault_auth_mount."
            }
        }
    }
}

/// The body of a login.
#[derive(Default, Serialize)]
struct Asked<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jwt: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
}

pub(super) fn by_secret_id(role_id: &str, secret_id: &Secret) -> Body {
    let secret_id = Some(secret_id.as_str());
    body::json(&Asked { role_id: Some(role_id), secret_id, ..Asked::default() })
}

/// Without a role the server takes the mount's default one.
pub(super) fn by_jwt(role: Option<&str>, jwt: &Secret) -> Body {
    body::json(&Asked { role, jwt: Some(jwt.as_str()), ..Asked::default() })
}

/// The certificate is the connection's. Without a role the server tries all.
pub(super) fn by_certificate(role: Option<&str>) -> Body {
    body::json(&Asked { name: role, ..Asked::default() })
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;

    #[test]
    fn methods_are_named_as_the_server_names_them() {
        for method in Method::ALL {
            assert_eq!(Method::parse(method.name()), Some(method));
        }
        for other in ["", "Token", "ldap", "aws"] {
            assert_eq!(Method::parse(other), None);
        }
    }

    #[test]
    fn each_sends_what_its_method_takes() {
        let secret = Secret::of(Zeroizing::new("s".into()));
        assert_eq!(&by_secret_id("r", &secret)[..], br#"{"role_id":"r","secret_id":"s"}"#);
        assert_eq!(&by_jwt(Some("r"), &secret)[..], br#"{"role":"r","jwt":"s"}"#);
        assert_eq!(&by_jwt(None, &secret)[..], br#"{"jwt":"s"}"#);
        assert_eq!(&by_certificate(Some("r"))[..], br#"{"name":"r"}"#);
        assert_eq!(&by_certificate(None)[..], b"{}");
    }
}
