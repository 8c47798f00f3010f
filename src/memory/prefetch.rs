//! What will be needed next, fetched by the processor while the work goes on. With thousands of keys the
//! next one is in none of its caches: asked for at once its lines come together, else one after the
//! other.

use crate::memory::arena::LINE;

/// Has the processor fetch all of `what`, wherever in a line it begins; only a hint, and only on x86-64.
#[inline(always)]
pub fn prefetch<T>(what: &T) {
    let start: *const u8 = std::ptr::from_ref(what).cast();
    let into_line = start.addr() % LINE;
    let first = start.wrapping_sub(into_line);
    for at in (0..into_line + size_of::<T>()).step_by(LINE) {
        prefetch_line(first.wrapping_add(at));
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn prefetch_line(line: *const u8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: a hint, which reads nothing and faults nowhere.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(line.cast()) };
}

#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn prefetch_line(_line: *const u8) {}
