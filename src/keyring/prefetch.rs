//! What will be needed next, fetched by the processor while the work goes on. With thousands of keys the
//! next one is in none of its caches: asked for at once its lines come together, else one after the
//! other.

/// Cache lines of all processors that the hint is given for.
const LINE: usize = 64;

/// Has the processor fetch all of `what`; only a hint, and only on x86-64.
#[inline(always)]
pub fn prefetch<T>(what: &T) {
    let start: *const T = what;
    for at in (0..size_of::<T>()).step_by(LINE) {
        prefetch_line(start.cast::<u8>().wrapping_add(at));
    }
}

#[inline(always)]
#[cfg_attr(not(target_arch = "x86_64"), allow(unused_variables))]
fn prefetch_line(line: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint, which reads nothing and faults nowhere.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(line.cast());
    }
}
