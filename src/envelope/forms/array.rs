//! Arrays: JSON without spaces, every element a string of its own form, or `null`.
//!
//! Escaped are `"` and `\`, and controls below U+0020: `\b \f \n \r \t`, the others as `\u00xx` in lower case. All else
//! stands as it is. Dimensions are nested; an array of none is `[]`.

use super::Sink;
use super::uuid::nibble_of;

/// PostgreSQL's limit.
pub const MOST_DIMENSIONS: usize = 6;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// What stands before the element `at` (counted through all dimensions): a comma, brackets.
pub fn write_before(dimensions: &[usize], at: usize, out: &mut impl Sink) {
    if at == 0 {
        dimensions.iter().for_each(|_| out.push(b"["));
        return;
    }
    let begun = begun_at(dimensions, at);
    (0..begun).for_each(|_| out.push(b"]"));
    out.push(b",");
    (0..begun).for_each(|_| out.push(b"["));
}

/// What stands after the last element; the whole array if it has no dimension.
pub fn write_after(dimensions: &[usize], out: &mut impl Sink) {
    match dimensions {
        [] => out.push(b"[]"),
        _ => dimensions.iter().for_each(|_| out.push(b"]")),
    }
}

/// How many of the inner dimensions begin anew with the element `at`.
fn begun_at(dimensions: &[usize], at: usize) -> usize {
    let inner = dimensions.iter().skip(1).rev();
    inner
        .scan(1usize, |size, dimension| {
            *size = size.saturating_mul(*dimension);
            Some(*size)
        })
        .take_while(|size| at.is_multiple_of(*size))
        .count()
}

/// A NULL element.
pub fn write_null(out: &mut impl Sink) {
    out.push(b"null");
}

/// An element, which `write` writes.
pub fn write_element<S: Sink, E>(
    out: &mut S,
    write: impl FnOnce(&mut Escaped<'_, S>) -> Result<(), E>,
) -> Result<(), E> {
    out.push(b"\"");
    write(&mut Escaped(out))?;
    out.push(b"\"");
    Ok(())
}

/// Writes into a string of JSON.
pub struct Escaped<'a, S>(&'a mut S);

impl<S: Sink> Sink for Escaped<'_, S> {
    fn push(&mut self, mut bytes: &[u8]) {
        while let Some(at) = bytes.iter().position(|byte| needs_escape(*byte)) {
            let (plain, rest) = bytes.split_at(at);
            self.0.push(plain);
            match letter_of(rest[0]) {
                Some(letter) => self.0.push(&[b'\\', letter]),
                None => {
                    let low = HEX[usize::from(rest[0] & 0xf)];
                    self.0.push(&[b'\\', b'u', b'0', b'0', b'0' + (rest[0] >> 4), low]);
                }
            }
            bytes = &rest[1..];
        }
        self.0.push(bytes);
    }
}

fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || matches!(byte, b'"' | b'\\')
}

/// The letter of a short escape.
fn letter_of(byte: u8) -> Option<u8> {
    Some(match byte {
        b'"' | b'\\' => byte,
        0x08 => b'b',
        0x0c => b'f',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        _ => return None,
    })
}

/// A string of JSON as it stands in the form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Element<'a>(&'a [u8]);

impl<'a> Element<'a> {
    /// The element's own form, if it stands there without an escape.
    #[must_use]
    pub fn plain(self) -> Option<&'a [u8]> {
        (!self.0.contains(&b'\\')).then_some(self.0)
    }

    /// Writes the element's own form.
    pub fn unescape(self, out: &mut impl Sink) {
        let mut rest = self.0;
        while let Some(at) = rest.iter().position(|byte| *byte == b'\\') {
            out.push(&rest[..at]);
            // Read before by `string`, so that it is whole.
            let Some((byte, len)) = escaped(&rest[at..]) else { return };
            out.push(&[byte]);
            rest = &rest[at + len..];
        }
        out.push(rest);
    }
}

/// What the escape at the beginning of `text` means, and how long it is; `None` if the writer writes none such.
fn escaped(text: &[u8]) -> Option<(u8, usize)> {
    let byte = match text.get(1)? {
        byte @ (b'"' | b'\\') => *byte,
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'u' => {
            let [b'0', b'0', high @ b'0'..=b'1', low] = text.get(2..6)? else { return None };
            let byte = nibble_of(*high)? << 4 | nibble_of(*low)?;
            return letter_of(byte).is_none().then_some((byte, 6));
        }
        _ => return None,
    };
    Some((byte, 2))
}

/// The dimensions of an array, outermost first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    sizes: [usize; MOST_DIMENSIONS],
    count: usize,
}

impl Shape {
    /// How long each dimension is; of an array of no elements, none.
    #[must_use]
    pub fn dimensions(&self) -> &[usize] {
        &self.sizes[..self.count]
    }
}

/// The shape of an array, if `form` is one: the same length wherever one dimension stands, UTF-8, and no other text
/// than the writer's.
#[must_use]
pub fn shape(form: &[u8]) -> Option<Shape> {
    let mut shape = Shape { sizes: [0; MOST_DIMENSIONS], count: 0 };
    if form == b"[]" {
        return Some(shape);
    }
    std::str::from_utf8(form).ok()?;
    shape.count = form.iter().take_while(|byte| **byte == b'[').count();
    if !(1..=MOST_DIMENSIONS).contains(&shape.count) {
        return None;
    }
    let (mut sizes, mut rest) = ([0; MOST_DIMENSIONS], &form[shape.count..]);
    loop {
        let (_, after) = element(rest)?;
        rest = after;
        sizes[shape.count - 1] += 1;
        let closed = rest.iter().take_while(|byte| **byte == b']').count();
        if closed > shape.count {
            return None;
        }
        rest = &rest[closed..];
        for at in (shape.count - closed..shape.count).rev() {
            // The first of its kind says how long all are.
            if shape.sizes[at] != 0 && shape.sizes[at] != sizes[at] {
                return None;
            }
            shape.sizes[at] = sizes[at];
            sizes[at] = 0;
            if at > 0 {
                sizes[at - 1] += 1;
            }
        }
        if closed == shape.count {
            return rest.is_empty().then_some(shape);
        }
        rest = rest.strip_prefix(b",")?;
        for _ in 0..closed {
            rest = rest.strip_prefix(b"[")?;
        }
    }
}

/// The elements of a `form` that has a [`shape`], `None` for NULL.
pub fn elements(form: &[u8]) -> impl Iterator<Item = Option<Element<'_>>> {
    let mut rest = form;
    std::iter::from_fn(move || {
        let at = rest.iter().position(|byte| !matches!(byte, b'[' | b']' | b','))?;
        let (found, after) = element(&rest[at..])?;
        rest = after;
        Some(found)
    })
}

/// The element at the beginning of `text`, and what follows it.
fn element(text: &[u8]) -> Option<(Option<Element<'_>>, &[u8])> {
    if let Some(rest) = text.strip_prefix(b"null") {
        return Some((None, rest));
    }
    let text = text.strip_prefix(b"\"")?;
    let mut at = 0;
    loop {
        match *text.get(at)? {
            b'"' => return Some((Some(Element(&text[..at])), &text[at + 1..])),
            b'\\' => at += escaped(&text[at..])?.1,
            byte if needs_escape(byte) => return None,
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dimensions: &[usize], elements: &[Option<&str>]) -> Vec<u8> {
        let mut out = Vec::new();
        for (at, element) in elements.iter().enumerate() {
            write_before(dimensions, at, &mut out);
            match element {
                None => write_null(&mut out),
                Some(text) => {
                    let push = |out: &mut Escaped<'_, Vec<u8>>| {
                        out.push(text.as_bytes());
                        Ok::<_, ()>(())
                    };
                    assert!(write_element(&mut out, push).is_ok());
                }
            }
        }
        write_after(dimensions, &mut out);
        out
    }

    fn read(form: &[u8]) -> Option<(Vec<usize>, Vec<Option<String>>)> {
        let shape = shape(form)?;
        let text = |element: Element<'_>| {
            let mut out = Vec::new();
            element.unescape(&mut out);
            assert_eq!(element.plain().unwrap_or(&out), out);
            String::from_utf8_lossy(&out).into_owned()
        };
        let texts = elements(form).map(|element| element.map(text)).collect();
        Some((shape.dimensions().to_vec(), texts))
    }

    #[test]
    fn come_back() {
        let controls: String = (0..0x21u8).chain([0x7f]).map(char::from).collect();
        let arrays: &[(&[usize], &[Option<&str>])] = &[
            (&[], &[]),
            (&[1], &[None]),
            (&[3], &[Some(""), Some("null"), Some("q\"\\[],é\u{2028}")]),
            (&[1], &[Some(&controls)]),
            (&[2, 2], &[Some("a"), None, Some("b"), Some("]")]),
            (&[1, 1, 1, 1, 1, 1], &[Some("deep")]),
            (&[2, 1, 3], &[Some("1"), Some("2"), Some("3"), Some("4"), Some("5"), Some("6")]),
        ];
        for (dimensions, elements) in arrays {
            let form = write(dimensions, elements);
            let owned = elements.iter().map(|e| e.map(str::to_owned)).collect();
            assert_eq!(read(&form), Some((dimensions.to_vec(), owned)), "{form:?}");
        }
        assert_eq!(write(&[2, 1, 2], &[None; 4]), b"[[[null,null]],[[null,null]]]");
    }

    /// As JSON has them; where there is a short one, it is the only one.
    #[test]
    fn escapes() {
        let escapes = [
            ('"', "\\\""),
            ('\\', "\\\\"),
            ('\0', "\\u0000"),
            ('\u{8}', "\\b"),
            ('\t', "\\t"),
            ('\n', "\\n"),
            ('\u{b}', "\\u000b"),
            ('\u{c}', "\\f"),
            ('\r', "\\r"),
            ('\u{1f}', "\\u001f"),
            (' ', " "),
            ('/', "/"),
            ('\u{7f}', "\u{7f}"),
        ];
        for (c, escape) in escapes {
            let text = c.to_string();
            assert_eq!(write(&[1], &[Some(&text)]), format!("[\"{escape}\"]").into_bytes());
            let long = format!("[\"\\u{:04x}\"]", u32::from(c));
            assert_eq!(read(long.as_bytes()).is_some(), escape.len() == 6, "{long}");
        }
    }

    #[test]
    fn an_element_without_escapes_need_not_be_copied() {
        let plain = |form: &'static str| {
            elements(form.as_bytes()).next().flatten().and_then(Element::plain)
        };
        assert_eq!(plain("[\"plain\"]"), Some(&b"plain"[..]));
        assert_eq!(plain("[\"\"]"), Some(&b""[..]));
        assert_eq!(plain("[\"a\\nb\"]"), None);
    }

    #[test]
    fn no_other_text_of_an_array() {
        let others = [
            "",
            "[",
            "[]]",
            "[[]]",
            "[ ]",
            "[\"1\", \"2\"]",
            "[1]",
            "[\"1\",]",
            "[,\"1\"]",
            "[\"1\"",
            "\"1\"",
            "null",
            "[NULL]",
            "[[\"1\"],[\"2\",\"3\"]]",
            "[[\"1\"],\"2\"]",
            "[\"1\",[\"2\"]]",
            "[[\"1\"],null]",
            "[\"\\/\"]",
            "[\"\\u000A\"]",
            "[\"\\u000a\"]",
            "[\"\\u0041\"]",
            "[\"\\u00e9\"]",
            "[\"\\u001F\"]",
            "[\"\n\"]",
            "[\"\\\"]",
            "[\"1\"]x",
            "[[[[[[[\"1\"]]]]]]]",
            "[\"1\"]]",
            "[[\"1\"]",
            "[\"\\u00\"]",
            "[[\"1\"]],[[\"2\"]]",
            "{}",
        ];
        for other in others {
            assert_eq!(read(other.as_bytes()), None, "{other}");
        }
        assert_eq!(read(b"[\"\xff\"]"), None);
    }
}
