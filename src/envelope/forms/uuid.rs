//! UUIDs: RFC 9562's text in lower case.

use super::Sink;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Where the hyphens stand.
const HYPHENS: [usize; 4] = [8, 13, 18, 23];

/// The bytes that are no hyphens, two for each of the UUID's.
fn places() -> impl Iterator<Item = usize> {
    (0..36).filter(|at| !HYPHENS.contains(at))
}

/// 36 characters.
pub fn write(uuid: &[u8; 16], out: &mut impl Sink) {
    let mut text = [b'-'; 36];
    for (nibble, at) in places().enumerate() {
        let byte = uuid[nibble / 2];
        text[at] = HEX[usize::from(if nibble % 2 == 0 { byte >> 4 } else { byte & 0xf })];
    }
    out.push(&text);
}

/// Reads what [`write`] writes.
#[must_use]
pub fn read(form: &[u8]) -> Option<[u8; 16]> {
    if form.len() != 36 || HYPHENS.iter().any(|at| form[*at] != b'-') {
        return None;
    }
    let mut uuid = [0; 16];
    for (nibble, at) in places().enumerate() {
        let digit = nibble_of(form[at])?;
        uuid[nibble / 2] |= if nibble % 2 == 0 { digit << 4 } else { digit };
    }
    Some(uuid)
}

/// The value of a lower-case hex digit.
pub(super) fn nibble_of(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back() {
        let uuid = [0xc0, 0xff, 0xee, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0xaa, 0xbb, 0xcf];
        let mut out = Vec::new();
        write(&uuid, &mut out);
        assert_eq!(out, b"c0ffee00-0102-0304-0506-070809aabbcf");
        assert_eq!(read(&out), Some(uuid));
        assert_eq!(read(&out.to_ascii_uppercase()), None);
        assert_eq!(read(b"c0ffee000102030405060708090aabbcf"), None);
        assert_eq!(read(b"c0ffee00-0102-0304-0506-070809aabbc"), None);
        assert_eq!(read(b"c0ffee00-0102-0304-0506+070809aabbcf"), None);
    }
}
