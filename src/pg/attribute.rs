//! What PostgreSQL says of a relation's columns, whatever they hold.

use std::ffi::CStr;

use pgrx::pg_sys;

use crate::pg::column::base_type;

/// The number of the column that bears `name`; `None` when there is none, or it is PostgreSQL's own.
pub fn number(relation: pg_sys::Oid, name: &CStr) -> Option<i16> {
    // SAFETY: `name` is NUL-terminated; the answer is 0 for what is not there, or dropped.
    Some(unsafe { pg_sys::get_attnum(relation, name.as_ptr()) }).filter(|number| *number > 0)
}

/// The type of a column, and its modifier, -1 for none; type 0 of what is gone.
pub fn type_of(relation: pg_sys::Oid, number: i16) -> (pg_sys::Oid, i32) {
    read(relation, number, |attribute| (attribute.atttypid, attribute.atttypmod))
        .unwrap_or((pg_sys::InvalidOid, -1))
}

/// Whether PostgreSQL computes it.
pub fn is_generated(relation: pg_sys::Oid, number: i16) -> bool {
    read(relation, number, |attribute| attribute.attgenerated != 0).unwrap_or(false)
}

/// Whether it is declared NOT NULL.
pub fn is_not_null(relation: pg_sys::Oid, number: i16) -> bool {
    read(relation, number, |attribute| attribute.attnotnull).unwrap_or(false)
}

/// Whether values may be bound to columns of that type: its text is the same under all settings.
pub fn may_be_bound(kind: pg_sys::Oid) -> bool {
    let types = [
        pg_sys::INT2OID,
        pg_sys::INT4OID,
        pg_sys::INT8OID,
        pg_sys::UUIDOID,
        pg_sys::TEXTOID,
        pg_sys::VARCHAROID,
        pg_sys::BYTEAOID,
    ];
    base_type(kind).is_some_and(|base| types.contains(&base))
}

fn read<T>(
    relation: pg_sys::Oid,
    number: i16,
    read: impl FnOnce(&pg_sys::FormData_pg_attribute) -> T,
) -> Option<T> {
    // SAFETY: columns by relation and number; the tuple is released after its fields were read. Those that are
    // dropped are not found.
    unsafe {
        let tuple = pg_sys::SearchSysCacheAttNum(relation, number);
        if tuple.is_null() {
            return None;
        }
        let value = read(&*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_attribute>());
        pg_sys::ReleaseSysCache(tuple);
        Some(value)
    }
}
