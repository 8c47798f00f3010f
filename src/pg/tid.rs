//! Where a row stands: its ctid.

use std::fmt;

use pgrx::pg_sys;

/// A page of the table's file and an item in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tid {
    block: u32,
    item: u16,
}

impl Tid {
    /// The same, as PostgreSQL has it.
    pub fn of(pointer: &pg_sys::ItemPointerData) -> Tid {
        let block = (u32::from(pointer.ip_blkid.bi_hi) << 16) | u32::from(pointer.ip_blkid.bi_lo);
        Tid { block, item: pointer.ip_posid }
    }

    /// A datum of type tid.
    ///
    /// # Safety
    /// `datum` is a non-null tid.
    pub unsafe fn from_datum(datum: pg_sys::Datum) -> Tid {
        // SAFETY: a tid is an item pointer by reference.
        Tid::of(unsafe { &*datum.cast_mut_ptr::<pg_sys::ItemPointerData>() })
    }
}

impl fmt::Display for Tid {
    /// As SQL shows it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({},{})", self.block, self.item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_block_number_is_put_together_from_its_halves() {
        let pointer = pg_sys::ItemPointerData {
            ip_blkid: pg_sys::BlockIdData { bi_hi: 1, bi_lo: 2 },
            ip_posid: 3,
        };
        assert_eq!(Tid::of(&pointer).to_string(), "(65538,3)");
    }
}
