//! A key in a token, as RFC 7512 names it: `token=…;object=…`.
//!
//! Of the RFC's attributes only those that name the token and the key for ever: which module is
//! loaded and where the PIN stands is the administrator's to set, not the namer's.

use std::fmt;

use super::percent;
use super::refused::Refused;

const HINT: &str = "Write pkcs11:token=<label>;object=<label>. A token is named by token, serial, \
    manufacturer and model, a key by object and id (RFC 7512); what is no letter, no digit and none of -._~ \
    is percent-encoded, an id always.";

/// What `pkcs11:` names: at least a token's label or serial number, and a key's label or id.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pkcs11Key {
    token: Option<String>,
    object: Option<String>,
    id: Option<Vec<u8>>,
    serial: Option<String>,
    manufacturer: Option<String>,
    model: Option<String>,
}

impl Pkcs11Key {
    pub(super) const SCHEME: &str = "pkcs11:";

    /// # Errors
    /// What is wrong with `text`, what comes after the scheme. It may hold a PIN, and is not shown.
    pub(super) fn parse(text: &str) -> Result<Self, Refused> {
        let (path, query) = text.split_once('?').unwrap_or((text, ""));
        let mut key = Self::default();
        for attribute in path.split(';').chain(query.split('&').filter(|part| !part.is_empty())) {
            let (name, value) = attribute.split_once('=').unwrap_or((attribute, ""));
            key.set(name, value)?;
        }
        if text.contains(['?', '#']) {
            return Err(Refused::new("it has more than a path in it", HINT));
        }
        if key.token.is_none() && key.serial.is_none() {
            return Err(Refused::new("it names no token", HINT));
        }
        if key.object.is_none() && key.id.is_none() {
            return Err(Refused::new("it names no key in the token", HINT));
        }
        match key.to_string().strip_prefix(Self::SCHEME) {
            Some(plain) if plain == text => Ok(key),
            _ => {
                let why = "its attributes are in another order or encoding than the plainest";
                Err(Refused::new(why, format!("Write {key}.")))
            }
        }
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), Refused> {
        // What PKCS#11 has room for; labels and ids of keys have no such limit.
        let (slot, longest) = match name {
            "token" => (&mut self.token, 32),
            "object" => (&mut self.object, 255),
            "serial" => (&mut self.serial, 16),
            "manufacturer" => (&mut self.manufacturer, 32),
            "model" => (&mut self.model, 16),
            "id" => return set_once(&mut self.id, name, bytes(name, value, 255)?),
            _ => return Err(misplaced(name)),
        };
        let text = String::from_utf8(bytes(name, value, longest)?).ok();
        let text = text.filter(|text| !text.chars().any(char::is_control));
        let why = || Refused::new(format!("its {name} is not UTF-8 text"), HINT);
        set_once(slot, name, text.ok_or_else(why)?)
    }
}

#[allow(dead_code, reason = "for the provider, which a build may leave out")]
impl Pkcs11Key {
    /// The token's label.
    pub(in crate::kms) fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// The token's serial number.
    pub(in crate::kms) fn serial(&self) -> Option<&str> {
        self.serial.as_deref()
    }

    /// The token's manufacturer.
    pub(in crate::kms) fn manufacturer(&self) -> Option<&str> {
        self.manufacturer.as_deref()
    }

    /// The token's model.
    pub(in crate::kms) fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// The key's label, CKA_LABEL.
    pub(in crate::kms) fn object(&self) -> Option<&str> {
        self.object.as_deref()
    }

    /// The key's CKA_ID.
    pub(in crate::kms) fn id(&self) -> Option<&[u8]> {
        self.id.as_deref()
    }
}

fn bytes(name: &str, value: &str, longest: usize) -> Result<Vec<u8>, Refused> {
    let read = percent::read(value).filter(|bytes| (1..=longest).contains(&bytes.len()));
    read.ok_or_else(|| Refused::new(format!("its {name} is empty, too long or malformed"), HINT))
}

fn set_once<T>(slot: &mut Option<T>, name: &str, value: T) -> Result<(), Refused> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(Refused::new(format!("its {name} is given twice"), HINT)),
    }
}

/// An attribute that has no place in a KEK's name, and where it belongs. Only names of the RFC are
/// shown: a text may hold a PIN.
fn misplaced(name: &str) -> Refused {
    const ELSEWHERE: [(&str, &str); 11] = [
        (
            "pin-value",
            "Put the PIN into a file that only the server can read, and set envelope.pkcs11_pin_file. Other people may have seen the one that stands here: change it.",
        ),
        ("pin-source", "Set envelope.pkcs11_pin_file."),
        ("module-path", "Set envelope.pkcs11_module."),
        ("module-name", "Set envelope.pkcs11_module."),
        ("library-manufacturer", "Set envelope.pkcs11_module."),
        ("library-description", "Set envelope.pkcs11_module."),
        ("library-version", "Set envelope.pkcs11_module."),
        ("slot-id", "Slots change their numbers. Name the token by token or serial."),
        ("slot-description", "Name the token by token or serial."),
        ("slot-manufacturer", "Name the token by token or serial."),
        ("type", "Leave it out: a KEK is always a secret key."),
    ];
    match ELSEWHERE.iter().find(|(known, _)| *known == name) {
        Some((known, hint)) => {
            Refused::new(format!("attribute {known} has no place in a KEK's name"), *hint)
        }
        None => Refused::new("it has an attribute that has no place in a KEK's name", HINT),
    }
}

impl fmt::Display for Pkcs11Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts =
            |name, text: &Option<String>| text.clone().map(|text| (name, text.into_bytes()));
        let attributes = [
            texts("token", &self.token),
            texts("object", &self.object),
            self.id.clone().map(|id| ("id", id)),
            texts("serial", &self.serial),
            texts("manufacturer", &self.manufacturer),
            texts("model", &self.model),
        ];
        let mut before = Self::SCHEME;
        for (name, value) in attributes.into_iter().flatten() {
            write!(f, "{before}{name}=")?;
            // As tools print it: an id is bytes, and no text.
            if name == "id" { percent::write_all(f, &value) } else { percent::write(f, &value) }?;
            before = ";";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() -> Result<(), Refused> {
        for text in [
            "token=kek;object=pgkek",
            "token=The%20Software%20PKCS%2311%20Softtoken;object=my-key",
            "token=kek;id=%01%41",
            "object=pgkek;serial=7c1d9f0e5f0a1b2c",
            "token=a;object=%C3%A9%2C%2A;id=%FF;serial=1;manufacturer=M;model=m",
        ] {
            assert_eq!(Pkcs11Key::parse(text)?.to_string(), format!("pkcs11:{text}"));
        }
        let key = Pkcs11Key::parse("token=a%3Bb;object=%25;id=%00%41")?;
        assert_eq!((key.token(), key.object()), (Some("a;b"), Some("%")));
        assert_eq!(key.id(), Some(&b"\0A"[..]));
        assert_eq!((key.serial(), key.manufacturer(), key.model()), (None, None, None));
        Ok(())
    }

    #[test]
    fn other_spellings_are_told_the_plainest() {
        for (text, plain) in [
            ("object=o;token=t", "token=t;object=o"),
            ("token=%74;object=o", "token=t;object=o"),
            ("token=a b;object=o", "token=a%20b;object=o"),
            ("token=a:b;object=o", "token=a%3Ab;object=o"),
            ("token=t;object=%c3%a9", "token=t;object=%C3%A9"),
            ("token=t;id=A", "token=t;id=%41"),
        ] {
            let refused = Pkcs11Key::parse(text).err();
            let hint = format!("Write pkcs11:{plain}.");
            assert_eq!(refused.map(|refused| refused.hint), Some(hint), "{text}");
        }
    }

    #[test]
    fn what_is_the_administrators_is_refused() {
        for (text, setting) in [
            ("token=t;object=o?module-path=/lib/x.so", "envelope.pkcs11_module"),
            ("token=t;object=o?module-name=x", "envelope.pkcs11_module"),
            ("token=t;object=o?pin-source=/etc/pin", "envelope.pkcs11_pin_file"),
            ("token=t;object=o?pin-value=1234", "envelope.pkcs11_pin_file"),
            ("token=t;object=o;pin-value=1234", "envelope.pkcs11_pin_file"),
            ("library-version=3;token=t;object=o", "envelope.pkcs11_module"),
            ("slot-id=1;object=o", "token or serial"),
            ("token=t;object=o;type=secret-key", "Leave it out"),
        ] {
            let refused = Pkcs11Key::parse(text).err();
            assert!(refused.is_some_and(|refused| refused.hint.contains(setting)), "{text}");
        }
    }

    #[test]
    fn what_names_no_key_is_refused() {
        for text in [
            "",
            "token=t",
            "object=o",
            "manufacturer=m;object=o",
            "token=;object=o",
            "token=t;object=",
            "token=t;;object=o",
            "token=t;object=o;",
            "token=t;object=o?",
            "token=t;object=o#x",
            "token=t;token=u;object=o",
            "token=t;object=%",
            "token=%FF;object=o",
            "token=%00;object=o",
            "token=t;object=o;x-1234=5",
            "1234;object=o",
            "TOKEN=t;object=o",
            "token=0123456789012345678901234567890123;object=o",
        ] {
            let refused = Pkcs11Key::parse(text).err();
            assert!(refused.as_ref().is_some_and(|r| !r.why.contains("1234")), "{text}");
        }
    }
}
