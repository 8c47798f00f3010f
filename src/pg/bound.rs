//! Values of columns that sealed values are bound to: those whose text is the same under all settings.

use std::ops::Deref;

use pgrx::pg_sys;

use crate::pg::column::base_type;
use crate::pg::varlena::Varlena;

/// A value that is not NULL.
pub enum BoundValue<'a> {
    /// smallint, integer, bigint.
    Integer(i64),
    Uuid(&'a [u8; 16]),
    /// text and varchar, in the server's encoding.
    Text(Varlena<'a>),
    Bytes(Varlena<'a>),
}

impl<'a> BoundValue<'a> {
    /// A value of type `kind`; `None` when it is none of these, nor a domain over one.
    ///
    /// # Safety
    /// `datum` is a non-null value of that type, and outlives `'a`.
    #[inline]
    pub unsafe fn of(kind: pg_sys::Oid, datum: pg_sys::Datum) -> Option<BoundValue<'a>> {
        // SAFETY: by contract.
        unsafe {
            match kind {
                pg_sys::INT4OID => Some(BoundValue::Integer((datum.value() as i32).into())),
                pg_sys::INT8OID => Some(BoundValue::Integer(datum.value() as i64)),
                pg_sys::INT2OID => Some(BoundValue::Integer((datum.value() as i16).into())),
                pg_sys::UUIDOID => Some(BoundValue::Uuid(&*datum.cast_mut_ptr::<[u8; 16]>())),
                pg_sys::TEXTOID | pg_sys::VARCHAROID => {
                    Some(BoundValue::Text(Varlena::from_datum(datum)))
                }
                pg_sys::BYTEAOID => Some(BoundValue::Bytes(Varlena::from_datum(datum))),
                _ => match base_type(kind) {
                    Some(base) if base != kind => BoundValue::of(base, datum),
                    _ => None,
                },
            }
        }
    }

    /// Whether the text of both has the same bytes, whatever a collation says.
    pub fn is_same(&self, other: &BoundValue<'_>) -> bool {
        match (self, other) {
            (BoundValue::Integer(one), BoundValue::Integer(other)) => one == other,
            (BoundValue::Uuid(one), BoundValue::Uuid(other)) => one == other,
            (BoundValue::Text(one), BoundValue::Text(other))
            | (BoundValue::Bytes(one), BoundValue::Bytes(other)) => one.deref() == other.deref(),
            _ => false,
        }
    }
}
