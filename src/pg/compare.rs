//! Values in the order of their type.

use std::cmp::Ordering;

use pgrx::pg_sys::{self, Datum, Oid};

/// How two values of type `kind` compare, as PostgreSQL's B-tree has it; `None` for a type without an order.
///
/// # Safety
/// Both are non-null values of the type, whose order depends on no collation.
pub unsafe fn compare(kind: Oid, one: Datum, other: Datum) -> Option<Ordering> {
    // SAFETY: by contract; the cache's entry stays, with the function of its type.
    unsafe {
        let entry = pg_sys::lookup_type_cache(kind, pg_sys::TYPECACHE_CMP_PROC_FINFO as i32);
        if (*entry).cmp_proc == pg_sys::InvalidOid {
            return None;
        }
        let function = &raw mut (*entry).cmp_proc_finfo;
        let order = pg_sys::FunctionCall2Coll(function, pg_sys::InvalidOid, one, other);
        Some((order.value() as i32).cmp(&0))
    }
}
