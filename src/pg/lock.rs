//! Locks that no user statement can take.

use pgrx::pg_sys;

/// Locks the pair (`class`, `object`) against other backends that lock the same pair, to the end
/// of the transaction; a wait for it can be cancelled. No SQL statement reaches such a lock, so
/// no user can hold it to keep others out.
pub fn lock_object(class: pg_sys::Oid, object: pg_sys::Oid) {
    // SAFETY: a lock tag needs no existing object.
    unsafe { pg_sys::LockDatabaseObject(class, object, 0, MODE) }
}

/// As [`lock_object`], without a wait: false when another backend holds it.
pub fn try_lock_object(class: pg_sys::Oid, object: pg_sys::Oid) -> bool {
    // SAFETY: as above.
    unsafe { pg_sys::ConditionalLockDatabaseObject(class, object, 0, MODE) }
}

/// Gives [`lock_object`]'s lock back before the transaction ends.
pub fn unlock_object(class: pg_sys::Oid, object: pg_sys::Oid) {
    // SAFETY: as above; PostgreSQL warns where the lock is not held.
    unsafe { pg_sys::UnlockDatabaseObject(class, object, 0, MODE) }
}

/// Keeps `relation` from being dropped to the end of the transaction.
pub fn keep_relation(relation: pg_sys::Oid) {
    // SAFETY: a relation that is already gone is found missing by the caller's next look.
    unsafe { pg_sys::LockRelationOid(relation, KEEP) }
}

/// As [`keep_relation`], without a wait: false when another backend holds it.
pub fn try_keep_relation(relation: pg_sys::Oid) -> bool {
    // SAFETY: as above.
    unsafe { pg_sys::ConditionalLockRelationOid(relation, KEEP) }
}

const MODE: pg_sys::LOCKMODE = pg_sys::ExclusiveLock as pg_sys::LOCKMODE;
const KEEP: pg_sys::LOCKMODE = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
