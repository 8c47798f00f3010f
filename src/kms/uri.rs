//! Names of KEKs: URIs, as in Tink. A name is parsed once; what does not parse never reaches a
//! provider.

mod aws_key;

use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use super::{Kind, KmsError};

pub use self::aws_key::AwsKey;

const FILE: &str = "file://";
const AWS: &str = "aws-kms://";

const FILE_HINT: &str =
    "Write file:///path/to/key: an absolute path without \"..\", \"//\", \"?\", \"#\" or \"%\".";

const URI_HINT: &str =
    "A KEK is named aws-kms://<key ARN>, aws-kms://alias/<name> or file:///path/to/key.";

const AWS_HINT: &str = "Write aws-kms://arn:aws:kms:<region>:<account>:key/<id>, the same with \
    alias/<name>, aws-kms://alias/<name>, or aws-kms://<id>.";

/// Longer names are refused: an ARN has at most some 300 bytes, a path 4096.
const MAX_LEN: usize = 4096;

/// A KEK's name. `Display` gives the URI back byte for byte, so that equal KEKs are equal text in
/// the catalog.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KekUri {
    /// `file:///absolute/path`: a file of 32 bytes.
    File(PathBuf),
    /// `aws-kms://…`: a key of AWS KMS.
    Aws(AwsKey),
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

    /// Whether it names one KEK for ever, as what is stored must.
    pub fn is_stored_form(&self) -> bool {
        match self {
            Self::File(_) => true,
            Self::Aws(key) => key.is_key_arn(),
        }
    }
}

impl FromStr for KekUri {
    type Err = KmsError;

    fn from_str(text: &str) -> Result<Self, KmsError> {
        if let Some(path) = text.strip_prefix(FILE) {
            return Self::file(Path::new(path));
        }
        let shown = cut(text);
        let Some(key) = text.strip_prefix(AWS) else {
            return Err(KmsError::new(Kind::BadUri, shown, "this is not the URI of a KEK")
                .with_hint(URI_HINT));
        };
        match AwsKey::parse(key) {
            Ok(key) => Ok(Self::Aws(key)),
            Err(why) => Err(KmsError::new(Kind::BadUri, shown, why).with_hint(AWS_HINT)),
        }
    }
}

impl fmt::Display for KekUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{FILE}{}", path.display()),
            Self::Aws(key) => write!(f, "{AWS}{key}"),
        }
    }
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
