//! Ways to log in: which request each makes, of which files.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Serialize, Serializer};
use zeroize::Zeroizing;

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

/// What a login asks with: names, and what they stand for.
#[derive(Default)]
pub(super) struct Asked(Vec<(&'static str, Secret)>);

impl Asked {
    pub(super) fn by_secret_id(role_id: &str, secret_id: Secret) -> Self {
        Self(vec![("role_id", plain(role_id)), ("secret_id", secret_id)])
    }

    /// Without a role the server takes the mount's default one.
    pub(super) fn by_jwt(role: Option<&str>, jwt: Secret) -> Self {
        let role = role.map(|role| ("role", plain(role)));
        Self(role.into_iter().chain([("jwt", jwt)]).collect())
    }

    /// The certificate is the connection's. Without a role the server tries all.
    pub(super) fn by_certificate(role: Option<&str>) -> Self {
        Self(role.map(|role| ("name", plain(role))).into_iter().collect())
    }

    /// The body of a login.
    pub(super) fn body(&self) -> Body {
        body::json(self)
    }

    /// The headers by which another request logs in. Source: OpenBao's documentation, "Inline
    /// authentication". A proxy may drop a name with an underscore in it; what the server reads stands
    /// in the value.
    pub(super) fn headers(&self, path: &str) -> Vec<(String, Secret)> {
        let parameter = |(name, value): &(&'static str, Secret)| {
            let pair = body::json(&Parameter { key: name, value: value.as_str() });
            let value = Secret::of(Zeroizing::new(URL_SAFE_NO_PAD.encode(&*pair)));
            (format!("x-vault-inline-auth-parameter-{}", name.replace('_', "-")), value)
        };
        let path = ("x-vault-inline-auth-path".to_owned(), plain(path));
        [path].into_iter().chain(self.0.iter().map(parameter)).collect()
    }
}

impl Serialize for Asked {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.iter().map(|(name, value)| (name, value.as_str())))
    }
}

#[derive(Serialize)]
struct Parameter<'a> {
    key: &'a str,
    value: &'a str,
}

/// What is no secret, among those that are.
fn plain(text: &str) -> Secret {
    Secret::of(Zeroizing::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
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

    fn secret() -> Secret {
        plain("s")
    }

    #[test]
    fn each_sends_what_its_method_takes() {
        for (asked, body) in [
            (Asked::by_secret_id("r", secret()), r#"{"role_id":"r","secret_id":"s"}"#),
            (Asked::by_jwt(Some("r"), secret()), r#"{"role":"r","jwt":"s"}"#),
            (Asked::by_jwt(None, secret()), r#"{"jwt":"s"}"#),
            (Asked::by_certificate(Some("r")), r#"{"name":"r"}"#),
            (Asked::by_certificate(None), "{}"),
        ] {
            assert_eq!(&asked.body()[..], body.as_bytes());
        }
    }

    #[test]
    fn a_request_that_logs_in_says_the_same_in_its_headers() {
        let headers = Asked::by_secret_id("r?>", secret()).headers("auth/approle/login");
        let headers: Vec<_> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(
            headers,
            [
                ("x-vault-inline-auth-path", "auth/approle/login"),
                (
                    "x-vault-inline-auth-parameter-role-id",
                    "eyJrZXkiOiJyb2xlX2lkIiwidmFsdWUiOiJyPz4ifQ"
                ),
                (
                    "x-vault-inline-auth-parameter-secret-id",
                    "eyJrZXkiOiJzZWNyZXRfaWQiLCJ2YWx1ZSI6InMifQ"
                ),
            ]
        );
        assert_eq!(Asked::by_certificate(None).headers("auth/cert/login").len(), 1);
    }
}
