//! Row contexts of policies: what binds a value to its column and to its row.

use envelope::context::{begin_row_context, decimal, put_part};

use crate::error::{Error, Result};
use crate::pg::bound::BoundValue;
use crate::pg::buffer::Buffer;
use crate::pg::encoding::{self, NotText};

/// Bytes of a context. It is read with every value, and a row's identity needs few.
pub const LONGEST_CONTEXT: usize = 64 * 1024;

/// The context of a column that no policy binds to its row.
pub const NO_CONTEXT: &[u8] = b"";

/// A row context under construction, in PostgreSQL's memory.
pub struct RowContext(Buffer);

impl RowContext {
    /// Of a value in the column that bears `tag`.
    pub fn begin(tag: &str) -> RowContext {
        let mut buffer = Buffer::of_most(LONGEST_CONTEXT);
        begin_row_context(&mut |bytes| buffer.push(bytes), tag);
        RowContext(buffer)
    }

    /// The text of the next bound column, in the server's encoding.
    pub fn push_text(&mut self, text: &[u8]) -> Result<()> {
        let not_utf8 = |why: NotText| Error::NotUtf8 { untranslatable: why.is_untranslatable() };
        self.push(&encoding::to_utf8(text).map_err(not_utf8)?);
        Ok(())
    }

    /// The value of the next bound column.
    pub fn push_value(&mut self, value: &BoundValue<'_>) -> Result<()> {
        match value {
            BoundValue::Integer(number) => self.push_number(*number),
            BoundValue::Uuid(uuid) => {
                let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
                let uuid = uuid::Uuid::from_bytes(**uuid);
                self.push(uuid.hyphenated().encode_lower(&mut text).as_bytes());
            }
            BoundValue::Text(text) => self.push_text(text)?,
            BoundValue::Bytes(bytes) => self.push_hex(bytes),
        }
        Ok(())
    }

    fn push_number(&mut self, number: i64) {
        let mut text = [0; 21];
        let mut digits = [0; 20];
        let digits = decimal(&mut digits, number.unsigned_abs());
        let at = usize::from(number < 0);
        text[0] = b'-';
        text[at..at + digits.len()].copy_from_slice(digits);
        self.push(&text[..at + digits.len()]);
    }

    fn push_hex(&mut self, bytes: &[u8]) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut hex = Buffer::of_most(LONGEST_CONTEXT);
        for byte in bytes.iter().take(LONGEST_CONTEXT) {
            hex.push(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
        match hex.bytes() {
            Some(hex) => self.push(hex),
            None => self.0.overflow(),
        }
    }

    fn push(&mut self, part: &[u8]) {
        put_part(&mut |bytes| self.0.push(bytes), part);
    }

    /// All of it.
    pub fn bytes(&self) -> Result<&[u8]> {
        self.0.bytes().ok_or(Error::ContextTooLong)
    }
}
