//! Acting as another role for the length of a call, as SECURITY DEFINER functions do.

use std::ffi::CStr;

use pgrx::pg_sys;

use crate::pg::state::Number;
use crate::pg::{acl, relation, syscache};

/// How many are alive.
static ACTING: Number = Number::new(0);

/// While it lives, the current role is the owner of a schema or table, `search_path` is `pg_catalog`, and
/// nothing that runs can change role or leave a trigger for the transaction's end; dropping it puts
/// back what was. On an error PostgreSQL's own transaction abort does the same.
pub struct ActingAsOwner {
    role: pg_sys::Oid,
    security: std::ffi::c_int,
    guc_level: std::ffi::c_int,
}

impl ActingAsOwner {
    /// Becomes the owner of `schema`; `None` when the schema is gone.
    pub fn of_schema(schema: pg_sys::Oid) -> Option<ActingAsOwner> {
        schema_owner(schema).map(Self::acting_as)
    }

    /// Becomes the owner of `relation`, as ANALYZE does to read it: to plan a query over a table runs functions
    /// of its indexes and statistics. `None` when it is gone, or when the owner of its schema, who may put
    /// another relation in its place meanwhile, is one who does not have the rights of its owner anyway.
    pub fn of_relation(relation: pg_sys::Oid) -> Option<ActingAsOwner> {
        let (owner, schema) = relation::owner_and_schema(relation)?;
        let mut neighbour = schema_owner(schema)?;
        if neighbour == pg_sys::Oid::from(pg_sys::ROLE_PG_DATABASE_OWNER) {
            neighbour = acl::database_owner()?;
        }
        let trusted = acl::has_rights_of(neighbour, owner);
        trusted.then(|| Self::acting_as(owner))
    }

    fn acting_as(owner: pg_sys::Oid) -> ActingAsOwner {
        let mut acting = ActingAsOwner {
            role: pg_sys::InvalidOid,
            security: 0,
            // SAFETY: opens a level that `drop`, or the transaction's abort, closes.
            guc_level: unsafe { pg_sys::NewGUCNestLevel() },
        };
        ACTING.count();
        let switched = (pg_sys::SECURITY_LOCAL_USERID_CHANGE
            | pg_sys::SECURITY_RESTRICTED_OPERATION
            | pg_sys::SECURITY_NOFORCE_RLS) as std::ffi::c_int;
        // SAFETY: the pair read here is the pair put back; the strings are NUL-terminated.
        unsafe {
            pg_sys::GetUserIdAndSecContext(&mut acting.role, &mut acting.security);
            pg_sys::SetUserIdAndSecContext(owner, acting.security | switched);
        }
        set(c"search_path", c"pg_catalog, pg_temp");
        acting
    }

    /// For queries over many rows of which the planner knows nothing: it takes them for few, and would go through
    /// them once for each other. To compile a query costs more than to run it.
    pub fn expecting_many_rows(&self) {
        set(c"enable_nestloop", c"off");
        set(c"jit", c"off");
    }
}

/// Sets a setting up to the end of the level that is open.
fn set(name: &CStr, value: &CStr) {
    // SAFETY: both are NUL-terminated.
    unsafe {
        pg_sys::set_config_option(
            name.as_ptr(),
            value.as_ptr(),
            pg_sys::GucContext::PGC_USERSET,
            pg_sys::GucSource::PGC_S_SESSION,
            pg_sys::GucAction::GUC_ACTION_SAVE,
            true,
            0,
            false,
        );
    }
}

/// Whether one is alive: what is written now this extension writes.
pub fn is_acting() -> bool {
    ACTING.get() > 0
}

impl Drop for ActingAsOwner {
    fn drop(&mut self) {
        ACTING.set(ACTING.get().saturating_sub(1));
        if std::thread::panicking() {
            return;
        }
        // SAFETY: closes the level and puts back the pair that `of_schema` read.
        unsafe {
            pg_sys::AtEOXact_GUC(true, self.guc_level);
            pg_sys::SetUserIdAndSecContext(self.role, self.security);
        }
    }
}

/// The owner of `schema`; `None` when it is gone.
pub fn schema_owner(schema: pg_sys::Oid) -> Option<pg_sys::Oid> {
    let cache = pg_sys::SysCacheIdentifier::NAMESPACEOID;
    let read = |namespace: &pg_sys::FormData_pg_namespace| namespace.nspowner;
    // SAFETY: schemas by OID.
    unsafe { syscache::field(cache, pg_sys::Datum::from(schema), read) }
}
