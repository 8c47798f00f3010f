//! The end of a process of the server, while it still has the shared memory.

use std::cell::RefCell;

use pgrx::{pg_guard, pg_sys};

thread_local! {
    static CALLBACKS: RefCell<Vec<fn()>> = const { RefCell::new(Vec::new()) };
}

/// Calls `callback`, which must not raise, when this process ends, however it does short of a crash. One that was
/// given before is not called twice.
pub fn before_exit(callback: fn()) {
    let is_new = CALLBACKS.with_borrow_mut(|callbacks| {
        let is_new = !callbacks.iter().any(|known| std::ptr::fn_addr_eq(*known, callback));
        if is_new {
            callbacks.push(callback);
        }
        is_new
    });
    if is_new {
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
