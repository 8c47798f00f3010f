//! What PostgreSQL's catalog says of a type.

use pgrx::pg_sys;

use crate::pg::datum::owned_name;

/// How values of a type are stored, as arrays need to know.
#[derive(Clone, Copy)]
pub struct Storage {
    pub len: i16,
    pub by_value: bool,
    pub align: std::ffi::c_char,
}

/// The type that a domain is over, at the end of the chain, and its modifier; a type that is no domain, as it is.
pub fn base(kind: pg_sys::Oid, modifier: i32) -> (pg_sys::Oid, i32) {
    let mut of_base = -1;
    // SAFETY: a look-up in the system cache, which raises for a type that is gone.
    let base = unsafe { pg_sys::getBaseTypeAndTypmod(kind, &mut of_base) };
    (base, if base == kind { modifier } else { of_base })
}

/// The type of an array's elements; `None` of what is no array, or not the usual one of its elements (int2vector).
pub fn element(array: pg_sys::Oid) -> Option<pg_sys::Oid> {
    // SAFETY: look-ups in the system cache; 0 for none.
    unsafe {
        let element = pg_sys::get_element_type(array);
        (element != pg_sys::InvalidOid && pg_sys::get_array_type(element) == array)
            .then_some(element)
    }
}

/// Whether it is an enum.
pub fn is_enum(kind: pg_sys::Oid) -> bool {
    // SAFETY: a look-up in the system cache.
    unsafe { pg_sys::get_typtype(kind) as u8 == pg_sys::TYPTYPE_ENUM }
}

/// How its values are stored.
pub fn storage(kind: pg_sys::Oid) -> Storage {
    let mut storage = Storage { len: 0, by_value: false, align: 0 };
    // SAFETY: writes the three, or raises for a type that is gone.
    unsafe {
        pg_sys::get_typlenbyvalalign(
            kind,
            &mut storage.len,
            &mut storage.by_value,
            &mut storage.align,
        );
    }
    storage
}

/// As SQL names it, with its modifier if it is not -1.
pub fn name(kind: pg_sys::Oid, modifier: i32) -> String {
    let flags = pg_sys::FORMAT_TYPE_TYPEMOD_GIVEN | pg_sys::FORMAT_TYPE_ALLOW_INVALID;
    // SAFETY: gives a palloc'd string, `???` of a type that is gone.
    owned_name(unsafe { pg_sys::format_type_extended(kind, modifier, flags as u16) })
        .unwrap_or_default()
}
