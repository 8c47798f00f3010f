//! The constraints of domains.

use std::ffi::c_void;

use pgrx::pg_sys;

/// What PostgreSQL has prepared of the domains that a call checks: one around the value, one around its elements.
pub struct Checks {
    /// Where it is kept between rows; null: nowhere.
    context: pg_sys::MemoryContext,
    known: [(pg_sys::Oid, *mut c_void); 2],
}

impl Checks {
    /// For one value.
    pub fn once() -> Checks {
        Checks::kept_in(std::ptr::null_mut())
    }

    /// For values as long as `context` lives, which outlives this.
    pub fn kept_in(context: pg_sys::MemoryContext) -> Checks {
        Checks { context, known: [(pg_sys::InvalidOid, std::ptr::null_mut()); 2] }
    }

    /// Raises PostgreSQL's error if `value` (`None`: NULL), which is of the base type, breaks a constraint of
    /// `domain`. It names the domain and the constraint.
    pub fn check(&mut self, domain: pg_sys::Oid, value: Option<pg_sys::Datum>) {
        let (datum, is_null) = (value.unwrap_or(pg_sys::Datum::null()), value.is_none());
        let is_its = |known: &(pg_sys::Oid, _)| [domain, pg_sys::InvalidOid].contains(&known.0);
        let kept = self.known.iter_mut().find(|known| is_its(known));
        let prepared = match kept {
            Some(known) if !self.context.is_null() => {
                known.0 = domain;
                &raw mut known.1
            }
            _ => std::ptr::null_mut(),
        };
        // SAFETY: what was prepared belongs to the same domain, in a context that lives.
        unsafe { pg_sys::domain_check(datum, is_null, domain, prepared, self.context) }
    }
}
