//! Row contexts of policies: what binds a value to its column and to its row.

use envelope::context::{begin_row_context, decimal, put_part};
use envelope::forms::Sink;

use crate::error::{Error, Result};
use crate::pg::bound::BoundValue;
use crate::pg::encoding::{self, NotText};
use crate::values::FormBuf;

/// Bytes of a context. It is read with every value, and a row's identity needs few.
pub const LONGEST_CONTEXT: usize = 64 * 1024;

/// The context of a column that no policy binds to its row.
pub const NO_CONTEXT: &[u8] = b"";

/// A row context under construction.
pub struct RowContext {
    text: FormBuf,
    is_too_long: bool,
}

impl RowContext {
    /// Of a value in the column that bears `tag`.
    pub fn begin(tag: &str) -> RowContext {
        let mut context = RowContext::after(&[]);
        begin_row_context(&mut |bytes| context.text.push(bytes), tag);
        context
    }

    /// Of a value in the column whose contexts begin with `head`.
    pub fn after(head: &[u8]) -> RowContext {
        let mut text = FormBuf::new();
        text.push(head);
        RowContext { text, is_too_long: false }
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
        if bytes.len() > LONGEST_CONTEXT / 2 {
            self.is_too_long = true;
            return;
        }
        let mut hex = FormBuf::new();
        for byte in bytes {
            hex.push(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
        self.push(hex.as_slice());
    }

    /// What would be too long is not even copied.
    fn push(&mut self, part: &[u8]) {
        if part.len() > LONGEST_CONTEXT {
            self.is_too_long = true;
            return;
        }
        put_part(&mut |bytes| self.text.push(bytes), part);
    }

    /// All of it.
    pub fn bytes(&self) -> Result<&[u8]> {
        let text = self.text.as_slice();
        let is_short = !self.is_too_long && text.len() <= LONGEST_CONTEXT;
        if is_short { Ok(text) } else { Err(Error::ContextTooLong) }
    }
}
