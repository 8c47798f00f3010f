//! Text between the server's encoding and UTF-8. Sealed text, contexts and index terms are UTF-8
//! in every database, so that a value opens wherever it is taken.

use std::borrow::Cow;

use pgrx::{PgTryBuilder, pg_sys};

const UTF8: std::ffi::c_int = pg_sys::pg_enc::PG_UTF8 as std::ffi::c_int;

/// UTF-8 of `text`, which is in the server's encoding. Raises PostgreSQL's error where it is not
/// (in SQL_ASCII databases). Plain ASCII is passed on as it is: every server encoding holds it.
pub fn to_utf8(text: &[u8]) -> Cow<'_, [u8]> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    // SAFETY: converts `len` bytes; the result is the input itself or a palloc'd C string.
    unsafe {
        let converted =
            pg_sys::pg_server_to_any(text.as_ptr().cast(), text.len() as std::ffi::c_int, UTF8);
        if converted.cast_const().cast() == text.as_ptr() {
            Cow::Borrowed(text)
        } else {
            let bytes = std::ffi::CStr::from_ptr(converted).to_bytes().to_vec();
            pg_sys::pfree(converted.cast());
            Cow::Owned(bytes)
        }
    }
}

/// [`to_utf8`] as a string, with U+FFFD for what is not UTF-8 after all.
pub fn to_string(text: &[u8]) -> String {
    String::from_utf8_lossy(&to_utf8(text)).into_owned()
}

/// Why UTF-8 bytes cannot be text here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotText {
    /// They are not UTF-8, or hold a NUL.
    Invalid,
    /// The server's encoding lacks one of the characters.
    Untranslatable,
}

/// `bytes`, which should be UTF-8, in the server's encoding. PostgreSQL's own errors would show
/// the bytes, which may be an opened value; these do not.
pub fn from_utf8(bytes: &[u8]) -> Result<Cow<'_, [u8]>, NotText> {
    let text = std::str::from_utf8(bytes).map_err(|_| NotText::Invalid)?;
    if text.contains('\0') {
        return Err(NotText::Invalid);
    }
    if text.is_ascii() {
        return Ok(Cow::Borrowed(bytes));
    }
    // SAFETY: reads a variable of this backend.
    let server = unsafe { pg_sys::GetDatabaseEncoding() };
    if server == UTF8 || server == pg_sys::pg_enc::PG_SQL_ASCII as std::ffi::c_int {
        return Ok(Cow::Borrowed(bytes));
    }
    PgTryBuilder::new(|| Ok(Cow::Owned(convert_from_utf8(bytes))))
        .catch_others(|_| Err(NotText::Untranslatable))
        .execute()
}

fn convert_from_utf8(bytes: &[u8]) -> Vec<u8> {
    // SAFETY: as in `to_utf8`, the other way; a conversion function holds nothing that an error
    // would leave behind.
    unsafe {
        let converted =
            pg_sys::pg_any_to_server(bytes.as_ptr().cast(), bytes.len() as std::ffi::c_int, UTF8);
        std::ffi::CStr::from_ptr(converted).to_bytes().to_vec()
    }
}
