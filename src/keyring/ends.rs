//! What the ends of transactions, of a client's use of the session and of the backend mean for keys.
//!
//! A key made in a transaction or savepoint that rolls back is in no catalog: it leaves the cache
//! at that moment, before anything else can be sealed under it. `PREPARE TRANSACTION` counts as an
//! end too: the key's fate is decided elsewhere. With nothing made, each end costs a branch
//! or two. What the cipher has left on the stack is overwritten here, too.

use std::cell::{Cell, RefCell};

use envelope::header::KeyId;
use envelope::secret::STACK_BYTES;
use pgrx::{pg_guard, pg_sys};

use super::stale::{flush, mark_stale};
use crate::memory::{self, cache, leases};
use crate::pg::xact::{self, End};
use crate::pg::{discard, shared, stack};
use crate::{audit, figures, kms};

thread_local! {
    /// Some key in the cache was made in a transaction that is still open.
    static MADE: Cell<bool> = const { Cell::new(false) };
    /// Keys whose leases end when the transaction commits.
    static UNLEASED: RefCell<Vec<KeyId>> = const { RefCell::new(Vec::new()) };
}

/// From now on every end is acted upon. To be called once.
pub fn watch() {
    xact::on_end(at_end);
    xact::on_exit(at_exit);
    shared::before_exit(figures::leave);
    // The session's next client is another: nothing of the former one's stays in memory.
    discard::on_discard_all(|| {
        flush();
    });
}

/// A key was made in the innermost transaction or savepoint that is open now.
pub fn key_made() {
    MADE.set(true);
}

/// The open transaction takes a key out of use, or a KEK from it: leases of it end when that is committed. Where it is
/// prepared and committed elsewhere, each backend sees by the catalog that the key does not open, or is wrapped no more by
/// the KEK that gave the lease.
pub fn end_leases(key_id: KeyId) {
    if leases::are_on() {
        UNLEASED.with_borrow_mut(|keys| keys.push(key_id));
    }
}

fn at_end(end: End) {
    if matches!(end, End::Abort | End::SubAbort { .. }) {
        // An error may have come while the KMS was asked for others as well.
        leases::let_go();
    }
    if matches!(end, End::Commit | End::Abort | End::Prepare) && leases::are_on() {
        let unleased = UNLEASED.take();
        if end == End::Commit {
            unleased.into_iter().for_each(leases::remove);
        }
    }
    if matches!(end, End::Commit | End::Abort | End::Prepare) {
        audit::end_statement();
        stack::overwrite_used(STACK_BYTES);
        figures::add_up(memory::holds_unlocked);
    }
    if !MADE.get() {
        return;
    }
    match end {
        End::SubCommit { sub, parent } => cache::hand_over(|made_in| made_in == sub, Some(parent)),
        End::SubAbort { sub } => {
            if cache::forget_made_in(|made_in| made_in == sub) {
                mark_stale();
            }
        }
        End::Commit => {
            cache::hand_over(|_| true, None);
            MADE.set(false);
        }
        End::Abort | End::Prepare => {
            cache::forget_made_in(|_| true);
            MADE.set(false);
            mark_stale();
        }
    }
}

/// PostgreSQL runs this without unwinding the stack, so that no destructor would.
#[pg_guard]
unsafe extern "C-unwind" fn at_exit(_code: std::ffi::c_int, _arg: pg_sys::Datum) {
    memory::wipe_all();
    kms::shutdown();
}
