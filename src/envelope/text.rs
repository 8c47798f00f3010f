//! A value of a sealed column as text, for programs that write and read strings.
//!
//! A sealed value is `\x` and its bytes as lower-case hex, which begins `\xf7e1`. Other text stands for itself: it is
//! a plaintext, and no backslash in it means anything. So that every value has a text that gives it back, what is
//! neither sealed nor text is `\xf7e1:` and its bytes as hex.
//!
//! A sealed value may come back in another of the forms in which bytes are written. It must not be taken for
//! plaintext and sealed once more.

use crate::header::{HEADER_LEN, KeyId, OVERHEAD, is_sealed, is_sealed_by, peek_key_id};

/// What the text of a sealed value begins with.
pub const PREFIX: &[u8] = b"\\xf7e1";
/// What the text of bytes begins with that are neither sealed nor text.
pub const RAW_PREFIX: &[u8] = b"\\xf7e1:";

/// What a text stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning<'a> {
    /// For itself.
    Text,
    /// For the bytes of which these are the digits.
    Bytes(Digits<'a>),
    /// For a sealed value that was cut, changed or written in a way that is not read.
    Malformed,
}

/// An even number of lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digits<'a>(&'a [[u8; 2]]);

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As the text that it is.
    Text,
    /// As hex, after these bytes.
    Hex(&'static [u8]),
}

/// What `text` stands for. Its encoding may be any that has ASCII in it as it is.
pub fn meaning(text: &[u8]) -> Meaning<'_> {
    if let Some(digits) = text.strip_prefix(RAW_PREFIX) {
        return Digits::of(digits).map_or(Meaning::Malformed, Meaning::Bytes);
    }
    if text.starts_with(PREFIX) {
        let digits = Digits::of(&text[2..]).filter(|digits| digits.are_of_sealed());
        return digits.map_or(Meaning::Malformed, Meaning::Bytes);
    }
    let is_other_form = text.len() >= PREFIX.len()
        && text[..PREFIX.len()].eq_ignore_ascii_case(PREFIX)
        || text.starts_with(b"\\367\\341") && is_escaped_sealed(text);
    if is_other_form { Meaning::Malformed } else { Meaning::Text }
}

/// How `value` is written, so that [`meaning`] gives it back.
pub fn form(value: &[u8]) -> Form {
    if is_sealed(value) {
        Form::Hex(b"\\x")
    } else if is_text(value) && meaning(value) == Meaning::Text {
        Form::Text
    } else {
        Form::Hex(RAW_PREFIX)
    }
}

/// The key id of the sealed value that `plaintext` is in one of the forms in which bytes are written as text: hex in
/// either case, with `\x`, `0x` or neither; escapes; base64 of either alphabet.
#[inline]
pub fn key_id_in_text(plaintext: &[u8]) -> Option<KeyId> {
    match plaintext {
        [b'\\' | b'0', b'x' | b'X', b'f' | b'F', b'7', ..]
        | [b'f' | b'F', b'7', ..]
        | [b'\\', b'3', ..]
        | [b'9', b'+' | b'-', ..] => spelt_key_id(plaintext),
        _ => None,
    }
}

#[cold]
fn spelt_key_id(text: &[u8]) -> Option<KeyId> {
    let mut head = [0; HEADER_LEN];
    match text {
        [b'\\' | b'0', b'x' | b'X', digits @ ..] | digits @ [b'f' | b'F', ..] => {
            fill(&mut head, digits.as_chunks().0.iter().map(|[high, low]| byte(*high, *low)))?;
        }
        [b'\\', ..] => fill(&mut head, Unescaped(text))?,
        _ => fill(&mut head, Base64 { text, held: 0, bits: 0 })?,
    }
    peek_key_id(&head)
}

/// Fills `head` with what `bytes` gives; `None` when that is less or malformed.
fn fill(head: &mut [u8; HEADER_LEN], mut bytes: impl Iterator<Item = Option<u8>>) -> Option<()> {
    head.iter_mut().try_for_each(|at| {
        *at = bytes.next()??;
        Some(())
    })
}

impl<'a> Digits<'a> {
    fn of(text: &'a [u8]) -> Option<Digits<'a>> {
        let (pairs, rest) = text.as_chunks();
        let is_hex = |digit: &u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
        (rest.is_empty() && text.iter().all(is_hex)).then_some(Digits(pairs))
    }

    fn are_of_sealed(self) -> bool {
        let mut head = [0; HEADER_LEN];
        fill(&mut head, self.0.iter().map(|[high, low]| byte(*high, *low))).is_some()
            && is_sealed_by(&head, self.len())
    }

    /// How many bytes they stand for.
    pub fn len(self) -> usize {
        self.0.len()
    }

    /// Whether they stand for none.
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// Writes the bytes, [`Self::len`] of them.
    pub fn decode_into(self, bytes: &mut [u8]) {
        for (at, [high, low]) in bytes.iter_mut().zip(self.0) {
            *at = byte(*high, *low).unwrap_or_default();
        }
    }
}

/// Writes `value` as lower-case hex into `digits`, which is twice as long.
pub fn encode_into(value: &[u8], digits: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (pair, byte) in digits.as_chunks_mut().0.iter_mut().zip(value) {
        *pair = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
    }
}

fn byte(high: u8, low: u8) -> Option<u8> {
    Some(nibble(high)? << 4 | nibble(low)?)
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

fn is_text(value: &[u8]) -> bool {
    !value.contains(&0) && std::str::from_utf8(value).is_ok()
}

fn is_escaped_sealed(text: &[u8]) -> bool {
    let mut head = [0; HEADER_LEN];
    fill(&mut head, Unescaped(text)).is_some()
        && is_sealed_by(&head, Unescaped(text).take_while(Option::is_some).take(OVERHEAD).count())
}

/// The bytes of a text in PostgreSQL's escape format; `None` where it is malformed.
struct Unescaped<'a>(&'a [u8]);

impl Iterator for Unescaped<'_> {
    type Item = Option<u8>;

    fn next(&mut self) -> Option<Option<u8>> {
        let (byte, rest) = match self.0 {
            [] => return None,
            [b'\\', b'\\', rest @ ..] => (Some(b'\\'), rest),
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', rest @ ..] => {
                let [a, b, c] = [a, b, c].map(|digit| digit - b'0');
                (Some(a << 6 | b << 3 | c), rest)
            }
            [b'\\', rest @ ..] => (None, rest),
            [byte, rest @ ..] => (Some(*byte), rest),
        };
        self.0 = rest;
        Some(byte)
    }
}

/// The bytes of a text in base64 (RFC 4648, sections 4 and 5); `None` where it is malformed.
struct Base64<'a> {
    text: &'a [u8],
    held: u16,
    bits: u8,
}

impl Iterator for Base64<'_> {
    type Item = Option<u8>;

    fn next(&mut self) -> Option<Option<u8>> {
        while self.bits < 8 {
            let (digit, rest) = self.text.split_first()?;
            let value = match digit {
                b'A'..=b'Z' => digit - b'A',
                b'a'..=b'z' => digit - b'a' + 26,
                b'0'..=b'9' => digit - b'0' + 52,
                b'+' | b'-' => 62,
                b'/' | b'_' => 63,
                _ => return Some(None),
            };
            self.text = rest;
            self.held = self.held << 6 | u16::from(value);
            self.bits += 6;
        }
        self.bits -= 8;
        Some(Some((self.held >> self.bits) as u8))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sealed value's bytes: marker, a UUIDv8, and enough behind it.
    fn sealed(len: usize) -> Vec<u8> {
        let mut value: Vec<u8> = (0..len).map(|at| (at * 37) as u8).collect();
        value[..2].copy_from_slice(&[0xF7, 0xE1]);
        value[8] = 0x8A;
        value[10] = 0x9B;
        value
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn escaped(bytes: &[u8]) -> String {
        let one = |byte: &u8| match byte {
            b'\\' => "\\\\".to_string(),
            0x20..=0x7e => char::from(*byte).to_string(),
            _ => format!("\\{byte:03o}"),
        };
        bytes.iter().map(one).collect()
    }

    fn base64(bytes: &[u8], last: &[u8; 2]) -> String {
        let digits: Vec<u8> =
            (b'A'..=b'Z').chain(b'a'..=b'z').chain(b'0'..=b'9').chain(*last).collect();
        let mut text = String::new();
        for chunk in bytes.chunks(3) {
            let three = chunk.iter().fold(0u32, |all, byte| all << 8 | u32::from(*byte))
                << (8 * (3 - chunk.len()));
            text.extend(
                (0..4).map(|at| char::from(digits[(three >> (18 - 6 * at)) as usize & 63])),
            );
        }
        text
    }

    /// The text of a value, as the type writes it.
    fn written(value: &[u8]) -> Vec<u8> {
        match form(value) {
            Form::Text => value.to_vec(),
            Form::Hex(prefix) => {
                let mut text = prefix.to_vec();
                text.resize(prefix.len() + 2 * value.len(), 0);
                encode_into(value, &mut text[prefix.len()..]);
                text
            }
        }
    }

    /// The value of a text, as the type reads it.
    fn read(text: &[u8]) -> Option<Vec<u8>> {
        match meaning(text) {
            Meaning::Text => Some(text.to_vec()),
            Meaning::Bytes(digits) => {
                let mut bytes = vec![0; digits.len()];
                digits.decode_into(&mut bytes);
                Some(bytes)
            }
            Meaning::Malformed => None,
        }
    }

    #[test]
    fn text_is_verbatim() {
        for text in [
            "",
            "\\",
            "\\x",
            "\\x41",
            "C:\\101",
            "\\\\",
            "a\\'b",
            "\u{1f512} é",
            "\\xf7",
            "\\xf7e",
            "\\xf7e0",
        ] {
            assert_eq!(meaning(text.as_bytes()), Meaning::Text, "{text}");
            assert_eq!(form(text.as_bytes()), Form::Text, "{text}");
        }
        // As short as this, it is no sealed value in any form.
        assert_eq!(meaning(b"\\367\\341"), Meaning::Text);
        assert_eq!(meaning(b"f7e1"), Meaning::Text);
        assert_eq!(meaning(escaped(&sealed(OVERHEAD - 1)).as_bytes()), Meaning::Text);
        assert_eq!(meaning(escaped(&sealed(OVERHEAD)).as_bytes()), Meaning::Malformed);
        // Nor is one with another's key id.
        let mut other = sealed(OVERHEAD);
        other[8] = 0x7A;
        assert_eq!(meaning(escaped(&other).as_bytes()), Meaning::Text);
    }

    #[test]
    fn what_is_no_text_is_hex() {
        for value in [&b"a\0b"[..], b"\0", b"a\xff", b"\xc3"] {
            assert_eq!(form(value), Form::Hex(RAW_PREFIX), "{value:?}");
        }
    }

    #[test]
    fn digits_know_how_many_bytes_they_stand_for() {
        for (text, bytes) in [(&b"\\xf7e1:"[..], 0), (b"\\xf7e1:00", 1), (b"\\xf7e1:00ff", 2)] {
            let Meaning::Bytes(digits) = meaning(text) else { unreachable!("{text:?}") };
            assert_eq!((digits.len(), digits.is_empty()), (bytes, bytes == 0));
        }
    }

    #[test]
    fn a_sealed_value_is_hex() {
        let value = sealed(70);
        assert_eq!(written(&value), format!("\\x{}", hex(&value)).as_bytes());
        assert_eq!(read(&written(&value)), Some(value));
    }

    #[test]
    fn every_value_comes_back() {
        let value = sealed(58);
        let nearly_sealed = written(&value);
        for value in [
            b"".as_slice(),
            b"plain",
            b"\0",
            b"a\0b",
            &[0xff, 0x00],
            &[0xF7, 0xE1],
            &value[..57],
            &value[..20],
            b"\\xf7e1",
            b"\\XF7E1",
            b"\\xf7e1:00",
            &nearly_sealed,
            escaped(&value).as_bytes(),
        ] {
            assert_eq!(read(&written(value)).as_deref(), Some(value), "{value:?}");
        }
    }

    #[test]
    fn what_was_a_sealed_value_is_malformed() {
        let text = format!("\\x{}", hex(&sealed(60)));
        for text in [
            "\\xf7e1".to_string(),
            "\\xf7e1 and more".to_string(),
            "\\xf7e1:0".to_string(),
            "\\xf7e1:0G".to_string(),
            "\\xf7e1:AB".to_string(),
            text[..text.len() - 1].to_string(),
            text[..100].to_string(),
            format!("{text} "),
            text.to_uppercase().replace("\\X", "\\x"),
            text.replace("f7e1", "F7E1"),
            text.replacen("8a", "7a", 1),
            escaped(&sealed(60)),
        ] {
            assert_eq!(meaning(text.as_bytes()), Meaning::Malformed, "{text}");
        }
    }

    #[test]
    fn a_key_id_is_found_in_every_form() {
        let value = sealed(59);
        let key_id = peek_key_id(&value);
        assert!(key_id.is_some());
        let hex = hex(&value);
        for text in [
            hex.clone(),
            hex.to_uppercase(),
            format!("\\x{hex}"),
            format!("\\x{}", hex.to_uppercase()),
            format!("0x{hex}"),
            escaped(&value),
            base64(&value, b"+/"),
            base64(&value, b"-_"),
        ] {
            assert_eq!(key_id_in_text(text.as_bytes()), key_id, "{text}");
        }
    }

    /// Base64 of a header alone, in which the last two digits of both alphabets stand.
    #[test]
    fn a_header_is_enough() {
        let mut header = sealed(HEADER_LEN);
        header[3..6].fill(0xFF);
        header[12..15].copy_from_slice(&[0xFB, 0xEF, 0xBE]);
        let key_id = peek_key_id(&header);
        assert!(key_id.is_some());
        for last in [b"+/", b"-_"] {
            let text = base64(&header, last);
            assert!(last.iter().all(|digit| text.contains(char::from(*digit))));
            assert_eq!(key_id_in_text(text.as_bytes()), key_id, "{text}");
            assert_eq!(key_id_in_text(&text.as_bytes()[..text.len() - 1]), None, "{text}");
        }
    }

    #[test]
    fn and_in_no_other_text() {
        let hex = hex(&sealed(59));
        for text in [
            "",
            "f7",
            "\\x",
            "9+",
            "\\3",
            "f7e1",
            "9+E plus",
            "\\367\\341\\x",
            &hex[..35],
            &hex.replacen("8a", "4a", 1),
        ] {
            assert_eq!(key_id_in_text(text.as_bytes()), None, "{text}");
        }
    }
}
