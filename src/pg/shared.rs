//! Memory that all processes of the server share, for a library that is preloaded. Where it is not, there is none.
//!
//! Sizes may depend on settings, so that the raw hooks are taken: pgrx's own want them when the library is built.

mod board;
mod condition;
mod exit;
mod lock;

use std::ffi::CStr;
use std::ptr::NonNull;
use std::sync::OnceLock;

use pgrx::{pg_guard, pg_sys};

use crate::pg::guc;

pub(crate) use board::plain;
pub use board::{Board, Plain};
pub use condition::Condition;
pub use exit::before_exit;
pub use lock::lock;

/// A piece of the shared memory. All its functions are called in the postmaster, and must not raise.
pub struct Area {
    /// In `pg_shmem_allocations`; no other may bear it.
    pub name: &'static CStr,
    /// How many bytes, by the settings; with 0 there is no such piece.
    pub bytes: fn() -> usize,
    /// The memory is new, and all zeros: at the start of the server, and when it starts again after a crash of one of
    /// its processes. Aligned to a cache line.
    pub new: fn(NonNull<u8>),
    /// Where it is: also called whenever it is new, after `new`. What is noted here all later processes inherit.
    pub attach: fn(NonNull<u8>),
}

/// What [`at_load`] was given.
struct Wanted {
    areas: &'static [Area],
    locks: fn() -> usize,
    #[cfg(not(feature = "pg14"))]
    asked_before: pg_sys::shmem_request_hook_type,
    started_before: pg_sys::shmem_startup_hook_type,
}

static WANTED: OnceLock<Wanted> = OnceLock::new();

/// Asks for shared memory, and for `locks` locks ([`lock`]). To be called by `_PG_init`, once the settings are defined.
/// Does nothing but in a server that preloads the library.
pub fn at_load(areas: &'static [Area], locks: fn() -> usize) {
    // SAFETY: libraries are loaded by one thread; the functions live as long as the library, and whoever was there
    // before is called by ours.
    unsafe {
        if !guc::is_preloading() {
            return;
        }
        let wanted = Wanted {
            areas,
            locks,
            #[cfg(not(feature = "pg14"))]
            asked_before: pg_sys::shmem_request_hook,
            started_before: pg_sys::shmem_startup_hook,
        };
        if WANTED.set(wanted).is_err() {
            return;
        }
        #[cfg(feature = "pg14")]
        ask();
        #[cfg(not(feature = "pg14"))]
        {
            pg_sys::shmem_request_hook = Some(at_request);
        }
        pg_sys::shmem_startup_hook = Some(at_startup);
    }
}

#[cfg(not(feature = "pg14"))]
#[pg_guard]
unsafe extern "C-unwind" fn at_request() {
    // SAFETY: called as PostgreSQL calls ours.
    unsafe {
        if let Some(before) = WANTED.get().and_then(|wanted| wanted.asked_before) {
            before();
        }
    }
    ask();
}

/// Asks PostgreSQL for what is wanted. It keeps that for when it starts again after a crash.
fn ask() {
    let Some(wanted) = WANTED.get() else { return };
    // SAFETY: this is the time to ask, and the name is NUL-terminated.
    unsafe {
        for bytes in wanted.areas.iter().map(|area| (area.bytes)()).filter(|bytes| *bytes > 0) {
            pg_sys::RequestAddinShmemSpace(whole_lines(bytes));
        }
        let locks = i32::try_from((wanted.locks)()).unwrap_or(i32::MAX);
        if locks > 0 {
            pg_sys::RequestNamedLWLockTranche(lock::TRANCHE.as_ptr(), locks);
        }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn at_startup() {
    let Some(wanted) = WANTED.get() else { return };
    // SAFETY: called as PostgreSQL calls ours. Memory that was asked for is there, as large as that; nobody else uses it
    // yet when it is new.
    unsafe {
        if let Some(before) = wanted.started_before {
            before();
        }
        if (wanted.locks)() > 0 {
            lock::attach((wanted.locks)());
        }
        for area in wanted.areas {
            let bytes = whole_lines((area.bytes)());
            if bytes == 0 {
                continue;
            }
            let mut found = false;
            let at = pg_sys::ShmemInitStruct(area.name.as_ptr(), bytes, &mut found);
            let Some(at) = NonNull::new(at.cast::<u8>()) else { continue };
            if !found {
                at.as_ptr().write_bytes(0, bytes);
                (area.new)(at);
            }
            (area.attach)(at);
        }
    }
}

/// As much memory as PostgreSQL hands out for `bytes`: so it begins on a cache line, and the next piece does, too.
fn whole_lines(bytes: usize) -> usize {
    bytes.next_multiple_of(128)
}
