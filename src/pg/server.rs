//! Which server this is.

use pgrx::pg_sys;

/// A text that this database of this server alone has, as long as the server runs: a copy of it has another.
pub fn this_database() -> String {
    // SAFETY: read variables of this backend, and of shared memory.
    unsafe {
        let (system, database) = (pg_sys::GetSystemIdentifier(), pg_sys::MyDatabaseId.to_u32());
        let (started, pid) = (pg_sys::PgStartTime, pg_sys::PostmasterPid);
        format!("{system}/{database}/{started}/{pid}")
    }
}
