//! TTLV, the encoding of KMIP: tag (3 bytes), type (1), length (4), value, filled up to 8 bytes.
//!
//! Source: OASIS Key Management Interoperability Protocol Specification 1.4, section 9.1. Pure: it
//! needs nothing but the bytes, so it is fuzzed as a file of its own (`fuzz/`).
//!
//! Nothing here calls itself: a structure is a slice that its reader walks through in its turn, so an
//! answer of any depth takes no more stack than a flat one. No length is believed before the bytes
//! are there.

use zeroize::Zeroizing;

/// Tag, type and length of an item, in bytes.
pub const HEADER_LEN: usize = 8;

/// What an item is, a number of three bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tag(pub u32);

const STRUCTURE: u8 = 0x01;
const INTEGER: u8 = 0x02;
const ENUMERATION: u8 = 0x05;
const BOOLEAN: u8 = 0x06;
const TEXT: u8 = 0x07;
const BYTES: u8 = 0x08;

/// Why bytes are no TTLV, or not the items that were looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// An item ends before its header or its length says.
    #[error("an item is cut off")]
    CutOff,
    /// A type that is none, or a length that its type does not have.
    #[error("an item's length does not fit its type")]
    Length,
    /// The item has another type than it must have.
    #[error("an item has another type than it must have")]
    Type,
    /// Text that is not UTF-8, a boolean that is neither.
    #[error("an item's value is none of its type")]
    Value,
    /// An item that must be there is not.
    #[error("an item is missing")]
    Missing,
}

/// One item of a structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item<'a> {
    /// What it is.
    pub tag: Tag,
    kind: u8,
    value: &'a [u8],
}

impl<'a> Item<'a> {
    /// The items in it.
    pub fn structure(self) -> Result<Structure<'a>, Malformed> {
        self.of(STRUCTURE).map(Structure)
    }

    /// An integer, or a mask of bits.
    pub fn integer(self) -> Result<i32, Malformed> {
        self.of(INTEGER).and_then(four).map(i32::from_be_bytes)
    }

    /// The number of an enumeration's value.
    pub fn enumeration(self) -> Result<u32, Malformed> {
        self.of(ENUMERATION).and_then(four).map(u32::from_be_bytes)
    }

    /// True or false.
    pub fn boolean(self) -> Result<bool, Malformed> {
        match self.of(BOOLEAN)? {
            [0, 0, 0, 0, 0, 0, 0, bit @ (0 | 1)] => Ok(*bit == 1),
            _ => Err(Malformed::Value),
        }
    }

    /// Text, without what fills it up.
    pub fn text(self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.of(TEXT)?).map_err(|_| Malformed::Value)
    }

    /// Bytes, without what fills them up.
    pub fn bytes(self) -> Result<&'a [u8], Malformed> {
        self.of(BYTES)
    }

    fn of(self, kind: u8) -> Result<&'a [u8], Malformed> {
        if self.kind == kind { Ok(self.value) } else { Err(Malformed::Type) }
    }
}

fn four(value: &[u8]) -> Result<[u8; 4], Malformed> {
    value.try_into().map_err(|_| Malformed::Length)
}

/// The items of a structure, or of a whole message, still to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Structure<'a>(&'a [u8]);

impl<'a> Structure<'a> {
    /// `bytes` as items one after the other.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// All items in order; the first that is malformed is the last that is given.
    pub fn items(self) -> Items<'a> {
        Items(self.0)
    }

    /// The first item with this tag, if there is one. An item that is malformed counts although it
    /// stands after it.
    pub fn find(self, tag: Tag) -> Result<Option<Item<'a>>, Malformed> {
        let mut found = None;
        for item in self.items() {
            let item = item?;
            if item.tag == tag && found.is_none() {
                found = Some(item);
            }
        }
        Ok(found)
    }

    /// The first item with this tag.
    pub fn first(self, tag: Tag) -> Result<Item<'a>, Malformed> {
        self.find(tag)?.ok_or(Malformed::Missing)
    }
}

/// Reads one item after the other.
#[derive(Debug, Clone)]
pub struct Items<'a>(&'a [u8]);

impl<'a> Iterator for Items<'a> {
    type Item = Result<Item<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let read = item(self.0);
        self.0 = read.map_or(&[], |(_, rest)| rest);
        Some(read.map(|(item, _)| item))
    }
}

/// The first item, and the bytes after it.
fn item(bytes: &[u8]) -> Result<(Item<'_>, &[u8]), Malformed> {
    let (header, rest) = bytes.split_first_chunk::<HEADER_LEN>().ok_or(Malformed::CutOff)?;
    let [t0, t1, t2, kind, l0, l1, l2, l3] = *header;
    let len =
        usize::try_from(u32::from_be_bytes([l0, l1, l2, l3])).map_err(|_| Malformed::CutOff)?;
    let fits = match kind {
        STRUCTURE => len.is_multiple_of(8),
        // Integer, enumeration, interval.
        0x02 | 0x05 | 0x0A => len == 4,
        // Long integer, boolean, date and time, the same in microseconds.
        0x03 | 0x06 | 0x09 | 0x0B => len == 8,
        // Big integer.
        0x04 => len.is_multiple_of(8) && len > 0,
        TEXT | BYTES => true,
        _ => false,
    };
    if !fits {
        return Err(Malformed::Length);
    }
    let filled = len.checked_next_multiple_of(8).ok_or(Malformed::CutOff)?;
    let (value, rest) = rest.split_at_checked(filled).ok_or(Malformed::CutOff)?;
    let tag = Tag(u32::from_be_bytes([0, t0, t1, t2]));
    Ok((Item { tag, kind, value: &value[..len] }, rest))
}

/// The length in bytes of the message that begins with `header`, header included; [`None`] when it
/// is no structure with this tag, or is longer than `most`.
pub fn message_len(header: &[u8; HEADER_LEN], tag: Tag, most: usize) -> Option<usize> {
    let [t0, t1, t2, kind, l0, l1, l2, l3] = *header;
    let len = usize::try_from(u32::from_be_bytes([l0, l1, l2, l3])).ok()?;
    let whole = len.checked_add(HEADER_LEN)?;
    let begins = Tag(u32::from_be_bytes([0, t0, t1, t2])) == tag && kind == STRUCTURE;
    (begins && len.is_multiple_of(8) && whole <= most).then_some(whole)
}

/// Writes items one after the other. What it holds is wiped when dropped; no copy of it is made
/// while it stays below the capacity that it began with.
pub struct Writer(Zeroizing<Vec<u8>>);

impl Writer {
    /// An empty message, with room for so many bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        Self(Zeroizing::new(Vec::with_capacity(capacity)))
    }

    /// What was written.
    pub fn into_bytes(self) -> Zeroizing<Vec<u8>> {
        self.0
    }

    /// A structure of what `items` writes.
    pub fn structure(&mut self, tag: Tag, items: impl FnOnce(&mut Self)) {
        self.header(tag, STRUCTURE, 0);
        let begin = self.0.len();
        items(self);
        let len = length(self.0.len() - begin);
        self.0[begin - 4..begin].copy_from_slice(&len);
    }

    /// An integer, or a mask of bits.
    pub fn integer(&mut self, tag: Tag, value: i32) {
        self.item(tag, INTEGER, &value.to_be_bytes());
    }

    /// The number of an enumeration's value.
    pub fn enumeration(&mut self, tag: Tag, value: u32) {
        self.item(tag, ENUMERATION, &value.to_be_bytes());
    }

    /// True or false: nothing that is asked for has one, what is answered does.
    #[cfg(test)]
    pub fn boolean(&mut self, tag: Tag, value: bool) {
        self.item(tag, BOOLEAN, &u64::from(value).to_be_bytes());
    }

    /// Text.
    pub fn text(&mut self, tag: Tag, value: &str) {
        self.item(tag, TEXT, value.as_bytes());
    }

    /// Bytes.
    pub fn bytes(&mut self, tag: Tag, value: &[u8]) {
        self.item(tag, BYTES, value);
    }

    fn header(&mut self, tag: Tag, kind: u8, len: usize) {
        let [_, t0, t1, t2] = tag.0.to_be_bytes();
        self.0.extend_from_slice(&[t0, t1, t2, kind]);
        self.0.extend_from_slice(&length(len));
    }

    fn item(&mut self, tag: Tag, kind: u8, value: &[u8]) {
        self.header(tag, kind, value.len());
        self.0.extend_from_slice(value);
        let filled = self.0.len().next_multiple_of(8);
        self.0.resize(filled, 0);
    }
}

/// A length as it stands in a header. What is written is kilobytes.
fn length(len: usize) -> [u8; 4] {
    u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes()
}

#[cfg(test)]
mod tests;
