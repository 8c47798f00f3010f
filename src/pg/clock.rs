//! The clocks: one that key expiry is measured with, and the wall's.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::pg::state::Number;

/// From 1970-01-01 to 2000-01-01, in microseconds.
const UNIX_TO_POSTGRES: i64 = 946_684_800_000_000;

static LAST: Number = Number::new(0);

/// Milliseconds on a clock that never goes back, to the resolution of the kernel's tick: read
/// from memory the kernel shares, without a system call.
pub fn monotonic_ms() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is valid for the write; this clock exists on every Linux PostgreSQL runs on.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &mut now) };
    let now = now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000;
    LAST.set(now);
    now
}

/// What [`monotonic_ms`] said last. Every SQL function asks it when it begins, so that a row need
/// not ask again.
pub fn last_monotonic_ms() -> u64 {
    LAST.get()
}

/// Milliseconds on a clock that goes on while the machine sleeps, and is one for all processes.
pub fn boot_ms() -> u64 {
    of(libc::CLOCK_BOOTTIME)
}

/// Milliseconds that the machine has slept for since it started.
pub fn slept_ms() -> u64 {
    of(libc::CLOCK_BOOTTIME).saturating_sub(of(libc::CLOCK_MONOTONIC))
}

fn of(clock: libc::clockid_t) -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is valid for the write; these clocks exist on every Linux PostgreSQL runs on.
    unsafe { libc::clock_gettime(clock, &mut now) };
    now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000
}

/// Now, in PostgreSQL's microseconds.
pub fn wall_us() -> i64 {
    // SAFETY: reads the system's clock.
    unsafe { pgrx::pg_sys::GetCurrentTimestamp() }
}

/// As [`wall_us`], without PostgreSQL.
pub fn now_us() -> i64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_1970.as_micros()).unwrap_or(i64::MAX).saturating_sub(UNIX_TO_POSTGRES)
}
