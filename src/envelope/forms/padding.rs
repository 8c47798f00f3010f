//! Padding: what fills a form to a multiple of a block, so that lengths tell less.
//!
//! Two kinds. Forms that never end in a space are filled with spaces. Text and JSON, which may end in anything, are
//! followed by `FF`, which stands in no UTF-8, and then by zeros. So padded and unpadded values tell themselves apart,
//! and a column's block may be changed at any time.

use super::Sink;

/// How a type's forms are filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    /// With spaces.
    Spaces,
    /// With `FF`, then zeros.
    Marked,
    /// Not at all.
    None,
}

const MARK: u8 = 0xff;

/// How many bytes are pushed at once.
const CHUNK: usize = 64;

/// Fills a form of `len` bytes to the next multiple of `block`, at least one; a block of 1 or less adds nothing.
pub fn fill(padding: Padding, len: usize, block: usize, out: &mut impl Sink) {
    if block <= 1 {
        return;
    }
    match padding {
        Padding::Spaces if len == 0 => repeat(b' ', block, out),
        Padding::Spaces => repeat(b' ', len.next_multiple_of(block) - len, out),
        Padding::Marked => {
            out.push(&[MARK]);
            repeat(0, (len + 1).next_multiple_of(block) - len - 1, out);
        }
        Padding::None => {}
    }
}

fn repeat(byte: u8, mut count: usize, out: &mut impl Sink) {
    let chunk = [byte; CHUNK];
    while count > 0 {
        let now = count.min(CHUNK);
        out.push(&chunk[..now]);
        count -= now;
    }
}

/// A form that was filled with spaces, without them.
#[must_use]
pub fn without_spaces(mut padded: &[u8]) -> &[u8] {
    while let [rest @ .., b' '] = padded {
        padded = rest;
    }
    padded
}

/// What stands before the mark and its zeros; `None` if it does not end so.
#[must_use]
pub fn without_mark(mut padded: &[u8]) -> Option<&[u8]> {
    while let [rest @ .., 0] = padded {
        padded = rest;
    }
    padded.strip_suffix(&[MARK])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn padded(padding: Padding, form: &str, block: usize) -> Vec<u8> {
        let mut out = form.as_bytes().to_vec();
        fill(padding, form.len(), block, &mut out);
        out
    }

    #[test]
    fn is_taken_off_again() {
        for block in [0, 1, 2, 5, 16, 200] {
            for form in ["", "a", "abcde", "0123456789abcdef"] {
                let spaces = padded(Padding::Spaces, form, block);
                assert_eq!(without_spaces(&spaces), form.as_bytes());
                let marked = padded(Padding::Marked, form, block);
                assert_eq!(without_mark(&marked), (block > 1).then_some(form.as_bytes()));
                if block > 1 {
                    assert!(marked.len() > form.len());
                    assert!(!spaces.is_empty());
                    assert!(
                        marked.len().is_multiple_of(block) && spaces.len().is_multiple_of(block)
                    );
                }
                assert_eq!(padded(Padding::None, form, block), form.as_bytes());
            }
        }
    }

    #[test]
    fn the_mark_stands_before_zeros_alone() {
        assert_eq!(without_mark(b""), None);
        assert_eq!(without_mark(b"\0\0"), None);
        assert_eq!(without_mark(b"a\xff\x01\0"), None);
        assert_eq!(without_mark(b"\xff"), Some(&b""[..]));
    }
}
