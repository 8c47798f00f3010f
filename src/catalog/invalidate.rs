//! How backends learn that the catalog has changed: PostgreSQL's own invalidation. Row triggers on
//! every table send a relcache invalidation of that table, with the commit; the callback in each
//! backend only marks, and the next call reads again.
//!
//! The same triggers, and [`envelope_keep_out`], keep everybody from writing who is neither the tables'
//! owner, as this extension's functions are, nor a superuser: to members of `pg_write_all_data`
//! PostgreSQL gives every table, this one of rights among them. Before each statement, or what the
//! statement itself calls would see its rows; by row for what logical replication applies.

#![allow(clippy::result_large_err, reason = "pgrx keeps the SQLSTATE of an ErrorReport alone")]

use std::cell::Cell;

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{pg_extern, pg_guard, pg_sys};

use crate::error::Error;
use crate::pg::acl;
use crate::pg::trigger::TriggerCall;

thread_local! {
    static CHANGED: Cell<fn()> = const { Cell::new(|| {}) };
}

/// From now on calls `changed` whenever a relation, a role, a membership or a database's owner (who
/// is the member of `pg_database_owner`) may have changed, as soon as this backend accepts
/// invalidations. `changed` must do no more than mark. To be called once.
pub fn watch(changed: fn()) {
    CHANGED.set(changed);
    // SAFETY: the functions live as long as the library.
    unsafe {
        let none = pg_sys::Datum::null();
        pg_sys::CacheRegisterRelcacheCallback(Some(relation_changed), none);
        for cache in [
            pg_sys::SysCacheIdentifier::AUTHOID,
            pg_sys::SysCacheIdentifier::AUTHMEMROLEMEM,
            pg_sys::SysCacheIdentifier::DATABASEOID,
        ] {
            pg_sys::CacheRegisterSyscacheCallback(
                cache as std::ffi::c_int,
                Some(role_changed),
                none,
            );
        }
    }
}

/// Every relation counts: the catalog's own tables, and tables whose owner, name or partitioning
/// may have changed. Reading again costs some tens of microseconds.
#[pg_guard]
unsafe extern "C-unwind" fn relation_changed(_arg: pg_sys::Datum, _relation: pg_sys::Oid) {
    CHANGED.get()();
}

#[pg_guard]
unsafe extern "C-unwind" fn role_changed(
    _arg: pg_sys::Datum,
    _cache: std::ffi::c_int,
    _hash: pg_sys::uint32,
) {
    CHANGED.get()();
}

/// Trigger of the catalog's tables. ENABLE ALWAYS and by row: a statement trigger does not fire
/// when logical replication applies a change.
#[pg_extern(sql = false)]
fn envelope_invalidate(fcinfo: pg_sys::FunctionCallInfo) -> Result<(), ErrorReport> {
    if let Some(relation) = written_by_its_owner(fcinfo)? {
        // SAFETY: the trigger's relation is open and locked.
        unsafe { pg_sys::CacheInvalidateRelcacheByRelid(relation) };
    }
    Ok(())
}

/// Trigger that keeps others out, and does no more.
#[pg_extern(sql = false)]
fn envelope_keep_out(fcinfo: pg_sys::FunctionCallInfo) -> Result<(), ErrorReport> {
    Ok(written_by_its_owner(fcinfo).map(|_| ())?)
}

/// The table that a trigger is called for; 42501 when another than its owner writes to it.
fn written_by_its_owner(
    fcinfo: pg_sys::FunctionCallInfo,
) -> crate::error::Result<Option<pg_sys::Oid>> {
    // SAFETY: the call's own information.
    let Some(trigger) = (unsafe { TriggerCall::from_fcinfo(fcinfo) }) else { return Ok(None) };
    let relation = trigger.relation_oid();
    if acl::owns_relation(acl::current_role(), relation) {
        Ok(Some(relation))
    } else {
        Err(Error::SuperuserOnly {
            what: "change the tables of schema envelope",
            hint: "The functions of that schema change them.",
        })
    }
}
