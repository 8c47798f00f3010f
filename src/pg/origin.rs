//! Where the changes that this session writes come from: a replication origin, while they arrive by
//! logical replication, in PostgreSQL's own workers and in those of others alike, copies included.

use pgrx::pg_sys;

use crate::pg::datum::owned_name;
use crate::pg::encoding;

/// Whether a replication origin is set.
pub fn is_set() -> bool {
    current().is_some()
}

/// Its name, as every server encoding can show it: the name is the whole cluster's, in the encoding of
/// whichever database it was made in. `None` when none is set.
pub fn name() -> Option<String> {
    let mut name = std::ptr::null_mut();
    // SAFETY: a system-cache look-up in the transaction of the caller; it gives a palloc'd string, or
    // nothing for an origin that is gone.
    unsafe { pg_sys::replorigin_by_oid(current()?, true, &mut name) };
    owned_name(name).map(encoding::shown)
}

fn current() -> Option<u16> {
    #[cfg(any(
        feature = "pg14",
        feature = "pg15",
        feature = "pg16",
        feature = "pg17",
        feature = "pg18"
    ))]
    // SAFETY: a variable of this backend's.
    let origin = unsafe { pg_sys::replorigin_session_origin };
    #[cfg(not(any(
        feature = "pg14",
        feature = "pg15",
        feature = "pg16",
        feature = "pg17",
        feature = "pg18"
    )))]
    // SAFETY: a variable of this backend's.
    let origin = unsafe { pg_sys::replorigin_xact_state.origin };
    // The last one marks what is made here and shall not be sent on.
    (origin != 0 && origin != u16::MAX).then_some(origin)
}
