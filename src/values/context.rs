//! Row contexts of policies: what binds a value to its column and to its row.

use envelope::context::{begin_row_context, put_part};

use crate::catalog::rows::PolicyRow;
use crate::error::{Error, Result};
use crate::pg::buffer::Buffer;

/// Bytes of a context. It is read with every value, and a row's identity needs few.
pub const LONGEST_CONTEXT: usize = 64 * 1024;

/// A row context under construction, in PostgreSQL's memory.
pub struct RowContext(Buffer);

impl RowContext {
    /// Of a value in the column that bears `tag`.
    pub fn begin(tag: &str) -> RowContext {
        let mut buffer = Buffer::of_most(LONGEST_CONTEXT);
        begin_row_context(&mut |bytes| buffer.push(bytes), tag);
        RowContext(buffer)
    }

    /// The UTF-8 text of the next bound column.
    pub fn push(&mut self, part: &[u8]) {
        put_part(&mut |bytes| self.0.push(bytes), part);
    }

    /// All of it.
    pub fn bytes(&self) -> Result<&[u8]> {
        self.0.bytes().ok_or(Error::ContextTooLong)
    }
}

/// Whether values of the column have a context.
pub fn is_bound(policy: &PolicyRow) -> bool {
    !policy.bound_columns.is_empty()
}
