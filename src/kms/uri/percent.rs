//! Percent-encoding (RFC 3986, section 2.1) in its plainest form: each name has one spelling, so
//! that equal KEKs are equal text in the catalog.

use std::fmt;

/// Letters, digits and `-._~` as they are, everything else as `%` and two upper-case digits.
pub(super) fn write(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
            write!(f, "{}", char::from(*byte))?;
        } else {
            write!(f, "%{byte:02X}")?;
        }
    }
    Ok(())
}

/// As [`write`], with every byte encoded.
pub(super) fn write_all(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "%{byte:02X}"))
}

/// The bytes that `text` stands for, however it is encoded; `None` where a `%` stands before no two
/// hexadecimal digits.
pub(super) fn read(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        if *first != b'%' {
            bytes.push(*first);
            rest = tail;
            continue;
        }
        let digit = |at: usize| char::from(*tail.get(at)?).to_digit(16);
        bytes.push(u8::try_from(digit(0)? * 16 + digit(1)?).ok()?);
        rest = tail.get(2..)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Plain<'a>(&'a [u8]);

    impl fmt::Display for Plain<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write(f, self.0)
        }
    }

    #[test]
    fn every_byte_comes_back() {
        let all: Vec<u8> = (0..=255).collect();
        let written = Plain(&all).to_string();
        assert_eq!(read(&written), Some(all));
        assert_eq!(Plain(b"a-B_9.~ ,*;/%\xc3").to_string(), "a-B_9.~%20%2C%2A%3B%2F%25%C3");
    }

    #[test]
    fn half_an_encoding_is_none() {
        for text in ["%", "%2", "%2g", "a%", "%%41", "%+1"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
