//! The cluster that this process serves.

use pgrx::pg_sys;

/// The number that it was given when it was made. Its copies have it, too.
pub fn system_identifier() -> u64 {
    // SAFETY: reads what the server has read of its control file.
    unsafe { pg_sys::GetSystemIdentifier() }
}
