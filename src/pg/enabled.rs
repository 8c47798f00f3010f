//! Which triggers fire in every session, also where `session_replication_role` is replica.

use std::ffi::CStr;

use pgrx::pg_sys;

use crate::pg::syscache;

/// `tgenabled` and `evtenabled` of ENABLE ALWAYS (commands/trigger.h).
const ALWAYS: u8 = b'A';

/// Whether `relation` has a trigger `name` that fires always.
pub fn trigger_fires_always(relation: pg_sys::Oid, name: &CStr) -> bool {
    let lock = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
    // SAFETY: the relation is open while its triggers are read; there are as many as it counts,
    // each with a NUL-terminated name. It is null when there are none.
    unsafe {
        let relation = pg_sys::table_open(relation, lock);
        let found = (*relation).trigdesc.as_ref().is_some_and(|triggers| {
            (0..triggers.numtriggers as usize).any(|i| {
                let trigger = &*triggers.triggers.add(i);
                CStr::from_ptr(trigger.tgname) == name && trigger.tgenabled as u8 == ALWAYS
            })
        });
        pg_sys::table_close(relation, lock);
        found
    }
}

/// Whether there is an event trigger `name` that fires always.
pub fn event_trigger_fires_always(name: &CStr) -> bool {
    let cache = pg_sys::SysCacheIdentifier::EVENTTRIGGERNAME;
    let read = |trigger: &pg_sys::FormData_pg_event_trigger| trigger.evtenabled as u8;
    // SAFETY: event triggers by name, NUL-terminated.
    let enabled = unsafe { syscache::field(cache, pg_sys::Datum::from(name.as_ptr()), read) };
    enabled == Some(ALWAYS)
}
