//! Bytes as an element of an array, where they must be text: `\x` and lower-case hex. A bytea by itself is sealed as
//! it is.

use super::Sink;
use super::uuid::nibble_of;

const PREFIX: &[u8] = b"\\x";
const HEX: &[u8; 16] = b"0123456789abcdef";

/// `\xc0ffee`.
pub fn write(bytes: &[u8], out: &mut impl Sink) {
    out.push(PREFIX);
    for byte in bytes {
        out.push(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 0xf)]]);
    }
}

/// How many bytes [`read_into`] needs of a form; `None` if it has no such length.
#[must_use]
pub fn len_of(form: &[u8]) -> Option<usize> {
    let digits = form.strip_prefix(PREFIX)?.len();
    digits.is_multiple_of(2).then_some(digits / 2)
}

/// Reads what [`write`] writes into `bytes`, of which there are [`len_of`]; whether it is a form.
#[must_use]
pub fn read_into(form: &[u8], bytes: &mut [u8]) -> bool {
    let Some(digits) = form.strip_prefix(PREFIX) else { return false };
    let mut pairs = digits.chunks_exact(2);
    let are_digits = pairs.by_ref().zip(bytes.iter_mut()).all(|(pair, byte)| {
        let both = nibble_of(pair[0]).zip(nibble_of(pair[1]));
        both.is_some_and(|(high, low)| {
            *byte = high << 4 | low;
            true
        })
    });
    are_digits && digits.len() == bytes.len() * 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn come_back() {
        for bytes in [&b""[..], b"\x00\xff\x5c", b"abc"] {
            let mut form = Vec::new();
            write(bytes, &mut form);
            let mut again = vec![7; len_of(&form).unwrap_or_default()];
            assert!(read_into(&form, &mut again));
            assert_eq!(again, bytes);
        }
        for other in ["", "\\", "\\X00", "00", "\\x0", "\\xAA", "\\x0g"] {
            let mut bytes = [0; 1];
            assert!(!read_into(other.as_bytes(), &mut bytes), "{other}");
        }
    }
}
