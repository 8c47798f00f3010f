//! What a function call carries beside its arguments.

use pgrx::pg_sys;

/// Whether this is the first call from this place in this execution of its statement; notes that
/// it was made. PostgreSQL clears the note when the statement's execution begins.
///
/// # Safety
/// `fcinfo` is the call's own.
pub unsafe fn is_first(fcinfo: pg_sys::FunctionCallInfo) -> bool {
    // SAFETY: by contract; nothing reads through the note, it is only compared with null.
    unsafe {
        let Some(info) = (*fcinfo).flinfo.as_mut() else { return true };
        let first = info.fn_extra.is_null();
        info.fn_extra = std::ptr::dangling_mut::<u8>().cast();
        first
    }
}
