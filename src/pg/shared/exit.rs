//! The end of a process of the server, while it still has the shared memory.

use pgrx::{pg_guard, pg_sys};

use crate::pg::state::Flag;

static IS_WATCHED: Flag = Flag::new(false);

/// Calls `callback`, which must not raise, when this process ends, however it does short of a crash. Whoever calls it
/// again is not heard.
pub fn before_exit(callback: fn()) {
    if !IS_WATCHED.get() {
        IS_WATCHED.set(true);
        let arg = callback as *mut std::ffi::c_void;
        // SAFETY: the functions live as long as the library, and PostgreSQL hands the argument back as it is.
        unsafe { pg_sys::before_shmem_exit(Some(at_exit), pg_sys::Datum::from(arg as usize)) };
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn at_exit(_code: std::ffi::c_int, arg: pg_sys::Datum) {
    // SAFETY: `before_exit` registered exactly this kind of pointer.
    let callback: fn() = unsafe { std::mem::transmute(arg.cast_mut_ptr::<std::ffi::c_void>()) };
    callback();
}
