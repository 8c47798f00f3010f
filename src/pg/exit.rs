//! How a backend's process ends once a library of others' is in it.
//!
//! Such a library may have destructors that the C library runs at the end: after those of a library that it uses, or
//! while a thread still is in a call of it. Either crashes or hangs the process, and a crash of one is a restart of
//! all.

use std::ffi::c_int;
use std::sync::atomic::{AtomicI64, Ordering};

use pgrx::{pg_guard, pg_sys};

/// No code yet.
const RUNNING: i64 = -1;

/// With what PostgreSQL ends this process, once it does.
static CODE: AtomicI64 = AtomicI64::new(RUNNING);
/// The process that has the callback; a forked one starts without.
static WATCHED_BY: AtomicI64 = AtomicI64::new(0);

/// From now on the process remembers with which code PostgreSQL ends it. Only on the backend's own thread.
pub fn watch() {
    let own = i64::from(std::process::id());
    if WATCHED_BY.swap(own, Ordering::Relaxed) != own {
        // SAFETY: a plain callback that lives as long as the library, which is never unloaded; this is the thread that
        // the server's own code runs on.
        unsafe { pg_sys::on_proc_exit(Some(at_proc_exit), pg_sys::Datum::from(0)) };
    }
}

/// No destructor that was registered up to now runs at the end of this process, which [`watch`] watches. From any thread.
pub fn skip_destructors() {
    // SAFETY: atexit may be called from any thread; the function takes nothing and never returns into code that is gone.
    // When there is no room for it, the destructors run as ever.
    unsafe { libc::atexit(end_now) };
}

#[pg_guard]
unsafe extern "C-unwind" fn at_proc_exit(code: c_int, _arg: pg_sys::Datum) {
    CODE.store(i64::from(code.unsigned_abs()), Ordering::Relaxed);
}

/// PostgreSQL has done all of its own; what is left are the libraries'.
extern "C" fn end_now() {
    if let Ok(code) = c_int::try_from(CODE.load(Ordering::Relaxed))
        && code >= 0
    {
        // SAFETY: ends the process, touching nothing.
        unsafe { libc::_exit(code) };
    }
}
