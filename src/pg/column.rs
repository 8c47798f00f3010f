//! Columns of a relation, by name and by type.

use std::ffi::{CStr, CString};

use pgrx::pg_sys;

use crate::pg::datum::{owned_cstring, owned_name};
use crate::pg::state::Number;
use crate::pg::{encoding, relation, syscache};

/// A column, as far as sealed values are concerned.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// Of a type that holds sealed values ([`is_sealable`]); its number.
    Sealable(i16),
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
        number if number > 0 && holds_sealable(relation, number) => Column::Sealable(number),
        _ => Column::Other,
    }
}

/// Whether a column is of a type that holds sealed values; false for one that is gone.
pub fn holds_sealable(relation: pg_sys::Oid, number: i16) -> bool {
    // SAFETY: a look-up in the system cache; the type of a column that is gone is 0.
    is_sealable(unsafe { pg_sys::get_atttype(relation, number) })
}

/// Whether a type holds sealed values: bytea, `envelope.sealed`, or a domain over one of them.
#[inline]
pub fn is_sealable(kind: pg_sys::Oid) -> bool {
    is_plainly_sealable(kind)
        || base_type(kind).is_some_and(|base| is_plainly_sealable(base) || is_sealed_type(base))
}

/// Whether a type is known to be one of the two without a look into any cache: it is asked for every row.
#[inline]
fn is_plainly_sealable(kind: pg_sys::Oid) -> bool {
    kind == pg_sys::BYTEAOID || u64::from(kind.to_u32()) == SEALED_TYPE.get()
}

/// The OID of `envelope.sealed` when it was last seen; 0 before. A type made anew gets another one.
static SEALED_TYPE: Number = Number::new(0);

#[cold]
fn is_sealed_type(kind: pg_sys::Oid) -> bool {
    let schema = relation::schema_named(c"envelope");
    let sealed = schema.and_then(|schema| relation::type_in_schema(schema, c"sealed"));
    if let Some(sealed) = sealed {
        SEALED_TYPE.set(sealed.to_u32().into());
    }
    sealed == Some(kind)
}

/// The type that `kind` is a domain over, at the end of the chain; `None` when one of them is gone
/// (PostgreSQL's own function raises then).
pub fn base_type(mut kind: pg_sys::Oid) -> Option<pg_sys::Oid> {
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

/// The owners of the domains that a column's type is over, it included; none of a type that is no domain.
pub fn domains(relation: pg_sys::Oid, number: i16) -> Vec<pg_sys::Oid> {
    let cache = pg_sys::SysCacheIdentifier::TYPEOID;
    let read = |row: &pg_sys::FormData_pg_type| {
        let is_domain = row.typtype as u8 == pg_sys::TYPTYPE_DOMAIN;
        is_domain.then_some((row.typowner, row.typbasetype))
    };
    let mut owners = Vec::new();
    // SAFETY: a look-up in the system cache; 0 for a column that is not there.
    let mut kind = unsafe { pg_sys::get_atttype(relation, number) };
    // SAFETY: types by OID.
    let next = |kind| unsafe { syscache::field(cache, pg_sys::Datum::from(kind), read) };
    while let Some(Some((owner, base))) = next(kind) {
        owners.push(owner);
        kind = base;
    }
    owners
}

/// Whether a column's values have a length of their own, as text and bytea have; false for one that is gone.
pub fn is_of_variable_length(relation: pg_sys::Oid, number: i16) -> bool {
    // SAFETY: look-ups in the system cache; the type of a column that is gone is 0, and has length 0.
    unsafe { pg_sys::get_typlen(pg_sys::get_atttype(relation, number)) == -1 }
}

/// Whether a column is computed when it is read (from PostgreSQL 18 on).
pub fn is_virtual(relation: pg_sys::Oid, number: i16) -> bool {
    // SAFETY: a look-up in the system cache; 0 for what is not there or not generated.
    unsafe { pg_sys::get_attgenerated(relation, number) as u8 == b'v' }
}

/// The columns of `relation` that are of a type that holds sealed values.
pub fn all_sealable(relation: pg_sys::Oid) -> Vec<i16> {
    // A dropped column keeps its number, and has no type.
    (1..=i16::MAX)
        .take_while(|number| name(relation, *number).is_some())
        .filter(|number| holds_sealable(relation, *number))
        .collect()
}

/// The name of a column; `None` when there is none.
pub fn name(relation: pg_sys::Oid, number: i16) -> Option<String> {
    // SAFETY: with `missing_ok` the answer is null for what is not there.
    owned_name(unsafe { pg_sys::get_attname(relation, number, true) })
}

/// The name of a column, quoted where SQL needs it; `None` when there is none.
pub fn quoted_name(relation: pg_sys::Oid, number: i16) -> Option<String> {
    // SAFETY: with `missing_ok` the name is null for what is not there; quoting gives its argument back or a
    // palloc'd string.
    unsafe {
        let name = owned_cstring(pg_sys::get_attname(relation, number, true))?;
        let quoted = CStr::from_ptr(pg_sys::quote_identifier(name.as_ptr()));
        Some(encoding::to_string(quoted.to_bytes()))
    }
}

/// As [`name`], in the server's encoding.
pub fn raw_name(relation: pg_sys::Oid, number: i16) -> Option<CString> {
    // SAFETY: as above.
    owned_cstring(unsafe { pg_sys::get_attname(relation, number, true) })
}
