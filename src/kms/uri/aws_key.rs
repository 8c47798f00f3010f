//! The four ways in which AWS KMS lets a request name a key.
//!
//! Source: AWS KMS Developer Guide, "Key identifiers (KeyId)". Parsed strictly, since the region
//! becomes part of a host name that credentials are sent to.

use std::fmt;

/// A key of AWS KMS, as a request's `KeyId`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AwsKey {
    id: String,
    region: Option<String>,
}

impl AwsKey {
    /// A key ARN, an alias ARN, `alias/name` or a key id.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(in crate::kms) fn parse(id: &str) -> Result<Self, &'static str> {
        let region = match id.strip_prefix("arn:") {
            Some(rest) => Some(arn_region(rest)?.to_owned()),
            None if is_alias(id) || is_key_id(id) => None,
            None => return Err("this names no AWS KMS key (an alias is written alias/name)"),
        };
        Ok(Self { id: id.to_owned(), region })
    }

    /// Whether it is a name that KMS can give to another key.
    pub(in crate::kms) fn is_alias(&self) -> bool {
        self.id.starts_with("alias/") || self.id.contains(":alias/")
    }

    /// A key's full and lasting name, which an alias or a bare id is not.
    pub fn is_key_arn(&self) -> bool {
        self.region.is_some() && self.id.contains(":key/")
    }
}

#[allow(dead_code, reason = "for the provider, which a build may leave out")]
impl AwsKey {
    /// What a request's `KeyId` takes.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The region that an ARN names.
    pub fn region(&self) -> Option<&str> {
        self.region.as_deref()
    }

    /// May a request for `self` be answered under the key ARN `answer`? Only an alias may stand for
    /// any key.
    pub(in crate::kms) fn admits(&self, answer: &Self) -> bool {
        let same_region = self.region.is_none() || self.region == answer.region;
        answer.is_key_arn()
            && same_region
            && (self.id == answer.id
                || self.is_alias()
                || answer.id.rsplit('/').next() == Some(&self.id))
    }
}

impl fmt::Display for AwsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)
    }
}

/// The region of `partition:kms:region:account:resource`.
fn arn_region(rest: &str) -> Result<&str, &'static str> {
    let mut parts = rest.splitn(5, ':');
    let mut next = || parts.next().unwrap_or_default();
    let (partition, service, region, account, resource) = (next(), next(), next(), next(), next());
    let is_label = |text: &str| {
        !text.is_empty()
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    if partition != "aws" && !(partition.starts_with("aws-") && is_label(partition)) {
        return Err("the ARN's partition is none of AWS");
    }
    if service != "kms" {
        return Err("the ARN is not one of KMS");
    }
    if !is_label(region) || region.len() > 40 {
        return Err("the ARN names no region");
    }
    if account.len() != 12 || !account.bytes().all(|b| b.is_ascii_digit()) {
        return Err("the ARN's account is not twelve digits");
    }
    if !is_alias(resource) && !resource.strip_prefix("key/").is_some_and(is_key_id) {
        return Err("the ARN names neither a key nor an alias");
    }
    Ok(region)
}

/// `alias/` and 1 to 250 of the characters that CreateAlias allows.
fn is_alias(text: &str) -> bool {
    text.strip_prefix("alias/").is_some_and(|name| {
        (1..=250).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"/_-".contains(&b))
    })
}

/// A UUID in lower case, or `mrk-` and 32 hexadecimal digits for a multi-region key.
fn is_key_id(text: &str) -> bool {
    let is_hex =
        |text: &str| text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    match text.strip_prefix("mrk-") {
        Some(digits) => digits.len() == 32 && is_hex(digits),
        None => {
            let lengths = text.split('-').map(str::len);
            lengths.eq([8, 4, 4, 4, 12]) && text.split('-').all(is_hex)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_alias_stands_for_any_key() -> Result<(), &'static str> {
        let id = "1234abcd-12ab-34cd-56ef-1234567890ab";
        let arn = AwsKey::parse(
            "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab",
        )?;
        let other = AwsKey::parse(
            "arn:aws:kms:eu-west-1:123456789012:key/00000000-12ab-34cd-56ef-1234567890ab",
        )?;
        let elsewhere = AwsKey::parse(
            "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab",
        )?;
        let alias = AwsKey::parse("alias/app")?;
        let alias_arn = AwsKey::parse("arn:aws:kms:eu-west-1:123456789012:alias/app")?;
        let bare = AwsKey::parse(id)?;
        for (asked, answered, admitted) in [
            (&arn, &arn, true),
            (&arn, &other, false),
            (&arn, &elsewhere, false),
            (&bare, &arn, true),
            (&bare, &other, false),
            (&alias, &other, true),
            (&alias_arn, &other, true),
            (&alias_arn, &elsewhere, false),
            (&alias, &alias_arn, false),
            (&bare, &bare, false),
        ] {
            assert_eq!(asked.admits(answered), admitted, "{asked} answered under {answered}");
        }
        Ok(())
    }
}
