//! How many values a statement opened, and how many terms it asked search indexes for, by table, key and role: one line
//! each when it is over, not one a row.
//!
//! It is over when the session's next statement that has to do with keys begins, or with the
//! transaction, however that ends. Names are looked up with the first of each: at the end of a
//! transaction the catalogs cannot be read.

use std::cell::RefCell;

use envelope::header::KeyId;
use pgrx::pg_sys;

use crate::audit::{Action, Event, key};
use crate::pg::state::Flag;
use crate::pg::{acl, relation, report};
use crate::settings;

/// There is something to tell at the end of the statement.
static HAS_COUNTED: Flag = Flag::new(false);

thread_local! {
    static COUNTED: RefCell<Vec<Counted>> = const { RefCell::new(Vec::new()) };
}

struct Counted {
    what: (Action, pg_sys::Oid, KeyId, pg_sys::Oid),
    count: u64,
    event: Event,
}

/// More are told of before the statement is over: a list that is gone through for each value.
const MOST: usize = 64;

/// A value of `relation`, under `key_id`, was opened for the current role.
#[inline(always)]
pub fn opened(relation: pg_sys::Oid, key_id: KeyId) {
    if settings::audits_all() {
        count(Action::Open, relation, key_id, 1);
    }
}

/// So many terms or tokens were made under `key_id`, to ask an index of `relation` for, for the current role. Whoever
/// tries one value after the other is seen by their number.
pub fn searched(relation: pg_sys::Oid, key_id: KeyId, terms: usize) {
    if settings::audits_all() {
        count(Action::Search, relation, key_id, terms as u64);
    }
}

#[inline(never)]
fn count(action: Action, relation: pg_sys::Oid, key_id: KeyId, count: u64) {
    let what = (action, relation, key_id, acl::current_role());
    let is_known = COUNTED.with_borrow_mut(|counted| {
        let known = counted.iter_mut().rev().find(|known| known.what == what);
        known.map(|known| known.count += count).is_some()
    });
    if !is_known {
        let mut event = Event::new(action);
        event.table = Some(relation::display_name(relation));
        event.key_id = key(key_id);
        if COUNTED.with_borrow(Vec::len) >= MOST {
            end_statement();
        }
        COUNTED.with_borrow_mut(|counted| counted.push(Counted { what, count, event }));
        HAS_COUNTED.set(true);
    }
}

/// The statement is over: tells what it did.
pub fn end_statement() {
    if HAS_COUNTED.take() {
        tell();
    }
}

#[inline(never)]
fn tell() {
    for mut counted in COUNTED.take() {
        counted.event.count = Some(counted.count);
        report::to_log(counted.event.line());
    }
}
