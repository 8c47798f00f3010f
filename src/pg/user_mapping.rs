//! Foreign servers (CREATE SERVER) and the current role's mapping to a user there.

use std::ffi::CStr;

use pgrx::pg_sys;

use crate::pg::encoding;

/// What a server and a user mapping say, each as name and value.
pub struct Foreign {
    pub server: Vec<(String, String)>,
    pub mapping: Vec<(String, String)>,
}

/// The server `name` as the current role may use it. Raises PostgreSQL's own error where there is none, or no user
/// mapping.
pub fn server(name: &CStr) -> Foreign {
    // SAFETY: `name` is NUL-terminated; both raise where there is nothing, and their answers are palloc'd.
    unsafe {
        let server = pg_sys::GetForeignServerByName(name.as_ptr(), false);
        let mapping = pg_sys::GetUserMapping(pg_sys::GetUserId(), (*server).serverid);
        Foreign { server: options((*server).options), mapping: options((*mapping).options) }
    }
}

/// # Safety
/// A list of DefElem, or null.
unsafe fn options(list: *mut pg_sys::List) -> Vec<(String, String)> {
    if list.is_null() {
        return Vec::new();
    }
    // SAFETY: by contract; names and values are NUL-terminated, and defGetString raises on what has no value.
    unsafe {
        (0..(*list).length as usize)
            .map(|at| {
                let option = (*(*list).elements.add(at)).ptr_value.cast::<pg_sys::DefElem>();
                // Not to be freed one by one: a value may stand in the memory of its name.
                let text = |raw: *mut _| encoding::text(CStr::from_ptr(raw));
                (text((*option).defname), text(pg_sys::defGetString(option)))
            })
            .collect()
    }
}
