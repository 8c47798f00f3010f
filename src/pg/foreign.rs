//! Foreign tables: on which server their rows stand.

use std::ffi::{CStr, CString, c_int};

use pgrx::pg_sys;

use crate::pg::datum::owned_cstring;
use crate::pg::relation;

/// The server of a foreign table.
pub struct Server {
    pub oid: pg_sys::Oid,
    /// In the server's encoding.
    pub name: CString,
    /// The function of its foreign-data wrapper that says how rows are read; 0 where it has none.
    pub handler: pg_sys::Oid,
    /// Its option `options`: what libpq sends along when it connects.
    pub options: Option<CString>,
}

/// The server of `relation`; `None` when that is no foreign table.
pub fn server(relation: pg_sys::Oid) -> Option<Server> {
    if !relation::is_foreign(relation) {
        return None;
    }
    // SAFETY: each raises for what is gone, and gives palloc'd structs with palloc'd strings else.
    unsafe {
        let table = pg_sys::GetForeignTable(relation);
        let server = pg_sys::GetForeignServer((*table).serverid);
        let wrapper = pg_sys::GetForeignDataWrapper((*server).fdwid);
        Some(Server {
            oid: (*server).serverid,
            name: CStr::from_ptr((*server).servername).to_owned(),
            handler: (*wrapper).fdwhandler,
            options: option((*server).options, c"options"),
        })
    }
}

/// The option of that name.
///
/// # Safety
/// `options` is a list of DefElem, as the options of foreign objects are; null is the empty one.
unsafe fn option(options: *mut pg_sys::List, name: &CStr) -> Option<CString> {
    // SAFETY: by contract; such options are strings.
    unsafe {
        let count = if options.is_null() { 0 } else { (*options).length };
        let mut all =
            (0..count).map(|at: c_int| pg_sys::list_nth(options, at).cast::<pg_sys::DefElem>());
        let found = all.find(|option| CStr::from_ptr((**option).defname) == name)?;
        // A copy, as what this gives may be the list's own.
        owned_cstring(pg_sys::pstrdup(pg_sys::defGetString(found)))
    }
}
