//! A form of few bytes while it is written: on the stack, handed on at once.

use super::Sink;

/// Longer than any form of a type whose forms have a longest one.
const ROOM: usize = 64;

pub(super) struct Line {
    bytes: [u8; ROOM],
    len: usize,
}

impl Line {
    pub(super) fn new() -> Line {
        Line { bytes: [0; ROOM], len: 0 }
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    pub(super) fn byte(&mut self, byte: u8) {
        self.push(&[byte]);
    }

    /// Two digits of a number below 100.
    pub(super) fn two(&mut self, number: u64) {
        self.push(&[b'0' + (number / 10 % 10) as u8, b'0' + (number % 10) as u8]);
    }

    /// A number with as many digits as it needs, and at least `width` of them.
    pub(super) fn number(&mut self, mut number: u64, width: usize) {
        let mut digits = [b'0'; 20];
        let mut at = digits.len();
        while number > 0 {
            at -= 1;
            digits[at] = b'0' + (number % 10) as u8;
            number /= 10;
        }
        let at = at.min(digits.len() - width.min(digits.len()));
        self.push(&digits[at..]);
    }

    /// `.5` of 500,000 millionths; nothing of none.
    pub(super) fn fraction(&mut self, millionths: u64) {
        if millionths == 0 {
            return;
        }
        let (mut digits, mut count) = (millionths, 6);
        while digits.is_multiple_of(10) {
            digits /= 10;
            count -= 1;
        }
        self.byte(b'.');
        self.number(digits, count);
    }
}

impl Sink for Line {
    fn push(&mut self, bytes: &[u8]) {
        // No form is longer than there is room; were one, its reader would refuse it.
        if let Some(room) = self.bytes.get_mut(self.len..self.len + bytes.len()) {
            room.copy_from_slice(bytes);
            self.len += bytes.len();
        }
    }
}

/// The number that two digits are.
pub(super) fn two(digits: &[u8]) -> Option<u64> {
    match digits {
        [tens @ b'0'..=b'9', ones @ b'0'..=b'9'] => {
            Some(u64::from(tens - b'0') * 10 + u64::from(ones - b'0'))
        }
        _ => None,
    }
}

/// The number that digits are, one of them at least.
pub(super) fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// The millionths of the digits after a point: one to six of them, the last no zero.
pub(super) fn millionths(digits: &[u8]) -> Option<u64> {
    if digits.len() > 6 || digits.last() == Some(&b'0') {
        return None;
    }
    let missing = u32::try_from(6 - digits.len()).ok()?;
    Some(number(digits)? * 10u64.pow(missing))
}
