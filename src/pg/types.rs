//! Types by OID and by name.

use std::ffi::{CStr, CString};

use pgrx::pg_sys;

use crate::pg::datum::owned_cstring;
use crate::pg::encoding;

/// The type that `name` (as SQL writes types: qualified or not, an array, with a modifier) means, and its
/// modifier, -1 for none; `None` when nothing bears the name. Raises on what is no name of a type.
pub fn named(name: &CStr) -> Option<(pg_sys::Oid, i32)> {
    let (mut kind, mut modifier) = (pg_sys::InvalidOid, -1);
    // SAFETY: `name` is NUL-terminated. With `missing_ok`, which later majors spell as a place for errors, the
    // type is 0 when nothing bears the name.
    unsafe {
        #[cfg(any(feature = "pg14", feature = "pg15"))]
        pg_sys::parseTypeString(name.as_ptr(), &mut kind, &mut modifier, true);
        #[cfg(not(any(feature = "pg14", feature = "pg15")))]
        {
            let mut errors = pg_sys::ErrorSaveContext {
                type_: pg_sys::NodeTag::T_ErrorSaveContext,
                ..Default::default()
            };
            let errors = std::ptr::addr_of_mut!(errors).cast();
            if !pg_sys::parseTypeString(name.as_ptr(), &mut kind, &mut modifier, errors) {
                return None;
            }
        }
    }
    (kind != pg_sys::InvalidOid).then_some((kind, modifier))
}

/// The name of a type in the server's encoding, quoted where SQL needs it and with its schema unless it is one
/// of SQL's own words; `None` when it is gone.
pub fn quoted(kind: pg_sys::Oid) -> Option<CString> {
    quoted_with(kind, -1)
}

/// As [`quoted`], with its modifier: `numeric(10,2)`.
pub fn quoted_with(kind: pg_sys::Oid, modifier: i32) -> Option<CString> {
    let flags = pg_sys::FORMAT_TYPE_TYPEMOD_GIVEN
        | pg_sys::FORMAT_TYPE_FORCE_QUALIFY
        | pg_sys::FORMAT_TYPE_INVALID_AS_NULL;
    // SAFETY: with that flag it answers null for a type that is gone, else a palloc'd string.
    owned_cstring(unsafe { pg_sys::format_type_extended(kind, modifier, flags as u16) })
}

/// Whether PostgreSQL casts it to other types by way of its text, whose error would show that: text and its like, and
/// arrays of them.
pub fn is_string(kind: pg_sys::Oid) -> bool {
    let (mut category, mut is_preferred) = (0, false);
    // SAFETY: look-ups in the system cache, which raise for a type that is gone; 0 for what has no elements.
    unsafe {
        let element = pg_sys::get_base_element_type(kind);
        let kind = if element == pg_sys::InvalidOid { kind } else { element };
        pg_sys::get_type_category_preferred(kind, &mut category, &mut is_preferred);
    }
    category as u8 == pg_sys::TYPCATEGORY_STRING
}

/// For messages: the quoted name, or the OID of a type that is gone.
pub fn display_name(kind: pg_sys::Oid, modifier: i32) -> String {
    match quoted_with(kind, modifier) {
        Some(name) => encoding::to_string(name.to_bytes()),
        None => format!("with OID {}", kind.to_u32()),
    }
}
