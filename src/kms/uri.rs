//! Names of KEKs: URIs, as in Tink. A name is parsed once; what does not parse never reaches a
//! provider.

mod authority;
mod aws_key;
mod kmip_key;
mod percent;
mod pkcs11_key;
mod refused;
mod vault_key;

use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use super::{Kind, KmsError};

#[allow(unused_imports, reason = "for providers, which a build may leave out")]
pub(super) use self::authority::Authority;
pub use self::aws_key::AwsKey;
pub use self::kmip_key::KmipKey;
pub use self::pkcs11_key::Pkcs11Key;
use self::refused::Refused;
pub use self::vault_key::VaultKey;

const FILE: &str = "file://";
const AWS: &str = "aws-kms://";

const FILE_HINT: &str =
    "Write file:///path/to/key: an absolute path without \"..\", \"//\", \"?\", \"#\" or \"%\".";

const URI_HINT: &str = "A KEK is named aws-kms://<key ARN>, aws-kms://alias/<name>, \
    vault://<host>:<port>/<mount>/keys/<name>, pkcs11:token=<label>;object=<label>, \
    kmip://<host>:<port>/<unique identifier> or file:///path/to/key.";

const AWS_HINT: &str = "Write aws-kms://arn:aws:kms:<region>:<account>:key/<id>, the same with \
    alias/<name>, aws-kms://alias/<name>, or aws-kms://<id>.";

/// Longer names are refused: an ARN has at most some 300 bytes, a path 4096.
const MAX_LEN: usize = 4096;

/// What binds an encryption context to a wrap, the less first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Binding {
    /// The cipher: with another context the wrap does not open. Whoever may use the KEK may use it
    /// with any context, and nobody's log tells which.
    Cipher,
    /// The KMS as well: its policy can ask for a context, and its log shows it.
    Seen,
}

impl Binding {
    /// As `envelope.keys` shows it.
    pub fn shown(self) -> &'static str {
        match self {
            Self::Cipher => "cipher",
            Self::Seen => "kms policy and log",
        }
    }
}

/// A KEK's name. `Display` gives the URI back byte for byte, so that equal KEKs are equal text in
/// the catalog.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KekUri {
    /// `file:///absolute/path`: a file of 32 bytes.
    File(PathBuf),
    /// `aws-kms://…`: a key of AWS KMS.
    Aws(AwsKey),
    /// `vault://…`: a key of OpenBao's or Vault's transit engine.
    Vault(VaultKey),
    /// `pkcs11:…`: a key in a token.
    Pkcs11(Pkcs11Key),
    /// `kmip://…`: a key of a KMIP server.
    Kmip(KmipKey),
}

impl KekUri {
    /// The URI of a key file.
    ///
    /// # Errors
    /// [`Kind::BadUri`] for a path that is not absolute, not UTF-8, not in its plainest form, or
    /// reads as more than a path in a URI.
    pub fn file(path: &Path) -> Result<Self, KmsError> {
        let shown = cut(&path.to_string_lossy());
        let refuse = |why: &str| {
            Err(KmsError::new(Kind::BadUri, format!("{FILE}{shown}"), why).with_hint(FILE_HINT))
        };
        let Some(text) = path.to_str() else { return refuse("the path is not UTF-8") };
        if !text.starts_with('/') {
            return refuse("the path is not absolute");
        }
        if text.len() > MAX_LEN || text.contains(|c: char| c.is_control() || "?#%".contains(c)) {
            return refuse("the path is too long, or has a character that has no place in it");
        }
        // `components` drops "//", "/./" and a trailing slash, so what it gives back differs when
        // one was there.
        let plain: PathBuf = path.components().collect();
        if plain.as_os_str() != path.as_os_str()
            || path.components().any(|part| part == Component::ParentDir)
        {
            return refuse("the path is not in its plainest form");
        }
        if path.file_name().is_none() {
            return refuse("the path names no file");
        }
        Ok(Self::File(plain))
    }

    /// Which provider a URI is of, by its scheme: `file`, `aws-kms`, `vault`, ...
    pub fn provider_of(uri: &str) -> &str {
        let scheme = uri.split(':').next().unwrap_or_default();
        scheme.split('+').next().unwrap_or_default()
    }

    /// Whether it names one KEK for ever, as what is stored must.
    pub fn is_stored_form(&self) -> bool {
        match self {
            Self::Aws(key) => key.is_key_arn(),
            Self::File(_) | Self::Vault(_) | Self::Pkcs11(_) | Self::Kmip(_) => true,
        }
    }

    /// Whether it is a name that the KMS can give to another KEK tomorrow.
    pub fn is_alias(&self) -> bool {
        match self {
            Self::Aws(key) => key.is_alias(),
            Self::File(_) | Self::Vault(_) | Self::Pkcs11(_) | Self::Kmip(_) => false,
        }
    }

    /// What binds an encryption context to its wraps.
    pub fn binding(&self) -> Binding {
        match self {
            Self::Aws(_) | Self::Vault(_) => Binding::Seen,
            Self::File(_) | Self::Pkcs11(_) | Self::Kmip(_) => Binding::Cipher,
        }
    }

    /// Of a text that begins as the URI of a KEK at a server: scheme and host, and what comes after.
    pub fn split_at_host(text: &str) -> Option<(&str, &str)> {
        let schemes = [VaultKey::SCHEME, VaultKey::PLAIN_SCHEME, KmipKey::SCHEME];
        let scheme = schemes.into_iter().find(|scheme| text.starts_with(scheme))?;
        let host = text.strip_prefix(scheme)?.find('/')?;
        text.split_at_checked(scheme.len() + host)
    }

    /// What its URI begins with: KEKs with another beginning are of another KMS.
    pub fn scheme(&self) -> &'static str {
        match self {
            Self::File(_) => FILE,
            Self::Aws(_) => AWS,
            Self::Vault(key) => key.scheme(),
            Self::Pkcs11(_) => Pkcs11Key::SCHEME,
            Self::Kmip(_) => KmipKey::SCHEME,
        }
    }
}

impl FromStr for KekUri {
    type Err = KmsError;

    fn from_str(text: &str) -> Result<Self, KmsError> {
        if let Some(path) = text.strip_prefix(FILE) {
            return Self::file(Path::new(path));
        }
        let of_scheme = |scheme| text.strip_prefix(scheme);
        let parsed = if text.len() > MAX_LEN {
            Err(Refused::new("a KEK has no name that is so long", URI_HINT))
        } else if let Some(key) = of_scheme(AWS) {
            AwsKey::parse(key).map(Self::Aws).map_err(|why| Refused::new(why, AWS_HINT))
        } else if let Some(key) = of_scheme(VaultKey::SCHEME) {
            VaultKey::parse(key, false).map(Self::Vault)
        } else if let Some(key) = of_scheme(VaultKey::PLAIN_SCHEME) {
            VaultKey::parse(key, true).map(Self::Vault)
        } else if let Some(key) = of_scheme(Pkcs11Key::SCHEME) {
            Pkcs11Key::parse(key).map(Self::Pkcs11)
        } else if let Some(key) = of_scheme(KmipKey::SCHEME) {
            KmipKey::parse(key).map(Self::Kmip)
        } else {
            Err(Refused::new("this is not the URI of a KEK", URI_HINT))
        };
        parsed.map_err(|Refused { why, hint }| {
            KmsError::new(Kind::BadUri, showable(text), why).with_hint(hint)
        })
    }
}

impl fmt::Display for KekUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{FILE}{}", path.display()),
            Self::Aws(key) => write!(f, "{AWS}{key}"),
            Self::Vault(key) => key.fmt(f),
            Self::Pkcs11(key) => key.fmt(f),
            Self::Kmip(key) => key.fmt(f),
        }
    }
}

/// As [`cut`], without what may be a password or a PIN: people write them where other programs take
/// them.
fn showable(text: &str) -> String {
    let without_query = text.split_once('?').map_or(text, |(before, _)| before);
    if without_query.contains('@') || without_query.contains("pin-") {
        let scheme = without_query.split_inclusive(':').next().unwrap_or_default();
        return format!("{}...", cut(scheme));
    }
    cut(without_query)
}

/// What is no KEK's name, for a message.
fn cut(text: &str) -> String {
    text.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "1234abcd-12ab-34cd-56ef-1234567890ab";

    fn good() -> Vec<String> {
        vec![
            "file:///etc/kek".into(),
            "file:///srv/with space/ключ.kek".into(),
            "file:///srv/..kek".into(),
            format!("aws-kms://{ID}"),
            "aws-kms://mrk-1234abcd12ab34cd56ef1234567890ab".into(),
            "aws-kms://alias/my/app_1-x".into(),
            format!("aws-kms://arn:aws:kms:eu-central-1:123456789012:key/{ID}"),
            format!("aws-kms://arn:aws-us-gov:kms:us-gov-west-1:123456789012:key/{ID}"),
            "aws-kms://arn:aws-cn:kms:cn-north-1:123456789012:alias/app".into(),
            "aws-kms://arn:aws:kms:us-east-1:123456789012:key/mrk-1234abcd12ab34cd56ef1234567890ab"
                .into(),
            "vault://vault.example.com:8200/team/transit/keys/app".into(),
            "vault+http://127.0.0.1:8200/transit/keys/app".into(),
            "pkcs11:token=kek;object=pgkek".into(),
            "kmip://[::1]:5696/a-1".into(),
        ]
    }

    #[test]
    fn good_uris_round_trip() -> Result<(), KmsError> {
        for text in good() {
            assert_eq!(text.parse::<KekUri>()?.to_string(), text);
        }
        Ok(())
    }

    #[test]
    fn bad_uris_are_refused() {
        let long = format!("file:///{}", "x".repeat(5000));
        for text in [
            "",
            "kek",
            "FILE:///etc/kek",
            "file://",
            "file:///",
            "file://etc/kek",
            "file:/etc/kek",
            "file:///a/../b",
            "file:///a/..",
            "file:///a//b",
            "file:///a/./b",
            "file:///a/",
            "file:///a?x=1",
            "file:///a%2fb",
            "file:///a#b",
            "file:///a\nb",
            "file:///a\0b",
            &long,
            "gcp-kms://projects/x",
            "vault://",
            "vault:h/transit/keys/a",
            "vault+http://h/transit/keys/a",
            "vault+https://h/transit/keys/a",
            "pkcs11:",
            "pkcs11://token=t;object=o",
            "kmip://h",
            "aws-kms://",
            "aws-kms://my-key",
            "aws-kms://alias/",
            "aws-kms://alias/ä",
            "aws-kms://alias/a b",
            "aws-kms://1234ABCD-12ab-34cd-56ef-1234567890ab",
            "aws-kms://1234abcd12ab-34cd-56ef-1234567890ab-",
            "aws-kms://mrk-1234",
        ] {
            match text.parse::<KekUri>() {
                Ok(kek) => assert_eq!(kek.to_string(), "an error", "{text:?} was taken"),
                Err(error) => {
                    assert_eq!(error.kind, Kind::BadUri, "{text:?}");
                    assert!(error.hint.is_some(), "{text:?}");
                }
            }
        }
    }

    #[test]
    fn nothing_secret_is_shown_of_a_bad_uri() {
        let long = format!("kmip://h/{}", "a".repeat(MAX_LEN));
        for (text, shown) in [
            ("pkcs11:token=t;object=o?pin-value=1234", "pkcs11:token=t;object=o"),
            ("pkcs11:token=t;pin-value=1234;object=o", "pkcs11:..."),
            ("vault://me:secret@h/transit/keys/a", "vault:..."),
            ("postgres://me:secret@h/x", "postgres:..."),
            ("vault://h/transit/keys/a?token=s.1", "vault://h/transit/keys/a"),
            (&long, &long[..200]),
        ] {
            let error = text.parse::<KekUri>().err();
            assert_eq!(error.as_ref().map(|error| &*error.kek), Some(shown));
            assert!(error.is_some_and(|e| !format!("{e} {:?}", e.hint).contains("secret")));
        }
    }

    #[test]
    fn only_what_may_change_is_an_alias() -> Result<(), KmsError> {
        for (text, is_alias, is_stored) in [
            ("aws-kms://alias/x", true, false),
            ("aws-kms://arn:aws:kms:eu-west-1:123456789012:alias/x", true, false),
            ("aws-kms://1234abcd-12ab-34cd-56ef-1234567890ab", false, false),
            ("file:///alias/x", false, true),
            ("vault://h/alias/keys/alias", false, true),
            ("pkcs11:token=alias;object=o", false, true),
            ("kmip://h/alias", false, true),
        ] {
            let kek = text.parse::<KekUri>()?;
            assert_eq!((kek.is_alias(), kek.is_stored_form()), (is_alias, is_stored), "{text}");
            assert!(text.starts_with(kek.scheme()));
        }
        Ok(())
    }

    #[test]
    fn bad_arns_are_refused() {
        for arn in [
            "arn:aws:kms:eu-central-1:123456789012:key/",
            "arn:aws:kms:eu-central-1:123456789012:key/other",
            "arn:aws:kms:eu.evil.example/:123456789012:key/ID",
            "arn:aws:kms::123456789012:key/ID",
            "arn:aws:kms:eu-central-1:12345678901:key/ID",
            "arn:aws:s3:eu-central-1:123456789012:key/ID",
            "arn:evil:kms:eu-central-1:123456789012:key/ID",
            "arn:aws:kms:eu-central-1:123456789012:key/ID:x",
        ] {
            let text = format!("aws-kms://{}", arn.replace("ID", ID));
            assert_eq!(text.parse::<KekUri>().err().map(|e| e.kind), Some(Kind::BadUri), "{text}");
        }
        let good = format!("aws-kms://arn:aws:kms:eu-central-1:123456789012:key/{ID}");
        assert!(good.parse::<KekUri>().is_ok());
    }

    #[test]
    fn the_region_is_the_arns() -> Result<(), KmsError> {
        for (text, region, is_key_arn) in [
            (
                format!("aws-kms://arn:aws:kms:eu-west-1:123456789012:key/{ID}"),
                Some("eu-west-1"),
                true,
            ),
            (
                "aws-kms://arn:aws:kms:eu-west-1:123456789012:alias/x".into(),
                Some("eu-west-1"),
                false,
            ),
            ("aws-kms://alias/x".into(), None, false),
            (format!("aws-kms://{ID}"), None, false),
        ] {
            let KekUri::Aws(key) = text.parse::<KekUri>()? else {
                return Err(KmsError::new(Kind::BadUri, text, "not an AWS key"));
            };
            assert_eq!((key.region(), key.is_key_arn()), (region, is_key_arn), "{key}");
        }
        Ok(())
    }
}
