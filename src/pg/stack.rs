//! What functions leave on the stack when they have returned, and who overwrites it.

use std::hint::black_box;

use crate::pg::state::Number;

/// The lowest address that [`note_use`] was called at since all was overwritten.
static LOWEST: Number = Number::new(u64::MAX);

/// Bytes that are overwritten at a time: about a page, in one go, costs less than the same in parts.
const STEP: usize = 4000;

/// A function that is called next leaves on the stack what must not stay there.
#[inline(always)]
pub fn note_use() {
    let here = here();
    if here < LOWEST.get() {
        LOWEST.set(here);
    }
}

/// Overwrites what was left there since, `reach` bytes deep; from further down than that (where a
/// procedure commits) it is left to the next time.
#[inline]
pub fn overwrite_used(reach: usize) {
    let lowest = LOWEST.get();
    if here() > lowest {
        overwrite(lowest.saturating_sub(reach as u64));
        LOWEST.set(u64::MAX);
    }
}

/// From the caller's frame down to the address `lowest`, by frames of zeros one below the other.
#[inline(never)]
fn overwrite(lowest: u64) {
    let zeros = [0u8; STEP];
    if std::ptr::from_ref(black_box(&zeros)).addr() as u64 > lowest {
        overwrite(lowest);
    }
    // The frame is not given up before the call.
    black_box(&zeros);
}

/// About where the stack ends now.
#[inline(always)]
fn here() -> u64 {
    let local = 0u8;
    std::ptr::from_ref(black_box(&local)).addr() as u64
}
