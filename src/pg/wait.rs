//! The one place where a backend waits for something outside PostgreSQL.

#![allow(dead_code, reason = "for KMSs, of which a build may leave out all but key files")]

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use pgrx::pg_sys;

use crate::pg::state::Number;

/// Waits until `fd` is readable: an ordinary PostgreSQL wait. Cancel, `pg_terminate_backend` and
/// `statement_timeout` end it at once (this unwinds), so does the death of the postmaster (the
/// process exits); `pg_stat_activity` shows the wait event `EnvelopeKms` (`Extension` before
/// PostgreSQL 17).
pub fn until_readable(fd: BorrowedFd<'_>) {
    wait(fd, None, wait_event());
}

/// As [`until_readable`], for what another node answers: the wait event is `EnvelopeNode`.
pub fn until_node_answers(fd: BorrowedFd<'_>) {
    wait(fd, None, named(&NODE, c"EnvelopeNode"));
}

/// As [`until_readable`], or until `limit` is over.
pub fn until_readable_for(fd: BorrowedFd<'_>, limit: Duration) {
    wait(fd, Instant::now().checked_add(limit), wait_event());
}

fn wait(fd: BorrowedFd<'_>, until: Option<Instant>, event: u32) {
    let timeout = if until.is_some() { pg_sys::WL_TIMEOUT } else { 0 };
    let events =
        (pg_sys::WL_LATCH_SET | pg_sys::WL_SOCKET_READABLE | pg_sys::WL_EXIT_ON_PM_DEATH | timeout)
            as std::ffi::c_int;
    loop {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        // A millisecond more than is left: not to come back too early, again and again.
        let left = left.map_or(-1, |left| i32::try_from(left.as_millis() + 1).unwrap_or(i32::MAX));
        // SAFETY: MyLatch is the backend's own latch, set up before any SQL runs; the descriptor
        // is open for as long as it is borrowed.
        let happened = unsafe {
            pg_sys::WaitLatchOrSocket(pg_sys::MyLatch, events, fd.as_raw_fd(), left.into(), event)
        };
        if happened & pg_sys::WL_LATCH_SET as std::ffi::c_int != 0 {
            // SAFETY: as above.
            unsafe { pg_sys::ResetLatch(pg_sys::MyLatch) };
            pgrx::check_for_interrupts!();
        }
        let over = (pg_sys::WL_SOCKET_READABLE | pg_sys::WL_TIMEOUT) as std::ffi::c_int;
        if happened & over != 0 {
            return;
        }
    }
}

/// Of who waits for what another process asks a KMS: `EnvelopeLease`.
pub(super) fn lease_event() -> u32 {
    named(&LEASE, c"EnvelopeLease")
}

fn wait_event() -> u32 {
    named(&KMS, c"EnvelopeKms")
}

static KMS: Number = Number::new(0);
static NODE: Number = Number::new(0);
static LEASE: Number = Number::new(0);

/// The number of an event of ours, which `known` keeps.
#[cfg(not(any(feature = "pg14", feature = "pg15", feature = "pg16")))]
fn named(known: &Number, name: &CStr) -> u32 {
    if known.get() == 0 {
        // SAFETY: allocates or finds the name in shared memory; a backend calls it at any time.
        known.set(unsafe { pg_sys::WaitEventExtensionNew(name.as_ptr()) }.into());
    }
    known.get() as u32
}

#[cfg(any(feature = "pg14", feature = "pg15", feature = "pg16"))]
fn named(_: &Number, _: &CStr) -> u32 {
    pg_sys::PG_WAIT_EXTENSION
}
