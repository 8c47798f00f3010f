//! How a server is reached, and as whom: `envelope.vault_*`, read for one server.

use super::super::uri::{Authority, VaultKey};
use super::super::{Config, KekUri, Kind, KmsError, Limits, by_server};
use super::login::Method;

/// All that makes one client differ from another. Files are named, not read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Access {
    pub(super) is_plain: bool,
    /// With its port.
    pub(super) authority: Authority,
    pub(super) namespace: Option<String>,
    pub(super) login: Login,
    /// Each request logs in by itself, and no token is had.
    pub(super) is_inline: bool,
    /// Where the method is mounted.
    pub(super) auth_mount: String,
    pub(super) ca_file: Option<String>,
    pub(super) client_cert_file: Option<String>,
    pub(super) client_key_file: Option<String>,
    pub(super) limits: Limits,
}

/// A method with what it needs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Login {
    Token {
        token_file: String,
    },
    AppRole {
        role_id: String,
        secret_id_file: String,
    },
    /// [`Method::Jwt`] or [`Method::Kubernetes`].
    Jwt {
        method: Method,
        role: Option<String>,
        jwt_file: String,
    },
    Cert {
        role: Option<String>,
    },
}

impl Login {
    pub(super) fn method(&self) -> Method {
        match self {
            Self::Token { .. } => Method::Token,
            Self::AppRole { .. } => Method::AppRole,
            Self::Jwt { method, .. } => *method,
            Self::Cert { .. } => Method::Cert,
        }
    }
}

impl Access {
    /// # Errors
    /// [`Kind::BadUri`]: what is missing in the settings, or wrong with them.
    pub(super) fn new(key: &VaultKey, config: &Config) -> Result<Self, KmsError> {
        let wrong = |setting: &str, why: &str| {
            KmsError::new(
                Kind::BadUri,
                KekUri::Vault(key.clone()),
                format!("envelope.{setting}: {why}"),
            )
        };
        let authority = key.authority().with_port(VaultKey::PORT);
        let of = |setting: &'static str, text: &Option<String>| {
            by_server::value(text.as_deref(), &authority, VaultKey::PORT)
                .map(|value| value.map(str::to_owned))
                .map_err(|why| wrong(setting, why))
        };
        let set = &config.vault;
        let identity = config.identity.as_ref();
        let role = identity.and_then(|identity| identity.vault_role()).map(str::to_owned);
        let role = of("vault_role", &role)?;
        let needed = |setting: &'static str, text: &Option<String>| {
            let missing = || wrong(setting, "it is not set for this server").with_hint(AUTH_HINT);
            of(setting, text)?.ok_or_else(missing)
        };
        let method = of("vault_auth", &set.auth)?;
        let method = method.as_deref().unwrap_or(Method::Token.name());
        let (method, is_inline) = match method.strip_prefix(INLINE) {
            // A token is had by no login.
            Some(method) => (Method::parse(method).filter(|m| *m != Method::Token), true),
            None => (Method::parse(method), false),
        };
        let method = method
            .ok_or_else(|| wrong("vault_auth", "there is no such method").with_hint(AUTH_HINT))?;
        let login = match method {
            // The token or the secret id decides who asks: another role would be ignored.
            Method::Token | Method::AppRole if role.is_some() => {
                return Err(wrong("vault_role", "it needs another method than token and approle")
                    .with_hint(
                        "Set envelope.vault_auth to jwt, kubernetes or cert, or take the role away.",
                    ));
            }
            Method::Token => {
                Login::Token { token_file: needed("vault_token_file", &set.token_file)? }
            }
            Method::AppRole => Login::AppRole {
                role_id: needed("vault_role_id", &set.role_id)?,
                secret_id_file: needed("vault_secret_id_file", &set.secret_id_file)?,
            },
            Method::Jwt | Method::Kubernetes => {
                if method == Method::Kubernetes && role.is_none() {
                    needed("vault_role", &None)?;
                }
                Login::Jwt { method, role, jwt_file: needed("vault_jwt_file", &set.jwt_file)? }
            }
            Method::Cert if key.is_plain() => {
                return Err(wrong("vault_auth", "cert needs TLS, and so a KEK of vault://"));
            }
            Method::Cert => {
                needed("vault_client_cert_file", &set.client_cert_file)?;
                needed("vault_client_key_file", &set.client_key_file)?;
                Login::Cert { role }
            }
        };
        let auth_mount = of("vault_auth_mount", &set.auth_mount)?;
        let auth_mount = auth_mount.unwrap_or_else(|| method.name().to_owned());
        if !auth_mount.split('/').all(is_segment) {
            return Err(wrong("vault_auth_mount", "this is no path of a mount")
                .with_hint("Write it without slashes around it and without \"auth/\"."));
        }
        let namespace = of("vault_namespace", &set.namespace)?;
        if namespace.as_ref().is_some_and(|name| !name.bytes().all(|b| b.is_ascii_graphic())) {
            return Err(wrong("vault_namespace", "this is no path of a namespace"));
        }
        Ok(Self {
            is_plain: key.is_plain(),
            namespace,
            login,
            is_inline,
            auth_mount,
            ca_file: of("vault_ca_file", &set.ca_file)?,
            client_cert_file: of("vault_client_cert_file", &set.client_cert_file)?,
            client_key_file: of("vault_client_key_file", &set.client_key_file)?,
            limits: config.limits,
            authority,
        })
    }
}

/// What stands before a method that each request logs in by. OpenBao can since 2.4.
const INLINE: &str = "inline-";

const AUTH_HINT: &str = "Set envelope.vault_auth to token (the default), approle, jwt, kubernetes or cert, and what \
    that method needs: vault_token_file; vault_role_id and vault_secret_id_file; vault_jwt_file (kubernetes: and \
    vault_role); vault_client_cert_file and vault_client_key_file. For OpenBao all but token can be inline, as in \
    inline-jwt.";

/// A part of a path that needs no encoding, and does not lead upwards.
fn is_segment(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().any(|b| b != b'.')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::super::super::{Identity, VaultSettings};
    use super::*;

    fn key(uri: &str) -> Option<VaultKey> {
        match uri.parse::<KekUri>() {
            Ok(KekUri::Vault(key)) => Some(key),
            _ => None,
        }
    }

    /// The access for `uri` with these settings, or the setting that the error names.
    fn access(uri: &str, set: &[(&str, &str)]) -> Result<Access, String> {
        let mut vault = VaultSettings::default();
        let mut role = None;
        for (name, value) in set {
            let value = Some((*value).to_owned());
            match *name {
                "auth" => vault.auth = value,
                "auth_mount" => vault.auth_mount = value,
                "namespace" => vault.namespace = value,
                "token_file" => vault.token_file = value,
                "role_id" => vault.role_id = value,
                "secret_id_file" => vault.secret_id_file = value,
                "jwt_file" => vault.jwt_file = value,
                "cert" => vault.client_cert_file = value,
                "key" => vault.client_key_file = value,
                "ca_file" => vault.ca_file = value,
                _ => role = value,
            }
        }
        let identity = Identity::new(None, role, || "db".into());
        let config = Config { vault, identity, ..Config::default() };
        let key = key(uri).ok_or("no key")?;
        Access::new(&key, &config).map_err(|error| {
            assert_eq!(error.kind, Kind::BadUri, "{error}");
            let setting = error.message.split("envelope.").nth(1).unwrap_or_default();
            setting.split(':').next().unwrap_or_default().to_owned()
        })
    }

    const KEK: &str = "vault://h/transit/keys/a";

    #[test]
    fn each_method_has_what_it_needs() {
        for (set, method) in [
            (&[("token_file", "/t")][..], Method::Token),
            (&[("auth", "token"), ("token_file", "/t")], Method::Token),
            (&[("auth", "approle"), ("role_id", "r"), ("secret_id_file", "/s")], Method::AppRole),
            (&[("auth", "jwt"), ("jwt_file", "/j")], Method::Jwt),
            (&[("auth", "jwt"), ("jwt_file", "/j"), ("role", "r")], Method::Jwt),
            (&[("auth", "kubernetes"), ("jwt_file", "/j"), ("role", "r")], Method::Kubernetes),
            (&[("auth", "cert"), ("cert", "/c"), ("key", "/k")], Method::Cert),
        ] {
            let access = access(KEK, set);
            let found = access.as_ref().map(|a| (a.login.method(), a.auth_mount.as_str()));
            assert_eq!(found, Ok((method, method.name())), "{set:?}");
        }
    }

    #[test]
    fn all_methods_but_token_can_be_inline() {
        let jwt = |auth| [("auth", auth), ("jwt_file", "/j"), ("token_file", "/t")];
        for (auth, is_inline) in [("jwt", false), ("inline-jwt", true)] {
            let access = access(KEK, &jwt(auth));
            let found = access.map(|a| (a.is_inline, a.auth_mount, a.login.method()));
            assert_eq!(found, Ok((is_inline, "jwt".into(), Method::Jwt)));
        }
        for auth in ["inline-token", "inline-", "inline", "inline-inline-jwt"] {
            assert_eq!(access(KEK, &jwt(auth)).err().as_deref(), Some("vault_auth"), "{auth}");
        }
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let file = ("token_file", "/t");
        for (set, setting) in [
            (&[][..], "vault_token_file"),
            (&[("auth", "ldap")], "vault_auth"),
            (&[("auth", "token")], "vault_token_file"),
            (&[("auth", "approle"), ("secret_id_file", "/s")], "vault_role_id"),
            (&[("auth", "approle"), ("role_id", "r")], "vault_secret_id_file"),
            (&[("auth", "jwt")], "vault_jwt_file"),
            (&[("auth", "kubernetes"), ("jwt_file", "/j")], "vault_role"),
            (&[("auth", "kubernetes"), ("role", "r")], "vault_jwt_file"),
            (&[("auth", "cert"), ("key", "/k")], "vault_client_cert_file"),
            (&[("auth", "cert"), ("cert", "/c")], "vault_client_key_file"),
            // Who asks would be another than the role says.
            (&[("auth", "token"), file, ("role", "r")], "vault_role"),
            (
                &[("auth", "approle"), ("role_id", "r"), ("secret_id_file", "/s"), ("role", "r")],
                "vault_role",
            ),
            (&[("auth", "token"), file, ("auth_mount", "/x/")], "vault_auth_mount"),
            (&[("auth", "token"), file, ("auth_mount", "a/../b")], "vault_auth_mount"),
            (&[("auth", "token"), file, ("namespace", "a b")], "vault_namespace"),
            (&[("auth", "token"), ("token_file", "h:8200=/a,/b")], "vault_token_file"),
        ] {
            assert_eq!(access(KEK, set).err().as_deref(), Some(setting), "{set:?}");
        }
        let certificate = [("auth", "cert"), ("cert", "/c"), ("key", "/k")];
        let plain = access("vault+http://127.0.0.1/transit/keys/a", &certificate);
        assert_eq!(plain.err().as_deref(), Some("vault_auth"));
    }

    #[test]
    fn servers_have_their_own_values() {
        let set = [
            ("auth", "h:8200=token,i:1=jwt"),
            ("token_file", "/t"),
            ("jwt_file", "/j"),
            ("role", "i:1=r"),
            ("namespace", "i:1=team"),
        ];
        let first = access(KEK, &set);
        let login = Login::Token { token_file: "/t".into() };
        assert_eq!(first.as_ref().map(|a| (&a.login, a.namespace.as_deref())), Ok((&login, None)));
        let second = access("vault://i:1/transit/keys/a", &set);
        let login =
            Login::Jwt { method: Method::Jwt, role: Some("r".into()), jwt_file: "/j".into() };
        assert_eq!(
            second.as_ref().map(|a| (&a.login, a.namespace.as_deref())),
            Ok((&login, Some("team")))
        );
        // The usual port named or not is the same server.
        assert_eq!(access("vault://h:8200/transit/keys/b", &set), first);
    }
}
