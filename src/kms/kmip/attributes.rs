//! What a server says about a key, and whether the key can serve as a KEK.
//!
//! KMIP 1.x gives attributes by name, 2.x by tag. Source: specification 1.4, section 3; 2.1, section 4.

use super::numbers as n;
use super::ttlv::{Item, Malformed, Structure};

/// What a server told of a key; what it did not tell is [`None`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Attributes {
    object_type: Option<u32>,
    algorithm: Option<u32>,
    length: Option<i32>,
    usage: Option<i32>,
    state: Option<u32>,
    sensitive: Option<bool>,
    extractable: Option<bool>,
}

/// The key can be had in clear by whoever the server's policy lets ask for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CanBeFetched;

impl Attributes {
    /// Those in the payload of an answer to Get Attributes.
    pub(super) fn read(payload: Structure<'_>) -> Result<Self, Malformed> {
        let mut read = Self::default();
        for item in payload.items() {
            let item = item?;
            if item.tag == n::ATTRIBUTE {
                let attribute = item.structure()?;
                let name = attribute.first(n::ATTRIBUTE_NAME)?.text()?;
                if let Some(value) = attribute.find(n::ATTRIBUTE_VALUE)? {
                    read.set(name, value)?;
                }
            } else if item.tag == n::ATTRIBUTES {
                for value in item.structure()?.items() {
                    let value = value?;
                    read.set(name_of(value), value)?;
                }
            }
        }
        Ok(read)
    }

    fn set(&mut self, name: &str, value: Item<'_>) -> Result<(), Malformed> {
        match name {
            "Object Type" => self.object_type = Some(value.enumeration()?),
            "Cryptographic Algorithm" => self.algorithm = Some(value.enumeration()?),
            "Cryptographic Length" => self.length = Some(value.integer()?),
            "Cryptographic Usage Mask" => self.usage = Some(value.integer()?),
            "State" => self.state = Some(value.enumeration()?),
            "Sensitive" => self.sensitive = Some(value.boolean()?),
            "Extractable" => self.extractable = Some(value.boolean()?),
            _ => {}
        }
        Ok(())
    }

    /// The state that keeps the key from being used.
    pub(super) fn inactive(&self) -> Option<&'static str> {
        match self.state? {
            n::ACTIVE => None,
            1 => Some("Pre-Active"),
            3 => Some("Deactivated"),
            4 => Some("Compromised"),
            5 => Some("Destroyed"),
            6 => Some("Destroyed Compromised"),
            _ => Some("none that is known here"),
        }
    }

    /// Why it cannot be a KEK, or what is to be said about it all the same. What was not told stands
    /// in the way of nothing: using it will show.
    pub(super) fn verdict(&self) -> Result<Option<CanBeFetched>, String> {
        if let Some(state) = self.inactive() {
            return Err(format!("the key's state is {state}"));
        }
        let is = |told: Option<u32>, wanted| told.is_none_or(|told| told == wanted);
        if !is(self.object_type, n::SYMMETRIC_KEY) || !is(self.algorithm, n::AES) {
            return Err("the key is not a symmetric key for AES".into());
        }
        if let Some(length) = self.length.filter(|length| *length != 256) {
            return Err(format!("the key has {length} bits, not 256"));
        }
        let both = n::MAY_ENCRYPT | n::MAY_DECRYPT;
        if self.usage.is_some_and(|usage| usage & both != both) {
            return Err("its usage mask does not let it encrypt and decrypt".into());
        }
        let may_export = self.usage.is_some_and(|usage| usage & n::MAY_EXPORT != 0);
        let is_offered = self.extractable == Some(true) || self.sensitive == Some(false);
        let is_kept = self.extractable == Some(false);
        Ok((!is_kept && (may_export || is_offered)).then_some(CanBeFetched))
    }
}

/// The name that 1.x has for what 2.x tells by its tag.
fn name_of(value: Item<'_>) -> &'static str {
    match value.tag {
        n::OBJECT_TYPE => "Object Type",
        n::CRYPTOGRAPHIC_ALGORITHM => "Cryptographic Algorithm",
        n::CRYPTOGRAPHIC_LENGTH => "Cryptographic Length",
        n::CRYPTOGRAPHIC_USAGE_MASK => "Cryptographic Usage Mask",
        n::STATE => "State",
        n::SENSITIVE => "Sensitive",
        n::EXTRACTABLE => "Extractable",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::super::ttlv::Writer;
    use super::*;

    const GOOD: Attributes = Attributes {
        object_type: Some(2),
        algorithm: Some(3),
        length: Some(256),
        usage: Some(0x0C),
        state: Some(2),
        sensitive: Some(true),
        extractable: Some(false),
    };

    #[test]
    fn both_ways_of_telling_are_read() {
        let mut one = Writer::with_capacity(0);
        let mut named = |name: &str, value: &dyn Fn(&mut Writer)| {
            one.structure(n::ATTRIBUTE, |writer| {
                writer.text(n::ATTRIBUTE_NAME, name);
                value(writer);
            });
        };
        named("Object Type", &|w| w.enumeration(n::ATTRIBUTE_VALUE, 2));
        named("Cryptographic Algorithm", &|w| w.enumeration(n::ATTRIBUTE_VALUE, 3));
        named("Cryptographic Length", &|w| w.integer(n::ATTRIBUTE_VALUE, 256));
        named("Cryptographic Usage Mask", &|w| w.integer(n::ATTRIBUTE_VALUE, 0x0C));
        named("State", &|w| w.enumeration(n::ATTRIBUTE_VALUE, 2));
        named("Sensitive", &|w| w.boolean(n::ATTRIBUTE_VALUE, true));
        named("Extractable", &|w| w.boolean(n::ATTRIBUTE_VALUE, false));
        named("x-Ours", &|w| w.text(n::ATTRIBUTE_VALUE, "x"));
        named("Contact Information", &|_| {});
        assert_eq!(Attributes::read(Structure::new(&one.into_bytes())), Ok(GOOD));

        let mut two = Writer::with_capacity(0);
        two.text(n::UNIQUE_IDENTIFIER, "k");
        two.structure(n::ATTRIBUTES, |writer| {
            writer.enumeration(n::OBJECT_TYPE, 2);
            writer.enumeration(n::CRYPTOGRAPHIC_ALGORITHM, 3);
            writer.integer(n::CRYPTOGRAPHIC_LENGTH, 256);
            writer.integer(n::CRYPTOGRAPHIC_USAGE_MASK, 0x0C);
            writer.enumeration(n::STATE, 2);
            writer.boolean(n::SENSITIVE, true);
            writer.boolean(n::EXTRACTABLE, false);
            writer.text(n::UNIQUE_IDENTIFIER, "k");
        });
        assert_eq!(Attributes::read(Structure::new(&two.into_bytes())), Ok(GOOD));
    }

    #[test]
    fn what_cannot_be_a_kek_is_told_why() {
        assert_eq!(GOOD.verdict(), Ok(None));
        assert_eq!(Attributes::default().verdict(), Ok(None));
        for unfit in [
            Attributes { object_type: Some(4), ..GOOD },
            Attributes { algorithm: Some(2), ..GOOD },
            Attributes { length: Some(128), ..GOOD },
            Attributes { usage: Some(0x04), ..GOOD },
            Attributes { usage: Some(0x08), ..GOOD },
            Attributes { usage: Some(0), ..GOOD },
        ] {
            assert!(unfit.verdict().is_err(), "{unfit:?}");
            assert_eq!(unfit.inactive(), None);
        }
        for state in [1, 3, 4, 5, 6, 7] {
            let inactive = Attributes { state: Some(state), ..GOOD };
            assert!(inactive.verdict().is_err() && inactive.inactive().is_some(), "{state}");
        }
    }

    #[test]
    fn a_key_that_can_be_fetched_is_told() {
        let fetched = Ok(Some(CanBeFetched));
        let told = |extractable, sensitive, usage| {
            Attributes { extractable, sensitive, usage: Some(usage), ..GOOD }.verdict()
        };
        assert_eq!(told(Some(true), Some(true), 0x0C), fetched);
        assert_eq!(told(None, Some(false), 0x0C), fetched);
        assert_eq!(told(None, Some(true), 0x4C), fetched);
        assert_eq!(told(None, None, 0x0C), Ok(None));
        assert_eq!(told(None, Some(true), 0x0C), Ok(None));
        assert_eq!(told(Some(false), Some(false), 0x4C), Ok(None));
    }
}
