//! A statement run as `session_replication_role = replica` has it: triggers and rules of the usual kind do not fire.
//!
//! To set that for each batch of rows, and back, has PostgreSQL forget all plans of the session each time. Here the variable
//! alone is other for the length of a statement, whose own plan is made and kept as such. Not for statements that fire
//! anything all the same: what its functions plan meanwhile would be kept without the rules that were left out.

use std::ffi::c_int;

use pgrx::pg_sys;

use crate::pg::state::Number;
use crate::pg::xact;

/// The subtransaction in which the variable was changed; 0: it is as it was.
static CHANGED_IN: Number = Number::new(0);
/// What it was.
static BEFORE: Number = Number::new(0);

const REPLICA: c_int = pg_sys::SESSION_REPLICATION_ROLE_REPLICA as c_int;

/// The session plays what others have done, until [`end`] or an error. PostgreSQL's own error when the role may not set that.
pub fn begin() {
    end();
    // SAFETY: the strings are NUL-terminated. Nothing is changed by that: PostgreSQL finds out whether it could be, for the
    // role that is asking, as its own `set_config` does.
    unsafe {
        let context = match pg_sys::superuser() {
            true => pg_sys::GucContext::PGC_SUSET,
            false => pg_sys::GucContext::PGC_USERSET,
        };
        pg_sys::set_config_option(
            c"session_replication_role".as_ptr(),
            c"replica".as_ptr(),
            context,
            pg_sys::GucSource::PGC_S_SESSION,
            pg_sys::GucAction::GUC_ACTION_SAVE,
            false,
            0,
            false,
        );
    }
    // SAFETY: a variable of this backend. Who changes it by its setting meanwhile puts back what stands there.
    unsafe {
        if pg_sys::SessionReplicationRole != REPLICA {
            BEFORE.set(pg_sys::SessionReplicationRole as u64);
            CHANGED_IN.set(xact::current_sub().into());
            pg_sys::SessionReplicationRole = REPLICA;
        }
    }
}

/// It does no more.
pub fn end() {
    if CHANGED_IN.get() != 0 {
        CHANGED_IN.set(0);
        // SAFETY: a variable of this backend, as it was.
        unsafe { pg_sys::SessionReplicationRole = BEFORE.get() as c_int };
    }
}

/// That subtransaction is rolled back: the statement that it was for has failed, unless it was one within it.
pub fn end_with(sub: pg_sys::SubTransactionId) {
    if CHANGED_IN.get() == u64::from(sub) {
        end();
    }
}

/// Whether a trigger or a rule of `relation`, which is there, fires there as well.
pub fn fires(relation: pg_sys::Oid) -> bool {
    let lock = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
    let in_replica = |enabled: std::ffi::c_char| matches!(enabled as u8, b'A' | b'R');
    // SAFETY: the relation is open while its triggers and rules are read, as many as it counts.
    unsafe {
        let opened = pg_sys::table_open(relation, lock);
        let triggers = (*opened).trigdesc.as_ref().is_some_and(|all| {
            (0..all.numtriggers as usize).any(|at| in_replica((*all.triggers.add(at)).tgenabled))
        });
        let rules = (*opened).rd_rules.as_ref().is_some_and(|all| {
            (0..all.numLocks as usize).any(|at| in_replica((**all.rules.add(at)).enabled))
        });
        pg_sys::table_close(opened, lock);
        triggers || rules
    }
}
