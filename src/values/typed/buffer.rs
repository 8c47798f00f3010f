//! Where the form of a value is written: on the stack if it is short, as most are.

use envelope::forms::Sink;

use crate::pg::buffer::Buffer;
use crate::pg::varlena::MAX_LEN;

/// Every form of a type that has a longest one fits, as most short texts do.
const SHORT: usize = 128;

/// A form while it is written. Reused for the next value by [`Self::clear`].
pub struct FormBuf {
    short: [u8; SHORT],
    len: usize,
    long: Option<Buffer>,
}

impl FormBuf {
    /// Empty.
    pub fn new() -> FormBuf {
        FormBuf { short: [0; SHORT], len: 0, long: None }
    }

    /// Empty again.
    pub fn clear(&mut self) {
        self.len = 0;
        self.long = None;
    }

    /// What was written; nothing of what is too long.
    pub fn as_slice(&self) -> &[u8] {
        match &self.long {
            Some(long) => long.bytes().unwrap_or_default(),
            None => &self.short[..self.len],
        }
    }

    /// Whether more was written than a value may hold.
    pub fn is_too_long(&self) -> bool {
        self.long.as_ref().is_some_and(|long| long.bytes().is_none())
    }
}

impl Sink for FormBuf {
    #[inline]
    fn push(&mut self, bytes: &[u8]) {
        if let Some(long) = &mut self.long {
            return long.push(bytes);
        }
        match self.short.get_mut(self.len..self.len + bytes.len()) {
            Some(room) => {
                room.copy_from_slice(bytes);
                self.len += bytes.len();
            }
            None => {
                let mut long = Buffer::of_most(MAX_LEN);
                long.push(&self.short[..self.len]);
                long.push(bytes);
                self.long = Some(long);
            }
        }
    }
}
