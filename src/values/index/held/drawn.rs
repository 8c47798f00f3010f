//! Random bits, which choose among the classes of a value that has several.

use std::cell::RefCell;

use zeroize::Zeroize;

use crate::error::{Error, Result};

/// So many values for each call of the operating system.
const VALUES: usize = 256;

thread_local! {
    static BITS: RefCell<Bits> = const { RefCell::new(Bits { left: 0, all: [0; 4 * VALUES] }) };
}

struct Bits {
    left: usize,
    all: [u8; 4 * VALUES],
}

/// 32 bits that were never given out. Whoever knew those of other rows would know which classes are one value's.
pub fn bits() -> Result<u32> {
    BITS.with_borrow_mut(|bits| {
        if bits.left == 0 {
            getrandom::fill(&mut bits.all).map_err(|error| Error::System(error.to_string()))?;
            bits.left = VALUES;
        }
        bits.left -= 1;
        let (_, four) = bits.all.split_at_mut(4 * bits.left);
        let mut taken = [0; 4];
        taken.copy_from_slice(&four[..4]);
        four[..4].zeroize();
        Ok(u32::from_ne_bytes(taken))
    })
}
