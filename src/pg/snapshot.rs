//! What the statement that is running sees of what others have written.

use pgrx::pg_sys;

unsafe extern "C" {
    // utils/snapmgr.h. They raise nothing; pgrx's bindings guard against errors, which a question need not pay for.
    fn ActiveSnapshotSet() -> bool;
    fn GetActiveSnapshot() -> pg_sys::Snapshot;
}

/// The transaction that has written a version of a row.
///
/// # Safety
/// The tuple is one that is stored.
pub unsafe fn writer_of(tuple: pg_sys::HeapTuple) -> pg_sys::TransactionId {
    // SAFETY: by contract. Of a version that all see the number may be one that was given again since.
    unsafe {
        let header = (*tuple).t_data;
        let frozen = pg_sys::HEAP_XMIN_FROZEN as u16;
        if (*header).t_infomask & frozen == frozen {
            return pg_sys::FrozenTransactionId;
        }
        (*header).t_choice.t_heap.t_xmin
    }
}

/// Whether the snapshot of the running statement has what that transaction has written, which is committed, or is this
/// one. In a transaction that reads by one snapshot all the time others may have written since.
pub fn sees(writer: pg_sys::TransactionId) -> bool {
    if is_long_over(writer) {
        return true;
    }
    // SAFETY: a snapshot that is active lives; a number is looked up in it, and in this transaction's own.
    unsafe {
        if !pg_sys::ActiveSnapshotSet() || pg_sys::TransactionIdIsCurrentTransactionId(writer) {
            return true;
        }
        let snapshot = pg_sys::GetActiveSnapshot();
        (*snapshot).snapshot_type != pg_sys::SnapshotType::SNAPSHOT_MVCC
            || !pg_sys::XidInMVCCSnapshot(writer, snapshot)
    }
}

/// Whether it was over before any that was running when the snapshot of the running statement was taken began.
fn is_long_over(writer: pg_sys::TransactionId) -> bool {
    let number = u32::from(writer);
    if number <= u32::from(pg_sys::FrozenTransactionId) {
        return true;
    }
    // SAFETY: a snapshot that is active lives.
    unsafe {
        if !ActiveSnapshotSet() {
            return true;
        }
        let snapshot = GetActiveSnapshot();
        // Numbers go round: which is the earlier one, their difference says.
        (*snapshot).snapshot_type == pg_sys::SnapshotType::SNAPSHOT_MVCC
            && number.wrapping_sub(u32::from((*snapshot).xmin)) as i32 <= -1
    }
}
