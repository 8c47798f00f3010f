//! The value that this backend has sealed, opened again and compared last: the trigger that meets it in its row a moment
//! later need not open it once more.

use std::cell::RefCell;
use std::ffi::CStr;

use crate::keyring::table::Table;

/// Longer values, with their contexts, are opened once more: nothing is allocated for them here.
const MOST: usize = 1024;

/// As names are (NAMEDATALEN).
const NAME: usize = 64;

thread_local! {
    static LAST: RefCell<Last> = const { RefCell::new(Last::none()) };
}

/// Ciphertext, and what it was sealed for: nothing of it is a secret.
struct Last {
    /// The [`Table::number`] that it was sealed by: of one table, one role and one reading of the catalog. 0: none.
    table: u64,
    column: [u8; NAME],
    column_len: usize,
    context_len: usize,
    len: usize,
    /// The context, and the value.
    bytes: [u8; MOST],
}

impl Last {
    const fn none() -> Last {
        let (column, bytes) = ([0; NAME], [0; MOST]);
        Last { table: 0, column, column_len: 0, context_len: 0, len: 0, bytes }
    }

    fn note(&mut self, table: u64, column: &[u8], context: &[u8], value: &[u8]) {
        self.table = 0;
        let len = context.len() + value.len();
        let (Some(room), Some(name)) =
            (self.bytes.get_mut(..len), self.column.get_mut(..column.len()))
        else {
            return;
        };
        name.copy_from_slice(column);
        let (before, after) = room.split_at_mut(context.len());
        before.copy_from_slice(context);
        after.copy_from_slice(value);
        (self.column_len, self.context_len, self.len) = (column.len(), context.len(), len);
        self.table = table;
    }

    fn is(&self, table: u64, column: &[u8], context: &[u8], value: &[u8]) -> bool {
        self.table == table
            && table != 0
            && self.bytes[self.context_len..self.len] == *value
            && self.bytes[..self.context_len] == *context
            && self.column[..self.column_len] == *column
    }
}

/// `value` was sealed for `column` of `table`, with `context`, and opens to a form of the column's type.
pub fn note(table: &Table, column: &CStr, context: &[u8], value: &[u8]) {
    LAST.with_borrow_mut(|last| last.note(table.number(), column.to_bytes(), context, value));
}

/// Whether `value` is that one, byte for byte, for the same column, context and role, and nothing of the catalog was read
/// anew since.
pub fn is(table: &Table, column: &CStr, context: &[u8], value: &[u8]) -> bool {
    LAST.with_borrow(|last| last.is(table.number(), column.to_bytes(), context, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_that_value_alone() {
        let mut last = Last::none();
        assert!(!last.is(0, b"", b"", b""));
        last.note(7, b"ssn", b"row", b"value");
        assert!(last.is(7, b"ssn", b"row", b"value"));
        assert!(!last.is(8, b"ssn", b"row", b"value"));
        assert!(!last.is(7, b"card", b"row", b"value"));
        assert!(!last.is(7, b"ssn", b"row 2", b"value"));
        assert!(!last.is(7, b"ssn", b"row", b"Value"));
        // Cut elsewhere.
        assert!(!last.is(7, b"ssn", b"rowv", b"alue"));
        assert!(!last.is(7, b"ssn", b"ro", b"wvalue"));
    }

    #[test]
    fn what_is_too_long_is_not_noted_nor_is_the_one_before() {
        let mut last = Last::none();
        last.note(7, b"ssn", b"", b"value");
        last.note(7, b"ssn", b"", &[1; MOST + 1]);
        assert!(!last.is(7, b"ssn", b"", &[1; MOST + 1]));
        assert!(!last.is(7, b"ssn", b"", b"value"));
        last.note(7, b"ssn", b"", &[1; MOST]);
        assert!(last.is(7, b"ssn", b"", &[1; MOST]));
        last.note(7, &[b'x'; NAME + 1], b"", b"value");
        assert!(!last.is(7, &[b'x'; NAME + 1], b"", b"value"));
    }
}
