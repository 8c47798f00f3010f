//! A statement run as `session_replication_role = replica` has it: triggers and rules of the usual kind do not fire.
//!
//! To set that for each batch of rows, and back, has PostgreSQL forget all plans of the session each time. Here the variable
//! alone is other for the length of a statement, whose own plan is made and kept as such. PostgreSQL has noted before what
//! the variable is to be again: who changes it by its setting meanwhile does not bring back what stands there in between.
//! What functions that the statement calls (those of a CHECK) plan meanwhile would be kept without the rules that were left
//! out: then all plans are forgotten. Not for statements that fire anything all the same, which would do so each time.

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_int};
use std::sync::OnceLock;

use pgrx::pg_sys;

use crate::pg::state::{Flag, Number};
use crate::pg::xact;

/// The subtransaction in which the variable was changed; 0: it is as it was.
static CHANGED_IN: Number = Number::new(0);
/// What it was.
static BEFORE: Number = Number::new(0);
/// The level at which PostgreSQL has noted that.
static LEVEL: Number = Number::new(0);
/// Another statement than the one that it is for was analysed meanwhile.
static HAS_ANALYSED: Flag = Flag::new(false);

thread_local! {
    /// The statement that it is for.
    static STATEMENT: RefCell<CString> = RefCell::default();
}

const REPLICA: c_int = pg_sys::SESSION_REPLICATION_ROLE_REPLICA as c_int;

/// The session plays what others have done for the length of `statement`, until [`end`] or an error; whether it has begun
/// to: not where it does already. PostgreSQL's own error when the role may not set that.
pub fn begin(statement: &CStr) -> bool {
    watch();
    // SAFETY: a variable of this backend.
    let before = unsafe { pg_sys::SessionReplicationRole };
    let is_new = before != REPLICA;
    let name = match before {
        REPLICA => c"replica",
        it if it == pg_sys::SESSION_REPLICATION_ROLE_LOCAL as c_int => c"local",
        _ => c"origin",
    };
    // SAFETY: the strings are NUL-terminated. It is set to what it is: PostgreSQL finds out whether it could be, for the
    // role that is asking, as its own `set_config` does, and notes it. The level is closed by `end`, or with the
    // transaction's or the savepoint's abort.
    unsafe {
        let context = match pg_sys::superuser() {
            true => pg_sys::GucContext::PGC_SUSET,
            false => pg_sys::GucContext::PGC_USERSET,
        };
        if is_new {
            LEVEL.set(pg_sys::NewGUCNestLevel() as u64);
        }
        pg_sys::set_config_option(
            c"session_replication_role".as_ptr(),
            name.as_ptr(),
            context,
            pg_sys::GucSource::PGC_S_SESSION,
            pg_sys::GucAction::GUC_ACTION_SAVE,
            is_new,
            0,
            false,
        );
    }
    if is_new {
        STATEMENT.with_borrow_mut(|it| statement.clone_into(it));
        HAS_ANALYSED.set(false);
        BEFORE.set(before as u64);
        CHANGED_IN.set(xact::current_sub().into());
        // SAFETY: a variable of this backend.
        unsafe { pg_sys::SessionReplicationRole = REPLICA };
    }
    is_new
}

/// It does no more: what [`begin`] has begun.
pub fn end() {
    if CHANGED_IN.get() != 0 {
        undo();
        // SAFETY: the level that `begin` has opened; those above it were closed.
        unsafe { pg_sys::AtEOXact_GUC(true, LEVEL.get() as c_int) };
    }
}

/// The transaction is rolled back, with the level.
pub fn undo() {
    if CHANGED_IN.get() != 0 {
        CHANGED_IN.set(0);
        // SAFETY: a variable of this backend, as it was; the other marks plans, and raises nothing.
        unsafe {
            pg_sys::SessionReplicationRole = BEFORE.get() as c_int;
            if HAS_ANALYSED.take() {
                pg_sys::ResetPlanCache();
            }
        }
    }
}

/// That subtransaction is rolled back: the statement that it was for has failed, unless it was one within it.
pub fn undo_with(sub: pg_sys::SubTransactionId) {
    if CHANGED_IN.get() == u64::from(sub) {
        undo();
    }
}

#[cfg(any(
    feature = "pg14",
    feature = "pg15",
    feature = "pg16",
    feature = "pg17",
    feature = "pg18"
))]
type Jumbled = *mut pg_sys::JumbleState;
#[cfg(not(any(
    feature = "pg14",
    feature = "pg15",
    feature = "pg16",
    feature = "pg17",
    feature = "pg18"
)))]
type Jumbled = *const pg_sys::JumbleState;

static PREVIOUS: OnceLock<pg_sys::post_parse_analyze_hook_type> = OnceLock::new();

/// From now on it is told of every statement that is analysed.
fn watch() {
    // SAFETY: the function lives as long as the library, and whoever was there before is called by ours.
    unsafe {
        if PREVIOUS.get().is_none() && PREVIOUS.set(pg_sys::post_parse_analyze_hook).is_ok() {
            pg_sys::post_parse_analyze_hook = Some(at_analysis);
        }
    }
}

/// The frame has nothing to drop, so that an error of the one who was there before may pass.
unsafe extern "C-unwind" fn at_analysis(
    state: *mut pg_sys::ParseState,
    query: *mut pg_sys::Query,
    jumbled: Jumbled,
) {
    if let Some(Some(previous)) = PREVIOUS.get() {
        // SAFETY: the arguments are handed on as they came.
        unsafe { previous(state, query, jumbled) };
    }
    if CHANGED_IN.get() != 0 && !HAS_ANALYSED.get() {
        // SAFETY: PostgreSQL's own; the text is NUL-terminated, if there is one.
        let text = unsafe { state.as_ref() }.map(|state| state.p_sourcetext);
        // SAFETY: as above.
        let text = text.filter(|text| !text.is_null()).map(|text| unsafe { CStr::from_ptr(text) });
        HAS_ANALYSED.set(STATEMENT.with_borrow(|it| text != Some(it.as_c_str())));
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
