//! `DISCARD ALL`: what a pooler says before it gives a session to the next client.
//!
//! PostgreSQL tells extensions of it in one way only, the hook before every utility statement. Ours
//! looks at the statement's tag and hands everything on. It has nothing to drop and is not guarded
//! as pgrx guards such calls: an error passes by as it is, while pgrx's guard would take it apart
//! and put it together again, without SQLSTATEs of the user's own (`RAISE` in `DO` and `CALL`
//! passes here). That PostgreSQL's `longjmp` may leave such a frame is what RFC 2945 calls a plain
//! old frame.

use std::cell::Cell;
use std::ffi::c_char;

use pgrx::pg_sys;

thread_local! {
    static ON_DISCARD: Cell<Option<fn()>> = const { Cell::new(None) };
    static PREVIOUS: Cell<pg_sys::ProcessUtility_hook_type> = const { Cell::new(None) };
}

/// From now on calls `callback` before `DISCARD ALL`. To be called once; `callback` must not raise.
pub fn on_discard_all(callback: fn()) {
    ON_DISCARD.set(Some(callback));
    // SAFETY: a backend has one thread; the function lives as long as the library, and calls
    // whoever was there before.
    unsafe {
        PREVIOUS.set(pg_sys::ProcessUtility_hook);
        pg_sys::ProcessUtility_hook = Some(process_utility);
    }
}

unsafe extern "C-unwind" fn process_utility(
    statement: *mut pg_sys::PlannedStmt,
    text: *const c_char,
    read_only_tree: bool,
    context: pg_sys::ProcessUtilityContext::Type,
    params: pg_sys::ParamListInfo,
    environment: *mut pg_sys::QueryEnvironment,
    receiver: *mut pg_sys::DestReceiver,
    completion: *mut pg_sys::QueryCompletion,
) {
    let next = PREVIOUS.get().unwrap_or(standard_ProcessUtility);
    // SAFETY: PostgreSQL hands a utility statement in; everything goes on as it came.
    unsafe {
        if is_discard_all(statement)
            && let Some(callback) = ON_DISCARD.get()
        {
            callback();
        }
        next(statement, text, read_only_tree, context, params, environment, receiver, completion);
    }
}

/// # Safety
/// `statement` is a utility statement.
unsafe fn is_discard_all(statement: *const pg_sys::PlannedStmt) -> bool {
    // SAFETY: by contract; a node's tag says what it is.
    unsafe {
        let node = (*statement).utilityStmt;
        (*node).type_ == pg_sys::NodeTag::T_DiscardStmt
            && (*node.cast::<pg_sys::DiscardStmt>()).target == pg_sys::DiscardMode::DISCARD_ALL
    }
}

unsafe extern "C-unwind" {
    // tcop/utility.h; pgrx's own binding of it is guarded.
    fn standard_ProcessUtility(
        statement: *mut pg_sys::PlannedStmt,
        text: *const c_char,
        read_only_tree: bool,
        context: pg_sys::ProcessUtilityContext::Type,
        params: pg_sys::ParamListInfo,
        environment: *mut pg_sys::QueryEnvironment,
        receiver: *mut pg_sys::DestReceiver,
        completion: *mut pg_sys::QueryCompletion,
    );
}
