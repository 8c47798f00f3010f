//! Types by OID and by name.

use std::ffi::{CStr, CString};

#[cfg(not(any(feature = "pg14", feature = "pg15")))]
use pgrx::PgSqlErrorCode;
use pgrx::pg_sys;

use crate::pg::datum::owned_cstring;
use crate::pg::{encoding, kinds};

/// The type that `name` (as SQL writes types: qualified or not, an array, with a modifier) means, and its
/// modifier, -1 for none; `None` when nothing bears the name. Raises on what is no name of a type.
pub fn named(name: &CStr) -> Option<(pg_sys::Oid, i32)> {
    let (mut kind, mut modifier) = (pg_sys::InvalidOid, -1);
    // SAFETY: `name` is NUL-terminated. With `missing_ok`, which later majors spell as a place for errors, the
    // type is 0 when nothing bears the name. Without such a place errors are raised.
    unsafe {
        #[cfg(any(feature = "pg14", feature = "pg15"))]
        pg_sys::parseTypeString(name.as_ptr(), &mut kind, &mut modifier, true);
        #[cfg(not(any(feature = "pg14", feature = "pg15")))]
        {
            let mut errors = pg_sys::ErrorSaveContext {
                type_: pg_sys::NodeTag::T_ErrorSaveContext,
                details_wanted: true,
                ..Default::default()
            };
            let place = std::ptr::addr_of_mut!(errors);
            if !pg_sys::parseTypeString(name.as_ptr(), &mut kind, &mut modifier, place.cast()) {
                let is_gone = PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT as i32;
                let found = (*place).error_data.as_ref().map(|error| error.sqlerrcode);
                if found == Some(is_gone) {
                    return None;
                }
                // What is no name of a type comes there, too.
                let none = std::ptr::null_mut();
                pg_sys::parseTypeString(name.as_ptr(), &mut kind, &mut modifier, none);
            }
        }
    }
    (kind != pg_sys::InvalidOid).then_some((kind, modifier))
}

/// The name of a type in the server's encoding, quoted where SQL needs it and with its schema unless it is one
/// of SQL's own words, with its modifier if it is not -1: `numeric(10,2)`; `None` when it is gone.
pub fn quoted(kind: pg_sys::Oid, modifier: i32) -> Option<CString> {
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

/// Whether every value of type `from` is, with nothing of it lost, a value of type `to`: one of the same type, text
/// that says the same, or what PostgreSQL casts by itself, but for what rounds or
/// cuts all the same.
pub fn holds_all(to: pg_sys::Oid, from: (pg_sys::Oid, i32)) -> bool {
    let ((is, modifier), (to, wanted)) = (kinds::base(from.0, from.1), kinds::base(to, -1));
    if wanted >= 0 && (is, modifier) != (to, wanted) {
        return false;
    }
    if let (Some(is), Some(to)) = (kinds::element(is), kinds::element(to)) {
        return holds_all(to, (is, modifier));
    }
    let texts = [pg_sys::TEXTOID, pg_sys::VARCHAROID];
    // Bytes hold text in UTF-8, and what is none is an error.
    if is == to || texts.contains(&to) || texts.contains(&is) && to == pg_sys::BYTEAOID {
        return true;
    }
    if [pg_sys::FLOAT4OID, pg_sys::FLOAT8OID].contains(&to) {
        return is == pg_sys::INT2OID
            || to == pg_sys::FLOAT8OID && [pg_sys::INT4OID, pg_sys::FLOAT4OID].contains(&is);
    }
    // A name is cut. In the night when clocks go forward, times of two hours are one.
    if to == pg_sys::NAMEOID || to == pg_sys::TIMESTAMPTZOID {
        return false;
    }
    let mut function = pg_sys::InvalidOid;
    // SAFETY: look-ups in the system cache; writes the function's OID.
    let path = unsafe {
        let implicit = pg_sys::CoercionContext::COERCION_IMPLICIT;
        pg_sys::find_coercion_pathway(to, is, implicit, &mut function)
    };
    path != pg_sys::CoercionPathType::COERCION_PATH_NONE
}

/// For messages: the quoted name, of PostgreSQL's own types without their schema, or the OID of a type that is gone.
pub fn display_name(kind: pg_sys::Oid, modifier: i32) -> String {
    match quoted(kind, modifier) {
        Some(name) => {
            let name = encoding::to_string(name.to_bytes());
            name.strip_prefix("pg_catalog.").unwrap_or(&name).to_owned()
        }
        None => format!("with OID {}", kind.to_u32()),
    }
}
