//! The encryption context of a wrap: what a KMS binds a wrapped key to, and shows in its audit log.

use std::collections::BTreeMap;

/// Pairs of strings, each key once, in the order of the keys' bytes. No secret.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EncryptionContext(BTreeMap<String, String>);

impl EncryptionContext {
    /// Sets `key` to `value`; answers the value that it had before.
    pub fn insert(&mut self, key: impl Into<String>, value: impl Into<String>) -> Option<String> {
        self.0.insert(key.into(), value.into())
    }

    /// The pairs, in the order of the keys' bytes.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Whether there is no pair.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes that a file wrap authenticates: for each pair, key and value as u32 big-endian length ‖ bytes. Two
    /// contexts have the same bytes only if they are the same.
    pub fn canonical(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for text in self.iter().flat_map(|(key, value)| [key, value]) {
            // No string of 4 GiB gets here: an encryption context is at most 8 KiB.
            let len = u32::try_from(text.len()).unwrap_or(u32::MAX);
            out.extend_from_slice(&len.to_be_bytes());
            out.extend_from_slice(text.as_bytes());
        }
        out
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for EncryptionContext {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let pairs = pairs.into_iter();
        EncryptionContext(pairs.map(|(key, value)| (key.into(), value.into())).collect())
    }
}

impl From<BTreeMap<String, String>> for EncryptionContext {
    fn from(pairs: BTreeMap<String, String>) -> Self {
        EncryptionContext(pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_given_does_not_matter_and_bytes_sort() {
        let one: EncryptionContext = [("a", "1"), ("B", "2"), ("é", "3")].into_iter().collect();
        let mut other = EncryptionContext::default();
        for (key, value) in [("é", "3"), ("a", "0"), ("B", "2"), ("a", "1")] {
            other.insert(key, value);
        }
        assert_eq!(one, other);
        let expected = b"\0\0\0\x01B\0\0\0\x012\0\0\0\x01a\0\0\0\x011\0\0\0\x02\xC3\xA9\0\0\0\x013";
        assert_eq!(one.canonical(), expected);
    }

    #[test]
    fn contexts_that_differ_have_other_bytes() {
        let canonical = |pairs: &[(&str, &str)]| {
            pairs.iter().copied().collect::<EncryptionContext>().canonical()
        };
        assert_eq!(canonical(&[]), b"");
        assert_ne!(canonical(&[("a", "bc")]), canonical(&[("ab", "c")]));
        assert_ne!(canonical(&[("a", "")]), canonical(&[("", "a")]));
    }
}
