//! Keeping signals away from a new thread.

use std::io;
use std::mem::MaybeUninit;
use std::ptr;

/// While it lives, the calling thread takes no signal, and a thread that it starts never does: a
/// new thread inherits the mask (pthread_sigmask(3)). PostgreSQL's handlers set latches and jump;
/// on any thread but the backend's own they would corrupt it.
pub(super) struct SignalsBlocked {
    before: libc::sigset_t,
}

impl SignalsBlocked {
    pub(super) fn new() -> io::Result<Self> {
        let mut all = MaybeUninit::uninit();
        let mut before = MaybeUninit::uninit();
        // SAFETY: sigfillset initialises the set that it is given, and pthread_sigmask only reads
        // it and writes the mask of before; both pointers are to live memory of the right type.
        let failed = unsafe {
            libc::sigfillset(all.as_mut_ptr());
            libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr())
        };
        if failed != 0 {
            return Err(io::Error::from_raw_os_error(failed));
        }
        // SAFETY: pthread_sigmask succeeded, so it has written the mask of before.
        Ok(Self { before: unsafe { before.assume_init() } })
    }
}

impl Drop for SignalsBlocked {
    fn drop(&mut self) {
        // SAFETY: the mask came from pthread_sigmask. It cannot fail with SIG_SETMASK and a good
        // pointer.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, ptr::null_mut())
        };
    }
}
