//! Traces of sealed values in bytes that are no sealed value: arrays, and text that a client or a function has made.

use envelope::header::{HEADER_LEN, KeyId, peek_key_id};

/// Bytes of a value that are looked at.
pub const LOOKED_AT: usize = 512;

/// The first key that bytes within name: as they are, in hexadecimal or in base64.
pub fn find(bytes: &[u8], is_known: impl Fn(KeyId) -> bool) -> Option<KeyId> {
    (0..bytes.len()).find_map(|at| {
        let rest = &bytes[at..];
        let header = match rest {
            [0xF7, 0xE1, ..] => rest.first_chunk().copied(),
            [b'f' | b'F', b'7', ..] => from_hex(rest),
            // F7 E in base64, of both alphabets.
            [b'9', b'+' | b'-', ..] => from_base64(rest),
            _ => None,
        };
        peek_key_id(&header?).filter(|key_id| is_known(*key_id))
    })
}

fn from_hex(text: &[u8]) -> Option<[u8; HEADER_LEN]> {
    let mut header = [0; HEADER_LEN];
    let (pairs, _) = text.get(..2 * HEADER_LEN)?.as_chunks::<2>();
    for (byte, [high, low]) in header.iter_mut().zip(pairs) {
        let digit = |digit: u8| char::from(digit).to_digit(16);
        *byte = (digit(*high)? << 4 | digit(*low)?) as u8;
    }
    Some(header)
}

fn from_base64(text: &[u8]) -> Option<[u8; HEADER_LEN]> {
    let mut header = [0; HEADER_LEN];
    let (groups, _) = text.get(..HEADER_LEN / 3 * 4)?.as_chunks::<4>();
    for (bytes, group) in header.chunks_exact_mut(3).zip(groups) {
        let mut bits = 0;
        for digit in group {
            bits = bits << 6 | sextet(*digit)?;
        }
        bytes.copy_from_slice(&bits.to_be_bytes()[1..]);
    }
    Some(header)
}

fn sextet(digit: u8) -> Option<u32> {
    Some(match digit {
        b'A'..=b'Z' => u32::from(digit - b'A'),
        b'a'..=b'z' => u32::from(digit - b'a') + 26,
        b'0'..=b'9' => u32::from(digit - b'0') + 52,
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// F7 E1 and a UUIDv8.
    const HEADER: [u8; HEADER_LEN] =
        [0xF7, 0xE1, 1, 2, 3, 4, 5, 6, 0x87, 8, 0x99, 10, 11, 12, 13, 14, 15, 16];

    fn found(bytes: &[u8]) -> bool {
        find(bytes, |key_id| key_id.0[..] == HEADER[2..]).is_some()
    }

    #[test]
    fn in_all_notations_wherever_they_stand() {
        let hex: String = HEADER.iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(found(&HEADER) && found(&[b"array of ", &HEADER[..], b" more"].concat()));
        assert!(found(format!("\\x{hex}00").as_bytes()));
        assert!(found(format!("{{\"ssn\": \"\\\\x{}\"}}", hex.to_uppercase()).as_bytes()));
        assert!(found(b"x9+EBAgMEBQaHCJkKCwwNDg8Q") && found(b"9-EBAgMEBQaHCJkKCwwNDg8Q"));
    }

    #[test]
    fn of_known_keys_alone_and_never_beyond_the_end() {
        assert!(find(&HEADER, |_| false).is_none());
        for end in 0..HEADER_LEN {
            assert!(!found(&HEADER[..end]));
        }
        assert!(
            !found(b"f7e1") && !found(b"9+E") && !found(b"f7e1zz02030405068708990a0b0c0d0e0f10")
        );
    }
}
