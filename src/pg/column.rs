//! Columns of a relation, by name and by type.

use std::ffi::CStr;

use pgrx::pg_sys;

use crate::pg::datum::owned_name;
use crate::pg::syscache;

/// A column, as far as sealed values are concerned.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// Of type bytea, or of a domain over it; its number.
    Bytea(i16),
    /// Of another type.
    Other,
    /// Not there.
    Missing,
}

/// The column of `relation` that bears `name`.
pub fn named(relation: pg_sys::Oid, name: &CStr) -> Column {
    // SAFETY: `name` is NUL-terminated; the answer is 0 for what is not there, or dropped.
    match unsafe { pg_sys::get_attnum(relation, name.as_ptr()) } {
        0 => Column::Missing,
        number if number > 0 && is_bytea(relation, number) => Column::Bytea(number),
        _ => Column::Other,
    }
}

/// Whether a column holds bytea, or a domain over it; false for one that is gone.
pub fn is_bytea(relation: pg_sys::Oid, number: i16) -> bool {
    // SAFETY: a look-up in the system cache; the type of a column that is gone is 0.
    base_type(unsafe { pg_sys::get_atttype(relation, number) }) == Some(pg_sys::BYTEAOID)
}

/// The type that `kind` is a domain over, at the end of the chain; `None` when one of them is gone
/// (PostgreSQL's own function raises then).
fn base_type(mut kind: pg_sys::Oid) -> Option<pg_sys::Oid> {
    let cache = pg_sys::SysCacheIdentifier::TYPEOID;
    let read = |row: &pg_sys::FormData_pg_type| {
        let is_domain = row.typtype as u8 == pg_sys::TYPTYPE_DOMAIN;
        is_domain.then_some(row.typbasetype)
    };
    loop {
        // SAFETY: types by OID.
        match unsafe { syscache::field(cache, pg_sys::Datum::from(kind), read) }? {
            Some(base) => kind = base,
            None => return Some(kind),
        }
    }
}

/// Whether a column is computed when it is read (from PostgreSQL 18 on).
pub fn is_virtual(relation: pg_sys::Oid, number: i16) -> bool {
    // SAFETY: a look-up in the system cache; 0 for what is not there or not generated.
    unsafe { pg_sys::get_attgenerated(relation, number) as u8 == b'v' }
}

/// The columns of `relation` that are of type bytea, or of a domain over it.
pub fn all_bytea(relation: pg_sys::Oid) -> Vec<i16> {
    // A dropped column keeps its number, and has no type.
    (1..=i16::MAX)
        .take_while(|number| name(relation, *number).is_some())
        .filter(|number| is_bytea(relation, *number))
        .collect()
}

/// The name of a column; `None` when there is none.
pub fn name(relation: pg_sys::Oid, number: i16) -> Option<String> {
    // SAFETY: with `missing_ok` the answer is null for what is not there.
    owned_name(unsafe { pg_sys::get_attname(relation, number, true) })
}
