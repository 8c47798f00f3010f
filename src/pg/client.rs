//! Who is at the other end of this session's connection, by its own word.

use std::ffi::CStr;

use pgrx::pg_sys;

/// Whether the name that the client gave its application begins with one of `heads`.
pub fn application_begins_with(heads: &[&[u8]]) -> bool {
    // SAFETY: a setting of this backend's; NUL-terminated while it is there.
    let name = unsafe {
        let name = pg_sys::application_name;
        if name.is_null() {
            return false;
        }
        CStr::from_ptr(name)
    };
    heads.iter().any(|head| name.to_bytes().starts_with(head))
}
