//! Changes of relations, as PostgreSQL tells backends of them.

use std::sync::OnceLock;

use pgrx::{pg_guard, pg_sys};

static CALLBACK: OnceLock<fn(pg_sys::Oid)> = OnceLock::new();

/// From now on calls `changed` with every relation that may have changed, 0 for all, as soon as this backend accepts
/// invalidations. `changed` must do no more than mark. What comes after the first is not registered.
pub fn on_change(changed: fn(pg_sys::Oid)) {
    if CALLBACK.set(changed).is_ok() {
        // SAFETY: the function lives as long as the library.
        unsafe {
            pg_sys::CacheRegisterRelcacheCallback(Some(relation_changed), pg_sys::Datum::null());
        }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn relation_changed(_arg: pg_sys::Datum, relation: pg_sys::Oid) {
    if let Some(changed) = CALLBACK.get() {
        changed(relation);
    }
}
