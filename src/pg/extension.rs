//! What belongs to an extension.

use std::ffi::CStr;

use pgrx::pg_sys;

/// Whether the extension `name` is installed in this database and `schema` is one of its objects.
/// Nobody but a superuser makes it one.
pub fn owns_schema(name: &CStr, schema: pg_sys::Oid) -> bool {
    owns(name, pg_sys::NamespaceRelationId, schema)
}

/// As [`owns_schema`], of a relation.
pub fn owns_relation(name: &CStr, relation: pg_sys::Oid) -> bool {
    owns(name, pg_sys::RelationRelationId, relation)
}

/// As [`owns_schema`], of a function.
pub fn owns_function(name: &CStr, function: pg_sys::Oid) -> bool {
    owns(name, pg_sys::ProcedureRelationId, function)
}

fn owns(name: &CStr, class: pg_sys::Oid, object: pg_sys::Oid) -> bool {
    // SAFETY: `name` is NUL-terminated; both look-ups give 0 for what is not there.
    unsafe {
        let extension = pg_sys::get_extension_oid(name.as_ptr(), true);
        extension != pg_sys::InvalidOid && pg_sys::getExtensionOfObject(class, object) == extension
    }
}
