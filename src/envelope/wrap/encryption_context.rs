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

    /// The context as one line of JSON, for a KMS whose policies and log take it as text, and for people. Keys in the
    /// order of their UTF-8 bytes, no white space, escaped as in the canonical form of an array. Wraps are bound to
    /// these bytes: they never change.
    pub fn canonical_json(&self) -> String {
        let mut out = String::from("{");
        for (key, value) in self.iter() {
            if out.len() > 1 {
                out.push(',');
            }
            write_string(&mut out, key);
            out.push(':');
            write_string(&mut out, value);
        }
        out.push('}');
        out
    }
}

/// Escaped are `"` and `\`, and controls below U+0020: the short ones, the others as `\u00xx` in lower case.
fn write_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0'..='\u{1f}' => {
                out.push_str("\\u00");
                out.push(if c < '\u{10}' { '0' } else { '1' });
                out.extend(char::from_digit(u32::from(c) & 15, 16));
            }
            _ => out.push(c),
        }
    }
    out.push('"');
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
        assert!(EncryptionContext::default().is_empty());
        assert!(!EncryptionContext::from_iter([("", "")]).is_empty());
        assert_ne!(canonical(&[("a", "bc")]), canonical(&[("ab", "c")]));
        assert_ne!(canonical(&[("a", "")]), canonical(&[("", "a")]));
    }

    fn json(pairs: &[(&str, &str)]) -> String {
        pairs.iter().copied().collect::<EncryptionContext>().canonical_json()
    }

    #[test]
    fn json_escapes_what_it_must_and_nothing_else() {
        for (code, expected) in [
            (0x00, "\\u0000"),
            (0x01, "\\u0001"),
            (0x07, "\\u0007"),
            (0x08, "\\b"),
            (0x09, "\\t"),
            (0x0a, "\\n"),
            (0x0b, "\\u000b"),
            (0x0c, "\\f"),
            (0x0d, "\\r"),
            (0x0e, "\\u000e"),
            (0x0f, "\\u000f"),
            (0x10, "\\u0010"),
            (0x1a, "\\u001a"),
            (0x1f, "\\u001f"),
            (0x20, " "),
            (0x22, "\\\""),
            (0x26, "&"),
            (0x2f, "/"),
            (0x3c, "<"),
            (0x3e, ">"),
            (0x5c, "\\\\"),
            (0x7f, "\u{7f}"),
            (0x85, "\u{85}"),
            (0xe9, "\u{e9}"),
            (0x2028, "\u{2028}"),
            (0x2029, "\u{2029}"),
            (0xfeff, "\u{feff}"),
            (0x1f511, "\u{1f511}"),
        ] {
            let text: String = char::from_u32(code).into_iter().collect();
            let both = [format!("{{\"{expected}\":\"{expected}\"}}")];
            assert_eq!([json(&[(&text, &text)])], both, "U+{code:04X}");
        }
    }

    #[test]
    fn json_has_no_other_control_character() {
        for code in 0..0x20 {
            let text: String = char::from_u32(code).into_iter().collect();
            let json = json(&[(&text, &text)]);
            assert!(json.bytes().all(|byte| byte >= 0x20), "U+{code:04X}");
            let read: BTreeMap<String, String> = serde_json::from_str(&json).unwrap_or_default();
            assert_eq!(read.get(&text), Some(&text), "U+{code:04X}");
        }
    }

    /// Other rules give each of these in another order: UTF-16's code units, length first, no case.
    #[test]
    fn json_sorts_by_bytes() {
        let given =
            [("\u{1f511}", "1"), ("\u{fb01}", "2"), ("b", "3"), ("aa", "4"), ("B", "5"), ("", "6")];
        let expected = "{\"\":\"6\",\"B\":\"5\",\"aa\":\"4\",\"b\":\"3\",\"\u{fb01}\":\"2\",\"\u{1f511}\":\"1\"}";
        assert_eq!(json(&given), expected);
        assert_eq!(json(&[]), "{}");
        assert_eq!(json(&[("", "")]), "{\"\":\"\"}");
    }
}
