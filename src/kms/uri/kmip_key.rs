//! A key of a KMIP server: `host[:port]/unique-identifier`.

use std::fmt;

use super::authority::Authority;
use super::percent;
use super::refused::Refused;

const HINT: &str = "Write kmip://<host>[:<port>]/<unique identifier>.";

/// Servers give numbers, UUIDs or hexadecimal digits.
const LONGEST_ID: usize = 255;

/// What `kmip://` names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KmipKey {
    authority: Authority,
    id: String,
}

impl KmipKey {
    pub(super) const SCHEME: &str = "kmip://";

    /// # Errors
    /// What is wrong with `text`, what comes after the scheme.
    pub(super) fn parse(text: &str) -> Result<Self, Refused> {
        let refuse = |why: &str| Refused::new(why, HINT);
        let (authority, id) = text.split_once('/').ok_or_else(|| refuse("it names no key"))?;
        let authority = Authority::parse(authority)?;
        if id.contains(['/', '?', '#']) {
            return Err(refuse("after the host only the key's unique identifier has a place"));
        }
        let id = percent::read(id).and_then(|bytes| String::from_utf8(bytes).ok());
        let id = id.ok_or_else(|| refuse("the unique identifier is not UTF-8, percent-encoded"))?;
        if id.is_empty() || id.len() > LONGEST_ID || id.chars().any(char::is_control) {
            return Err(refuse(
                "the unique identifier is empty, too long or has control characters",
            ));
        }
        let key = Self { authority, id };
        match key.to_string().strip_prefix(Self::SCHEME) {
            Some(plain) if plain == text => Ok(key),
            _ => Err(Refused::new("it is not in its plainest form", format!("Write {key}."))),
        }
    }
}

#[allow(dead_code, reason = "for the provider, which a build may leave out")]
impl KmipKey {
    /// The port that IANA has registered for KMIP.
    pub(in crate::kms) const PORT: u16 = 5696;

    /// The server.
    pub(in crate::kms) fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The key's unique identifier as the server knows it.
    pub(in crate::kms) fn id(&self) -> &str {
        &self.id
    }
}

impl fmt::Display for KmipKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}/", Self::SCHEME, self.authority)?;
        percent::write(f, self.id.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_come_back() -> Result<(), Refused> {
        for (text, id) in [
            ("h/1", "1"),
            ("h:5696/0f3c3c1a-7b1e-4c0e-9d5b-0e2f6b7a8c9d", "0f3c3c1a-7b1e-4c0e-9d5b-0e2f6b7a8c9d"),
            ("[::1]:1/a%2Fb%20c%C3%A9", "a/b c\u{e9}"),
        ] {
            let key = KmipKey::parse(text)?;
            assert_eq!(key.id(), id);
            assert_eq!(key.to_string(), format!("kmip://{text}"));
        }
        Ok(())
    }

    #[test]
    fn other_spellings_are_told_the_plainest() {
        for (text, plain) in [("h/%41", "A"), ("h/a%2fb", "a%2Fb"), ("h/a,b", "a%2Cb")] {
            let refused = KmipKey::parse(text).err();
            let hint = format!("Write kmip://h/{plain}.");
            assert_eq!(refused.map(|refused| refused.hint), Some(hint), "{text}");
        }
    }

    #[test]
    fn what_names_no_key_is_refused() {
        for text in [
            "h", "h/", "/1", "h/1/2", "h/1?x", "h/1#x", "h/%", "h/%FF", "h/%00", "h/a%0Ab", "u@h/1",
        ] {
            assert!(KmipKey::parse(text).is_err(), "{text}");
        }
        assert!(KmipKey::parse(&format!("h/{}", "x".repeat(LONGEST_ID + 1))).is_err());
    }
}
