//! Locks: on objects that no user statement reaches, and on tables.

use pgrx::pg_sys;

use crate::pg::relation;

/// Locks the pair (`class`, `object`) against other backends that lock the same pair, to the end
/// of the transaction; a wait for it can be cancelled. No SQL statement reaches such a lock, so
/// no user can hold it to keep others out.
pub fn lock_object(class: pg_sys::Oid, object: pg_sys::Oid) {
    // SAFETY: a lock tag needs no existing object.
    unsafe { pg_sys::LockDatabaseObject(class, object, 0, MODE) }
}

/// As [`lock_object`], without a wait: false when another backend holds it. PostgreSQL's own function
/// for that came with minor releases of late 2024.
pub fn try_lock_object(class: pg_sys::Oid, object: pg_sys::Oid) -> bool {
    let tag = pg_sys::LOCKTAG {
        // SAFETY: reads a variable of this backend.
        locktag_field1: unsafe { pg_sys::MyDatabaseId }.to_u32(),
        locktag_field2: class.to_u32(),
        locktag_field3: object.to_u32(),
        locktag_field4: 0,
        locktag_type: pg_sys::LockTagType::LOCKTAG_OBJECT as u8,
        locktag_lockmethodid: pg_sys::DEFAULT_LOCKMETHOD as u8,
    };
    // SAFETY: a lock tag needs no existing object; who has the lock sees what was committed before.
    unsafe {
        let outcome = pg_sys::LockAcquire(&tag, MODE, false, true);
        let is_held = outcome != pg_sys::LockAcquireResult::LOCKACQUIRE_NOT_AVAIL;
        if is_held {
            pg_sys::AcceptInvalidationMessages();
        }
        is_held
    }
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

/// Gives [`keep_relation`]'s lock back before the transaction ends, once for each time it was taken.
pub fn let_relation_go(relation: pg_sys::Oid) {
    // SAFETY: as above; PostgreSQL warns where the lock is not held.
    unsafe { pg_sys::UnlockRelationOid(relation, KEEP) }
}

/// As [`keep_relation`], without a wait: false when another backend holds it.
pub fn try_keep_relation(relation: pg_sys::Oid) -> bool {
    // SAFETY: as above.
    unsafe { pg_sys::ConditionalLockRelationOid(relation, KEEP) }
}

/// Takes the lock of who writes to `relation`, without a wait: false when another backend's keeps
/// writers out.
pub fn try_write_relation(relation: pg_sys::Oid) -> bool {
    // SAFETY: as above.
    unsafe { pg_sys::ConditionalLockRelationOid(relation, WRITE) }
}

/// Locks `relation` against writers (SHARE ROW EXCLUSIVE) to the end of the transaction. Waits for every
/// transaction that has written to it, prepared ones too; who wants to write later waits behind.
pub fn keep_writers_out(relation: pg_sys::Oid) {
    // SAFETY: as in `keep_relation`.
    unsafe { pg_sys::LockRelationOid(relation, KEEP_OUT) }
}

/// As [`keep_writers_out`], without a wait: false when somebody is writing to it, or has and is not done.
pub fn try_keep_writers_out(relation: pg_sys::Oid) -> bool {
    // SAFETY: as in `keep_relation`.
    unsafe { pg_sys::ConditionalLockRelationOid(relation, KEEP_OUT) }
}

/// Gives [`keep_writers_out`]'s lock back before the transaction ends, once for each time it was taken.
pub fn let_writers_in(relation: pg_sys::Oid) {
    // SAFETY: as above; PostgreSQL warns where the lock is not held.
    unsafe { pg_sys::UnlockRelationOid(relation, KEEP_OUT) }
}

/// Whether this backend has locked `relation` against readers. It may be writing it anew just now: its rows are then still
/// those of the columns that it had.
pub fn is_ours_alone(relation: pg_sys::Oid) -> bool {
    let mode = pg_sys::AccessExclusiveLock as pg_sys::LOCKMODE;
    // SAFETY: looks into this backend's own table of locks.
    unsafe { pg_sys::CheckRelationOidLockedByMe(relation, mode, false) }
}

/// Whether this transaction has locked `relation` against writers, or against all others.
pub fn keeps_writers_out(relation: pg_sys::Oid) -> bool {
    // SAFETY: looks into this backend's own table of locks.
    unsafe { pg_sys::CheckRelationOidLockedByMe(relation, KEEP_OUT, true) }
}

/// `relation`, its partitions and its heirs, as they are now.
pub fn family(relation: pg_sys::Oid) -> Vec<pg_sys::Oid> {
    relation::family(relation, pg_sys::NoLock as pg_sys::LOCKMODE)
}

/// Keeps `relation`, its partitions and its heirs from being dropped to the end of the transaction.
/// Gives all of them that are there then, itself first.
pub fn keep_family(relation: pg_sys::Oid) -> Vec<pg_sys::Oid> {
    keep_relation(relation);
    relation::family(relation, KEEP)
}

/// Keeps `relation`, its partitions and its heirs from being dropped, and gives them; `None`, without a
/// wait, when another backend has locked one of them against readers.
pub fn try_keep_family(relation: pg_sys::Oid) -> Option<Vec<pg_sys::Oid>> {
    let family = family(relation);
    family.iter().all(|member| try_keep_relation(*member)).then_some(family)
}

const MODE: pg_sys::LOCKMODE = pg_sys::ExclusiveLock as pg_sys::LOCKMODE;
const KEEP: pg_sys::LOCKMODE = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
const KEEP_OUT: pg_sys::LOCKMODE = pg_sys::ShareRowExclusiveLock as pg_sys::LOCKMODE;
const WRITE: pg_sys::LOCKMODE = pg_sys::RowExclusiveLock as pg_sys::LOCKMODE;
