//! Where the form of a value is written: on the stack if it is short, as most are.

use envelope::forms::Sink;

use crate::pg::growing::Growing;

/// Every form of a type that has a longest one fits, as most short texts do.
const SHORT: usize = 128;

/// A form while it is written. Reused for the next value by [`Self::clear`].
pub struct FormBuf {
    short: [u8; SHORT],
    len: usize,
    long: Option<Growing>,
    is_too_long: bool,
}

impl FormBuf {
    /// Empty.
    pub fn new() -> FormBuf {
        FormBuf { short: [0; SHORT], len: 0, long: None, is_too_long: false }
    }

    /// Empty again.
    pub fn clear(&mut self) {
        self.len = 0;
        self.long = None;
        self.is_too_long = false;
    }

    /// What was written.
    pub fn as_slice(&self) -> &[u8] {
        match &self.long {
            Some(long) => long.as_slice(),
            None => &self.short[..self.len],
        }
    }

    /// Whether more was written than a value may hold.
    pub fn is_too_long(&self) -> bool {
        self.is_too_long
    }
}

impl Sink for FormBuf {
    #[inline]
    fn push(&mut self, bytes: &[u8]) {
        match &mut self.long {
            Some(long) => self.is_too_long |= !long.push(bytes),
            None => match self.short.get_mut(self.len..self.len + bytes.len()) {
                Some(room) => {
                    room.copy_from_slice(bytes);
                    self.len += bytes.len();
                }
                None => {
                    let mut long = Growing::copy_of(&self.short[..self.len]);
                    self.is_too_long |= !long.push(bytes);
                    self.long = Some(long);
                }
            },
        }
    }
}
