//! Transactions: their ends, their nesting, what they forbid.

use pgrx::pg_sys;

use crate::pg::copy_line;
use crate::pg::state::Number;

unsafe extern "C" {
    // access/xact.h. pgrx's binding guards against errors, which a row need not pay for.
    fn GetCurrentStatementStartTimestamp() -> pg_sys::TimestampTz;
}

/// How a transaction or savepoint ended, as told to [`on_end`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The transaction committed.
    Commit,
    /// The transaction rolled back.
    Abort,
    /// `PREPARE TRANSACTION`: it goes on without this backend.
    Prepare,
    /// The savepoint was released into the one around it.
    SubCommit { sub: u32, parent: u32 },
    /// The savepoint was rolled back.
    SubAbort { sub: u32 },
}

/// Counts the top-level transactions whose ends are watched, from 1.
static NUMBER: Number = Number::new(1);

/// A number that no other top-level transaction of this process has, once [`on_end`] was called; never 0.
pub fn number() -> u64 {
    NUMBER.get()
}

/// Calls `callback` at the end of every transaction and savepoint of this backend from now on.
/// To be called once; `callback` must not raise.
pub fn on_end(callback: fn(End)) {
    let arg = callback as *mut std::ffi::c_void;
    // SAFETY: the functions live as long as the library, and PostgreSQL hands `arg` back as is.
    unsafe {
        pg_sys::RegisterXactCallback(Some(at_xact_end), arg);
        pg_sys::RegisterSubXactCallback(Some(at_subxact_end), arg);
    }
}

/// Told before the end, too, which goes by without a guard.
unsafe extern "C-unwind" fn at_xact_end(
    event: pg_sys::XactEvent::Type,
    arg: *mut std::ffi::c_void,
) {
    use pg_sys::XactEvent::*;
    let end = match event {
        XACT_EVENT_COMMIT | XACT_EVENT_PARALLEL_COMMIT => End::Commit,
        XACT_EVENT_ABORT | XACT_EVENT_PARALLEL_ABORT => {
            copy_line::put_locale_back();
            End::Abort
        }
        XACT_EVENT_PREPARE => End::Prepare,
        _ => return,
    };
    NUMBER.count();
    // SAFETY: the argument that `on_end` registered.
    unsafe { tell(end, arg) };
}

unsafe extern "C-unwind" fn at_subxact_end(
    event: pg_sys::SubXactEvent::Type,
    sub: pg_sys::SubTransactionId,
    parent: pg_sys::SubTransactionId,
    arg: *mut std::ffi::c_void,
) {
    use pg_sys::SubXactEvent::*;
    let end = match event {
        SUBXACT_EVENT_COMMIT_SUB => End::SubCommit { sub, parent },
        SUBXACT_EVENT_ABORT_SUB => {
            copy_line::put_locale_back();
            End::SubAbort { sub }
        }
        _ => return,
    };
    // SAFETY: the argument that `on_end` registered.
    unsafe { tell(end, arg) };
}

/// Calls the callback behind `arg`.
unsafe fn tell(end: End, arg: *mut std::ffi::c_void) {
    // SAFETY: `on_end` registered exactly this kind of pointer; the guard stops a panic of the
    // callback.
    unsafe {
        let callback: fn(End) = std::mem::transmute(arg);
        pg_sys::panic::pgrx_extern_c_guard(|| callback(end));
    }
}

/// The innermost transaction or savepoint that is open now.
pub fn current_sub() -> u32 {
    // SAFETY: reads a variable of this backend.
    unsafe { pg_sys::GetCurrentSubTransactionId() }
}

/// Whether that transaction or savepoint is open now.
pub fn is_open(sub: u32) -> bool {
    // SAFETY: looks through the savepoints of this backend.
    unsafe { pg_sys::SubTransactionIsActive(sub) }
}

/// Why this transaction cannot write to the catalog, if it cannot.
pub fn forbids_writing() -> Option<&'static str> {
    // SAFETY: these read variables of this backend and of shared memory.
    unsafe {
        if pg_sys::IsInParallelMode() {
            Some("during a parallel operation")
        } else if pg_sys::RecoveryInProgress() {
            Some("during recovery")
        } else if pg_sys::XactReadOnly {
            Some("in a read-only transaction")
        } else {
            None
        }
    }
}

/// Whether that transaction is this session's own, or part of it.
pub fn is_own(number: u32) -> bool {
    // SAFETY: looks through the transactions of this backend.
    unsafe { pg_sys::TransactionIdIsCurrentTransactionId(pg_sys::TransactionId::from(number)) }
}

/// Whether this transaction has written anything so far.
pub fn has_written() -> bool {
    // SAFETY: reads a variable of this backend.
    unsafe { pg_sys::GetTopTransactionIdIfAny() != pg_sys::InvalidTransactionId }
}

/// Whether this server is a standby, or still recovers.
pub fn is_in_recovery() -> bool {
    // SAFETY: reads a variable of shared memory.
    unsafe { pg_sys::RecoveryInProgress() }
}

/// Whether the client has begun a transaction block, which a procedure cannot end.
pub fn is_block() -> bool {
    // SAFETY: reads a variable of this backend.
    unsafe { pg_sys::IsTransactionBlock() }
}

/// Whether what the transaction reads can end others, or itself, for what they write.
pub fn is_serializable() -> bool {
    // SAFETY: a variable of this backend.
    unsafe { pg_sys::XactIsoLevel == pg_sys::XACT_SERIALIZABLE as std::ffi::c_int }
}

/// Whether every statement of this transaction sees what others have committed before it.
pub fn is_read_committed() -> bool {
    // SAFETY: reads a variable of this backend.
    unsafe { pg_sys::XactIsoLevel <= pg_sys::XACT_READ_COMMITTED as std::ffi::c_int }
}

/// The moment the client's current statement began, in PostgreSQL's microseconds.
pub fn statement_start() -> i64 {
    // SAFETY: reads a variable of this backend, and raises nothing.
    unsafe { GetCurrentStatementStartTimestamp() }
}

/// Learns what other backends have changed; registered callbacks are called.
pub fn accept_invalidations() {
    // SAFETY: allowed wherever a lock may be taken; every SQL function is such a place.
    unsafe { pg_sys::AcceptInvalidationMessages() }
}

/// Calls `callback` when this backend ends, however it does short of a crash.
pub fn on_exit(callback: unsafe extern "C-unwind" fn(std::ffi::c_int, pg_sys::Datum)) {
    // SAFETY: the function lives as long as the library.
    unsafe { pg_sys::on_proc_exit(Some(callback), pg_sys::Datum::from(0usize)) }
}
