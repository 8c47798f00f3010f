//! PostgreSQL's object_access_hook: told of every table and column before it is dropped, whichever command
//! takes it along, and of every column that is altered.

use std::sync::OnceLock;

use pgrx::{pg_guard, pg_sys};

static DROPPED: OnceLock<fn(pg_sys::Oid, Cause)> = OnceLock::new();
static CHANGED: OnceLock<fn(pg_sys::Oid, i16, ColumnChange)> = OnceLock::new();
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

/// What becomes of a column.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum ColumnChange {
    /// It is about to be dropped. Not told of the columns of a relation that is dropped as a whole.
    Dropped,
    /// It was renamed, became one of another type, or was altered otherwise. PostgreSQL's caches still have it as it
    /// was; what it is now: `attribute::as_changed`.
    Altered,
}

/// From now on calls `callback` with every relation that is about to be dropped, while the
/// relation can still be looked up. To be called once.
pub fn on_relation_drop(callback: fn(pg_sys::Oid, Cause)) {
    if DROPPED.set(callback).is_ok() {
        install();
    }
}

/// From now on calls `callback` with every column that is dropped or altered. To be called once.
pub fn on_column_change(callback: fn(pg_sys::Oid, i16, ColumnChange)) {
    if CHANGED.set(callback).is_ok() {
        install();
    }
}

fn install() {
    // SAFETY: libraries are loaded by one thread; the function lives as long as the library, and
    // whoever was there before is called by ours.
    unsafe {
        if PREVIOUS.set(pg_sys::object_access_hook).is_ok() {
            pg_sys::object_access_hook = Some(at_access);
        }
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
    } else if class == pg_sys::RelationRelationId && part > 0 {
        let change = match access {
            pg_sys::ObjectAccessType::OAT_DROP => ColumnChange::Dropped,
            pg_sys::ObjectAccessType::OAT_POST_ALTER => ColumnChange::Altered,
            _ => return,
        };
        // SAFETY: a column's number fits.
        unsafe { at_column_change(object, part as i16, change) };
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn at_column_change(
    relation: pg_sys::Oid,
    column: i16,
    change: ColumnChange,
) {
    if let Some(callback) = CHANGED.get() {
        callback(relation, column, change);
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
    if let Some(callback) = DROPPED.get() {
        callback(relation, if is_internal { Cause::Internal } else { Cause::Statement });
    }
}
