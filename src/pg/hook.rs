//! PostgreSQL's object_access_hook: told of every table before it is dropped, whichever command
//! takes it along.

use std::sync::OnceLock;

use pgrx::{pg_guard, pg_sys};

static CALLBACK: OnceLock<fn(pg_sys::Oid, Cause)> = OnceLock::new();
static PREVIOUS: OnceLock<pg_sys::object_access_hook_type> = OnceLock::new();

/// Who drops a relation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// A statement.
    Statement,
    /// PostgreSQL for itself: a heap that VACUUM FULL has replaced, a session's temporary objects when
    /// it ends, with what hangs on them.
    Internal,
}

/// From now on calls `callback` with every relation that is about to be dropped, while the
/// relation can still be looked up. To be called once.
pub fn on_relation_drop(callback: fn(pg_sys::Oid, Cause)) {
    if CALLBACK.set(callback).is_err() {
        return;
    }
    // SAFETY: libraries are loaded by one thread; the function lives as long as the library, and
    // whoever was there before is called by ours.
    unsafe {
        let _ = PREVIOUS.set(pg_sys::object_access_hook);
        pg_sys::object_access_hook = Some(at_access);
    }
}

/// Told of every function that a statement calls, too: what is no drop of a table goes by without a
/// guard. The frame has nothing to drop, so that an error of the one who was there before may pass.
unsafe extern "C-unwind" fn at_access(
    access: pg_sys::ObjectAccessType::Type,
    class: pg_sys::Oid,
    object: pg_sys::Oid,
    part: std::ffi::c_int,
    arg: *mut std::ffi::c_void,
) {
    if let Some(Some(previous)) = PREVIOUS.get() {
        // SAFETY: the arguments are handed on as they came.
        unsafe { previous(access, class, object, part, arg) };
    }
    if access == pg_sys::ObjectAccessType::OAT_DROP
        && class == pg_sys::RelationRelationId
        && part == 0
    {
        // SAFETY: the argument of OAT_DROP is an ObjectAccessDrop, or null.
        unsafe { at_relation_drop(object, arg.cast()) };
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn at_relation_drop(
    relation: pg_sys::Oid,
    drop: *const pg_sys::ObjectAccessDrop,
) {
    // SAFETY: by the caller.
    let flags = unsafe { drop.as_ref() }.map(|drop| drop.dropflags);
    let is_internal =
        flags.unwrap_or(0) & pg_sys::PERFORM_DELETION_INTERNAL as std::ffi::c_int != 0;
    if let Some(callback) = CALLBACK.get() {
        callback(relation, if is_internal { Cause::Internal } else { Cause::Statement });
    }
}
