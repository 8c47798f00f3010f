//! When to look again: what this backend knows of the catalog, of rights and of settings may have
//! changed. Callbacks only mark; the next call acts.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use pgrx::pg_sys;

use crate::keyring::{cache, ends, failures, identity, table};
use crate::pg::state::Flag;
use crate::{audit, catalog, pg};

static STALE: Flag = Flag::new(false);
static RESET: Flag = Flag::new(false);
static IS_WATCHING: Flag = Flag::new(false);
/// When the client's current statement began, as far as is known here.
static STATEMENT: AtomicI64 = AtomicI64::new(0);

/// Something changed; safe to call from any callback.
pub fn mark_stale() {
    STALE.set(true);
}

/// A setting changed; safe to call from its assign hook.
pub fn settings_changed() {
    STALE.set(true);
    RESET.set(true);
}

/// To be called at the head of every SQL function: learns what other backends have committed, once
/// a statement, and drops what is no longer known to be true. `fcinfo` tells a new statement,
/// also inside a function. Without it the client's statement counts: for set-returning functions,
/// which keep their own state where the note of it would stand.
pub fn begin_statement(fcinfo: Option<pg_sys::FunctionCallInfo>) {
    if !IS_WATCHING.get() {
        IS_WATCHING.set(true);
        catalog::watch(mark_stale);
        ends::watch();
    }
    // SAFETY: the call's own information.
    let first_call = fcinfo.is_some_and(|fcinfo| unsafe { pg::call::is_first(fcinfo) });
    let statement = pg::xact::statement_start();
    let is_next = STATEMENT.load(Relaxed) != statement;
    if is_next {
        STATEMENT.store(statement, Relaxed);
        audit::end_statement();
    }
    if is_next || first_call {
        pg::xact::accept_invalidations();
    }
    if STALE.take() {
        look_again();
    }
    if RESET.take() {
        failures::forget_all();
    }
}

/// Nothing read before counts from here on.
pub fn look_again() {
    table::forget_all();
    cache::doubt_all();
    identity::changed();
}
