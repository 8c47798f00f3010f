//! A key of a transit engine: `host[:port]/mount/keys/name`, as the engine's own API names it.

use std::fmt;

use super::authority::Authority;
use super::refused::Refused;

const HINT: &str = "Write vault://<host>[:<port>]/<mount>/keys/<name>, for example \
    vault://vault.example.com:8200/transit/keys/app.";

/// What `vault://` names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VaultKey {
    is_plain: bool,
    authority: Authority,
    mount: String,
    name: String,
}

impl VaultKey {
    pub(super) const SCHEME: &str = "vault://";
    /// For development: HTTP without TLS, to this machine alone.
    pub(super) const PLAIN_SCHEME: &str = "vault+http://";

    /// # Errors
    /// What is wrong with `text`, what comes after the scheme.
    pub(super) fn parse(text: &str, is_plain: bool) -> Result<Self, Refused> {
        let refuse = |why: &str| Refused::new(why, HINT);
        let (authority, path) = text.split_once('/').ok_or_else(|| refuse("it names no key"))?;
        let authority = Authority::parse(authority)?;
        if is_plain && !authority.is_loopback() {
            return Err(Refused::new(
                "plain HTTP would show data keys to the network, so it is for this machine alone",
                "Write vault:// and serve TLS there.",
            ));
        }
        let (rest, name) = path.rsplit_once('/').ok_or_else(|| refuse("it names no key"))?;
        let mount = rest.strip_suffix("/keys").ok_or_else(|| refuse("it names no key"))?;
        if !mount.split('/').chain([name]).all(is_segment) {
            return Err(refuse("the mount or the key has characters that have no place in it"));
        }
        Ok(Self { is_plain, authority, mount: mount.to_owned(), name: name.to_owned() })
    }

    pub(super) fn scheme(&self) -> &'static str {
        if self.is_plain { Self::PLAIN_SCHEME } else { Self::SCHEME }
    }
}

#[allow(dead_code, reason = "for the provider, which a build may leave out")]
impl VaultKey {
    /// Where the server listens when the name has no port.
    pub(in crate::kms) const PORT: u16 = 8200;

    /// Whether it is asked without TLS.
    pub(in crate::kms) fn is_plain(&self) -> bool {
        self.is_plain
    }

    /// The server.
    pub(in crate::kms) fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The engine's mount, of one or more segments, without slashes around it.
    pub(in crate::kms) fn mount(&self) -> &str {
        &self.mount
    }

    /// The key's name in the engine.
    pub(in crate::kms) fn name(&self) -> &str {
        &self.name
    }
}

/// A part of a path that needs no encoding, and does not lead upwards.
fn is_segment(text: &str) -> bool {
    !text.is_empty()
        && text != "."
        && text != ".."
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
}

impl fmt::Display for VaultKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}/{}/keys/{}", self.scheme(), self.authority, self.mount, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_may_have_several_segments() -> Result<(), Refused> {
        for (text, mount, name) in [
            ("h/transit/keys/app", "transit", "app"),
            ("h:1/team/a/transit/keys/app_1.x-y", "team/a/transit", "app_1.x-y"),
            ("h/keys/keys/keys", "keys", "keys"),
        ] {
            let key = VaultKey::parse(text, false)?;
            assert_eq!((key.mount(), key.name()), (mount, name), "{text}");
            assert_eq!(key.to_string(), format!("vault://{text}"));
        }
        Ok(())
    }

    #[test]
    fn plain_http_is_for_this_machine() -> Result<(), Refused> {
        for host in ["localhost:8200", "127.0.0.1", "[::1]:1"] {
            let key = VaultKey::parse(&format!("{host}/transit/keys/a"), true)?;
            assert!(key.is_plain());
            assert_eq!(key.to_string(), format!("vault+http://{host}/transit/keys/a"));
        }
        for host in ["vault", "10.0.0.1:8200", "localhost.example.com", "[2001:db8::1]", "0.0.0.0"]
        {
            assert!(VaultKey::parse(&format!("{host}/transit/keys/a"), true).is_err(), "{host}");
        }
        Ok(())
    }

    #[test]
    fn what_names_no_key_is_refused() {
        for text in [
            "h",
            "h/",
            "h/transit",
            "h/transit/keys",
            "h/transit/keys/",
            "h/transit/app",
            "h/keys/app",
            "h//keys/app",
            "h/transit//keys/app",
            "h/../keys/app",
            "h/a/./b/keys/app",
            "h/transit/keys/..",
            "h/transit/keys/a/b",
            "h/transit/keys/a?x",
            "h/transit/keys/a#x",
            "h/transit/keys/a%20b",
            "h/transit/keys/a*",
            "h/transit/keys/\u{e9}",
            "u:p@h/transit/keys/a",
            "/transit/keys/a",
            "h/v1/transit/encrypt/a",
        ] {
            assert!(VaultKey::parse(text, false).is_err(), "{text}");
        }
    }
}
