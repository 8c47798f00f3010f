//! The key in the token: found by its name, and what may be done with it.

use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;

use super::super::Kind;
use super::super::uri::Pkcs11Key;
use super::fault::Fault;

const AES_256_BYTES: u64 = 32;

/// The one secret key that `named` names.
pub(super) fn find(session: &Session, named: &Pkcs11Key) -> Result<ObjectHandle, Fault> {
    let mut wanted = vec![Attribute::Class(ObjectClass::SECRET_KEY)];
    wanted.extend(named.object().map(|label| Attribute::Label(label.as_bytes().to_vec())));
    wanted.extend(named.id().map(|id| Attribute::Id(id.to_vec())));
    let found = session.find_objects(&wanted)?;
    match found[..] {
        [key] => Ok(key),
        [] => Err(Fault::new(Kind::KeyState, "the token has no secret key of that name").with_hint(
            "Look with the token's own tools. Without the key nothing opens that was wrapped under it: put it back \
             from the token's backup, under its old name.",
        )),
        _ => Err(Fault::new(Kind::KeyState, format!("the token has {} keys of that name", found.len()))
            .with_hint("Give one of them another label, or name it by its id, too: pkcs11:...;id=...")),
    }
}

/// What a key may be used for, as the token says. `None`: it does not say.
#[derive(Debug, Default)]
struct Properties {
    is_aes: Option<bool>,
    length: Option<u64>,
    private: Option<bool>,
    sensitive: Option<bool>,
    extractable: Option<bool>,
    encrypt: Option<bool>,
    decrypt: Option<bool>,
    wrap: Option<bool>,
    unwrap: Option<bool>,
}

/// Whether it is fit for a KEK. Answers with what is not quite as it should be.
pub(super) fn check(session: &Session, key: ObjectHandle) -> Result<Vec<String>, Fault> {
    let asked = [
        AttributeType::KeyType,
        AttributeType::ValueLen,
        AttributeType::Private,
        AttributeType::Sensitive,
        AttributeType::Extractable,
        AttributeType::Encrypt,
        AttributeType::Decrypt,
        AttributeType::Wrap,
        AttributeType::Unwrap,
    ];
    let mut found = Properties::default();
    for attribute in session.get_attributes(key, &asked)? {
        match attribute {
            Attribute::KeyType(kind) => found.is_aes = Some(kind == KeyType::AES),
            Attribute::ValueLen(length) => found.length = Some(*length),
            Attribute::Private(yes) => found.private = Some(yes),
            Attribute::Sensitive(yes) => found.sensitive = Some(yes),
            Attribute::Extractable(yes) => found.extractable = Some(yes),
            Attribute::Encrypt(yes) => found.encrypt = Some(yes),
            Attribute::Decrypt(yes) => found.decrypt = Some(yes),
            Attribute::Wrap(yes) => found.wrap = Some(yes),
            Attribute::Unwrap(yes) => found.unwrap = Some(yes),
            _ => {}
        }
    }
    found.objection().map_or_else(|| Ok(found.warnings()), Err)
}

impl Properties {
    /// What stands against it.
    fn objection(&self) -> Option<Fault> {
        if self.is_aes != Some(true) || self.length != Some(AES_256_BYTES) {
            let hint = "Make an AES key of 32 bytes in the token.";
            return Some(Fault::new(Kind::KeyState, "the key is no AES-256 key").with_hint(hint));
        }
        let wrong: Vec<_> = [
            ("CKA_PRIVATE", self.private, true),
            ("CKA_SENSITIVE", self.sensitive, true),
            ("CKA_EXTRACTABLE", self.extractable, false),
            ("CKA_ENCRYPT", self.encrypt, true),
            ("CKA_DECRYPT", self.decrypt, true),
        ]
        .into_iter()
        .filter(|(_, found, wanted)| *found != Some(*wanted))
        .map(|(name, _, wanted)| format!("{name} is not {wanted}"))
        .collect();
        (!wrong.is_empty()).then(|| {
            Fault::new(Kind::KeyState, format!("the key is not fit for a KEK: {}", wrong.join(", "))).with_hint(
                "Make a new key with these attributes. One that could be read or used by others before stays as it is: \
                 making it sensitive now takes back nothing.",
            )
        })
    }

    /// What a careful administrator would take away.
    fn warnings(&self) -> Vec<String> {
        [("CKA_WRAP", self.wrap), ("CKA_UNWRAP", self.unwrap)]
            .into_iter()
            .filter(|(_, found)| *found == Some(true))
            .map(|(name, _)| format!("{name} is true: whoever has the PIN may use the KEK for other keys of the token, too"))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Properties {
        Properties {
            is_aes: Some(true),
            length: Some(32),
            private: Some(true),
            sensitive: Some(true),
            extractable: Some(false),
            encrypt: Some(true),
            decrypt: Some(true),
            wrap: Some(false),
            unwrap: None,
        }
    }

    #[test]
    fn a_good_key_has_no_objection_and_each_flaw_is_one() {
        assert_eq!(good().objection(), None);
        assert!(good().warnings().is_empty());
        for (flaw, named) in [
            (Properties { is_aes: Some(false), ..good() }, "AES-256"),
            (Properties { is_aes: None, ..good() }, "AES-256"),
            (Properties { length: Some(16), ..good() }, "AES-256"),
            (Properties { private: Some(false), ..good() }, "CKA_PRIVATE"),
            (Properties { sensitive: Some(false), ..good() }, "CKA_SENSITIVE"),
            (Properties { sensitive: None, ..good() }, "CKA_SENSITIVE"),
            (Properties { extractable: Some(true), ..good() }, "CKA_EXTRACTABLE"),
            (Properties { encrypt: Some(false), ..good() }, "CKA_ENCRYPT"),
            (Properties { decrypt: Some(false), ..good() }, "CKA_DECRYPT"),
        ] {
            let objection = flaw.objection();
            assert!(
                objection
                    .as_ref()
                    .is_some_and(|o| o.kind == Kind::KeyState && o.message.contains(named)),
                "{flaw:?}: {objection:?}"
            );
        }
        let wraps = Properties { wrap: Some(true), unwrap: Some(true), ..good() };
        assert_eq!((wraps.objection(), wraps.warnings().len()), (None, 2));
    }
}
