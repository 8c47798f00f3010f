//! Who is asking, and what PostgreSQL says they may do.

use std::ffi::{CStr, CString};

use pgrx::pg_sys;

use crate::pg::datum::{owned_cstring, owned_name};
use crate::pg::{relation, syscache};

unsafe extern "C" {
    // miscadmin.h. pgrx's binding guards against errors, which costs a row more than all else here.
    fn GetUserId() -> pg_sys::Oid;
}

/// The role whose rights count now: inside a SECURITY DEFINER function, its owner.
pub fn current_role() -> pg_sys::Oid {
    // SAFETY: reads a variable of this backend, and raises nothing.
    unsafe { GetUserId() }
}

/// The role that logged in, whatever SET SESSION AUTHORIZATION and SET ROLE have said since.
pub fn login_role() -> pg_sys::Oid {
    // SAFETY: reads a variable of this backend.
    unsafe { pg_sys::GetAuthenticatedUserId() }
}

/// Whether the current role is a superuser.
pub fn is_superuser() -> bool {
    // SAFETY: looks the current role up in the system cache.
    unsafe { pg_sys::superuser() }
}

/// Whether `role` is a superuser.
pub fn is_superuser_role(role: pg_sys::Oid) -> bool {
    // SAFETY: a look-up in the system cache; false for a role that is gone.
    unsafe { pg_sys::superuser_arg(role) }
}

/// Whether `role` owns `relation`: by itself, as a member of the owner, or as a superuser.
/// Raises PostgreSQL's own error when the relation is gone.
pub fn owns_relation(role: pg_sys::Oid, relation: pg_sys::Oid) -> bool {
    // SAFETY: looks both up in the system cache.
    unsafe {
        #[cfg(any(feature = "pg14", feature = "pg15"))]
        return pg_sys::pg_class_ownercheck(relation, role);
        #[cfg(not(any(feature = "pg14", feature = "pg15")))]
        return pg_sys::object_ownercheck(pg_sys::RelationRelationId, relation, role);
    }
}

/// Whether `role` may SELECT that column of `relation`, by a right on it or on all.
pub fn may_read_column(role: pg_sys::Oid, relation: pg_sys::Oid, column: i16) -> bool {
    let select = pg_sys::ACL_SELECT as pg_sys::AclMode;
    let yes = pg_sys::AclResult::ACLCHECK_OK;
    // SAFETY: look both up in the system cache.
    unsafe {
        pg_sys::pg_class_aclcheck(relation, role, select) == yes
            || pg_sys::pg_attribute_aclcheck(relation, column, role, select) == yes
    }
}

/// Whether `role` may SELECT all of `relation`, by a right on it.
pub fn may_read(role: pg_sys::Oid, relation: pg_sys::Oid) -> bool {
    let select = pg_sys::ACL_SELECT as pg_sys::AclMode;
    // SAFETY: looks both up in the system cache.
    let found = unsafe { pg_sys::pg_class_aclcheck(relation, role, select) };
    found == pg_sys::AclResult::ACLCHECK_OK
}

/// Whether `role` may SELECT a column of `relation`, whichever.
pub fn may_read_some(role: pg_sys::Oid, relation: pg_sys::Oid) -> bool {
    let select = pg_sys::ACL_SELECT as pg_sys::AclMode;
    let yes = pg_sys::AclResult::ACLCHECK_OK;
    let any = pg_sys::AclMaskHow::ACLMASK_ANY;
    // SAFETY: look both up in the system cache.
    unsafe {
        pg_sys::pg_class_aclcheck(relation, role, select) == yes
            || pg_sys::pg_attribute_aclcheck_all(relation, role, select, any) == yes
    }
}

/// Whether `role` has the rights of `other`: is it, inherits from it, or is a superuser. One that
/// was dropped has no members.
pub fn has_rights_of(role: pg_sys::Oid, other: pg_sys::Oid) -> bool {
    // SAFETY: walks memberships in the system cache.
    unsafe { pg_sys::has_privs_of_role(role, other) }
}

/// As [`has_rights_of`], but superusers have no more than others: by being it or inheriting from it.
pub fn is_or_inherits(role: pg_sys::Oid, other: pg_sys::Oid) -> bool {
    // SAFETY: walks memberships in the system cache.
    unsafe { role == other || pg_sys::is_member_of_role_nosuper(role, other) }
}

/// Whether `role` may look at what goes on in the server: is or inherits from pg_monitor, or is a superuser.
pub fn may_monitor(role: pg_sys::Oid) -> bool {
    has_rights_of(role, pg_sys::Oid::from(pg_sys::ROLE_PG_MONITOR))
}

/// The owner of this database.
pub fn database_owner() -> Option<pg_sys::Oid> {
    let cache = pg_sys::SysCacheIdentifier::DATABASEOID;
    let read = |database: &pg_sys::FormData_pg_database| database.datdba;
    // SAFETY: databases by OID; a variable of this backend.
    unsafe { syscache::field(cache, pg_sys::Datum::from(pg_sys::MyDatabaseId), read) }
}

/// Whether there is such a role.
pub fn role_exists(role: pg_sys::Oid) -> bool {
    quoted_role(role).is_some()
}

/// The role of exactly that name, if there is one.
pub fn role_called(name: &CStr) -> Option<pg_sys::Oid> {
    // SAFETY: `name` is NUL-terminated; with `missing_ok` a missing role gives 0.
    let role = unsafe { pg_sys::get_role_oid(name.as_ptr(), true) };
    (role != pg_sys::InvalidOid).then_some(role)
}

/// The name of a role in the server's encoding, quoted where SQL needs it; `None` when it is gone.
pub fn quoted_role(role: pg_sys::Oid) -> Option<CString> {
    // SAFETY: with `noerr` a missing role gives a null pointer; quoting gives its argument back
    // or a palloc'd string.
    unsafe {
        let name = owned_cstring(pg_sys::GetUserNameFromId(role, true))?;
        Some(CStr::from_ptr(pg_sys::quote_identifier(name.as_ptr())).to_owned())
    }
}

/// For people and logs: the name without quotes, or the OID of a role that is gone.
pub fn display_role(role: pg_sys::Oid) -> String {
    // SAFETY: with `noerr` a missing role gives a null pointer.
    let name = unsafe { owned_name(pg_sys::GetUserNameFromId(role, true)) };
    name.unwrap_or_else(|| format!("with OID {}", role.to_u32()))
}

/// The role that bears `name` (as SQL would quote it), if one does.
pub fn role_named(name: &CStr) -> Option<pg_sys::Oid> {
    // SAFETY: the parser raises on what is no name; with `missing_ok` a missing role gives 0.
    let role = unsafe {
        let names = relation::name_list(name);
        if (*names).length != 1 {
            return None;
        }
        pg_sys::get_role_oid(pg_sys::NameListToString(names), true)
    };
    (role != pg_sys::InvalidOid).then_some(role)
}
