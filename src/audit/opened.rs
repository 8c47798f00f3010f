//! How many values a statement opened, by table, key and role: one line each when it is over, not
//! one a row.
//!
//! It is over when the session's next statement that has to do with keys begins, or with the
//! transaction, however that ends. Names are looked up with the first value: at the end of a
//! transaction the catalogs cannot be read.

use std::cell::RefCell;

use envelope::header::KeyId;
use pgrx::pg_sys;

use crate::audit::{Action, Event, key};
use crate::pg::state::Flag;
use crate::pg::{acl, relation, report};
use crate::settings::{self, AuditLevel};

/// There is something to tell at the end of the statement.
static HAS_OPENED: Flag = Flag::new(false);

thread_local! {
    static OPENED: RefCell<Vec<Opened>> = const { RefCell::new(Vec::new()) };
}

struct Opened {
    what: (pg_sys::Oid, KeyId, pg_sys::Oid),
    count: u64,
    event: Event,
}

/// More are told of before the statement is over: a list that is gone through for each value.
const MOST: usize = 64;

/// A value of `relation`, under `key_id`, was opened for the current role.
pub fn opened(relation: pg_sys::Oid, key_id: KeyId) {
    if settings::audit() < AuditLevel::All {
        return;
    }
    let what = (relation, key_id, acl::current_role());
    let counted = OPENED.with_borrow_mut(|opened| {
        let known = opened.iter_mut().rev().find(|known| known.what == what);
        known.map(|known| known.count += 1).is_some()
    });
    if !counted {
        let mut event = Event::new(Action::Open);
        event.table = Some(relation::display_name(relation));
        event.key_id = key(key_id);
        if OPENED.with_borrow(Vec::len) >= MOST {
            end_statement();
        }
        OPENED.with_borrow_mut(|opened| opened.push(Opened { what, count: 1, event }));
        HAS_OPENED.set(true);
    }
}

/// The statement is over: tells what it opened.
pub fn end_statement() {
    if HAS_OPENED.take() {
        tell();
    }
}

#[inline(never)]
fn tell() {
    for mut opened in OPENED.take() {
        opened.event.count = Some(opened.count);
        report::to_log(opened.event.line());
    }
}
