//! When to look again: what this backend knows of the catalog, of rights and of settings may have
//! changed. Callbacks only mark; the next call acts.

use pgrx::pg_sys;

use crate::error::{Error, Result};
use crate::keyring::{ends, table};
use crate::memory::leases::{self, News};
use crate::memory::{cache, identity};
use crate::pg::state::{Flag, Number};
use crate::pg::{acl, clock};
use crate::{audit, catalog, pg};

static STALE: Flag = Flag::new(false);
/// How often everything remembered was to be forgotten.
static RESETS: Number = Number::new(0);
static IS_WATCHING: Flag = Flag::new(false);
/// When the client's current statement began, as far as is known here.
static STATEMENT: Number = Number::new(0);
/// When it was last asked what other backends have committed, on [`clock::monotonic_ms`]'s scale.
static ASKED_AT: Number = Number::new(0);

/// Something changed; safe to call from any callback.
pub fn mark_stale() {
    STALE.set(true);
}

/// A setting changed; safe to call from its assign hook.
pub fn settings_changed() {
    STALE.set(true);
    RESETS.count();
}

/// Wipes every unwrapped key of this backend, and has what the KMS refused be forgotten; how many keys
/// there were.
pub fn flush() -> usize {
    RESETS.count();
    cache::flush()
}

/// As [`flush`], by who wants to be asked for anew: what the KMS refused others does not count here either.
pub fn flush_own() -> usize {
    leases::distrust_refusals();
    flush()
}

/// Wipes every unwrapped key of every backend, and takes all leases away; how many keys this backend had. For
/// superusers.
pub fn flush_everywhere() -> Result<usize> {
    const WHAT: &str = "flush the keys of all sessions";
    if !acl::is_superuser() {
        let hint = "Only superusers may, as all sessions ask their KMS anew then. envelope.flush_cache() wipes \
                    the keys of this session.";
        return Err(Error::SuperuserOnly { what: WHAT, hint });
    }
    if leases::flush_everywhere() { Ok(flush_own()) } else { Err(Error::NeedsPreload(WHAT)) }
}

/// Acts upon what others have done with the keys of all.
fn hear(news: News) {
    match news {
        News::None => {}
        News::Leases => cache::wipe_leased(),
        News::All => {
            flush_own();
        }
    }
}

/// Another number whenever nothing is to count that the KMS has answered so far.
pub fn resets() -> u64 {
    RESETS.get()
}

/// To be called at the head of every SQL function: learns what other backends have committed, and
/// drops what is no longer known to be true. That is at the beginning of a statement, which `fcinfo`
/// tells also inside a function (not without it: set-returning functions keep their own state where
/// the note of it would stand); and at every tick of the clock, since a statement may be long, and
/// PL/pgSQL's assignments are none: `x := envelope_encrypt(…)` in a loop would go on with a key that
/// was destroyed, or with a right that was taken away.
pub fn begin_statement(fcinfo: Option<pg_sys::FunctionCallInfo>) {
    if !IS_WATCHING.get() {
        IS_WATCHING.set(true);
        catalog::watch(mark_stale);
        ends::watch();
    }
    // SAFETY: the call's own information.
    let first_call = fcinfo.is_some_and(|fcinfo| unsafe { pg::call::is_first(fcinfo) });
    // Only compared, so that the sign does not matter.
    let statement = pg::xact::statement_start() as u64;
    let is_next = STATEMENT.get() != statement;
    if is_next {
        STATEMENT.set(statement);
        audit::end_statement();
    }
    let now = clock::monotonic_ms();
    if is_next || first_call || now != ASKED_AT.get() {
        ASKED_AT.set(now);
        catch_up();
    } else if STALE.take() {
        look_again();
    }
}

/// Learns what others have committed, and drops what is no longer known to be true.
pub fn catch_up() {
    pg::xact::accept_invalidations();
    hear(leases::news());
    if STALE.take() {
        look_again();
    }
}

/// Nothing read before counts from here on.
pub fn look_again() {
    table::forget_all();
    cache::doubt_all();
    identity::changed();
}
