//! SQL text in the server's encoding, and what PostgreSQL quotes for it.

use std::ffi::{CStr, CString};

use pgrx::pg_sys;

use crate::pg::datum::owned_cstring;

/// A statement under construction. Names and literals are quoted by PostgreSQL's own rules, so that nothing that
/// they hold ends them early.
#[derive(Default, Clone)]
pub struct Sql(Vec<u8>);

impl Sql {
    /// Begins with SQL of our own.
    pub fn new(sql: &str) -> Sql {
        Sql(sql.as_bytes().to_vec())
    }

    /// SQL of our own.
    pub fn sql(mut self, sql: &str) -> Sql {
        self.0.extend_from_slice(sql.as_bytes());
        self
    }

    /// SQL that PostgreSQL has written.
    pub fn quoted(mut self, sql: &CStr) -> Sql {
        self.0.extend_from_slice(sql.to_bytes());
        self
    }

    /// A name.
    pub fn name(self, name: &CStr) -> Sql {
        self.quoted(&identifier(name))
    }

    /// A string.
    pub fn literal(self, text: &CStr) -> Sql {
        self.quoted(&literal(text))
    }

    /// Another piece.
    pub fn add(mut self, piece: &Sql) -> Sql {
        self.0.extend_from_slice(&piece.0);
        self
    }

    /// Pieces with something between them.
    pub fn joined(mut self, pieces: &[Sql], between: &str) -> Sql {
        for (at, piece) in pieces.iter().enumerate() {
            if at > 0 {
                self = self.sql(between);
            }
            self = self.add(piece);
        }
        self
    }

    /// The whole, for PostgreSQL. Nothing that goes into it holds a NUL.
    pub fn to_cstring(&self) -> CString {
        CString::new(self.0.as_slice()).unwrap_or_default()
    }

    /// The whole, in the server's encoding.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A name as SQL quotes it where it needs to.
pub fn identifier(name: &CStr) -> CString {
    // SAFETY: `name` is NUL-terminated; the answer is the argument itself or a palloc'd string.
    unsafe { CStr::from_ptr(pg_sys::quote_identifier(name.as_ptr())) }.to_owned()
}

/// A string as SQL quotes it.
pub fn literal(text: &CStr) -> CString {
    // SAFETY: `text` is NUL-terminated, the answer palloc'd.
    owned_cstring(unsafe { pg_sys::quote_literal_cstr(text.as_ptr()) }).unwrap_or_default()
}

/// `name_suffix`, cut as PostgreSQL cuts the names that it makes: to the length of a name, at a character.
pub fn with_suffix(name: &CStr, suffix: &CStr) -> CString {
    // SAFETY: both are NUL-terminated, the answer palloc'd.
    let made = unsafe { pg_sys::makeObjectName(name.as_ptr(), std::ptr::null(), suffix.as_ptr()) };
    owned_cstring(made).unwrap_or_default()
}

/// `schema.name`, both as SQL quotes them.
pub fn qualified(schema: &CStr, name: &CStr) -> CString {
    // SAFETY: both are NUL-terminated, the answer palloc'd.
    let made = unsafe { pg_sys::quote_qualified_identifier(schema.as_ptr(), name.as_ptr()) };
    owned_cstring(made).unwrap_or_default()
}

/// `schema.name` from a name as SQL writes it; without a schema, the one where a new relation of that name would
/// be made. Raises on what is no such name.
pub fn new_relation(name: &CStr) -> (CString, CString) {
    use crate::pg::relation::name_list;
    // SAFETY: the parser raises on what is no qualified name; a name of three parts must name this database. What
    // the RangeVar points to lives in the current memory context.
    unsafe {
        let range = pg_sys::makeRangeVarFromNameList(name_list(name));
        let schema = pg_sys::get_namespace_name(pg_sys::RangeVarGetCreationNamespace(range));
        let name = CStr::from_ptr((*range).relname).to_owned();
        (owned_cstring(schema).unwrap_or_default(), name)
    }
}
