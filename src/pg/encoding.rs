//! Text between the server's encoding and UTF-8. Sealed text, contexts and index terms are UTF-8
//! in every database, so that a value opens wherever it is taken.
//!
//! PostgreSQL's own errors about encoding show the bytes, which may be a plaintext; these do not.

use std::ffi::{CStr, c_char, c_int};
use std::ops::Deref;
use std::ptr::NonNull;

use pgrx::callconv::{BoxRet, FcInfo};
use pgrx::datum::{Datum, IntoDatum};
use pgrx::{PgTryBuilder, pg_sys};

use crate::pg::varlena::VarlenaBuf;

const UTF8: c_int = pg_sys::pg_enc::PG_UTF8 as c_int;
const SQL_ASCII: c_int = pg_sys::pg_enc::PG_SQL_ASCII as c_int;

/// Text after a conversion: the input where nothing had to be done, else memory of PostgreSQL's,
/// whose allocation fails with an error where Rust's would end the process.
pub enum Converted<'a> {
    Same(&'a [u8]),
    Palloced(Palloced),
}

/// A palloc'd C string, freed when dropped.
pub struct Palloced(NonNull<c_char>);

/// Why bytes cannot be text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotText {
    /// They are not in their encoding, or hold a NUL.
    Invalid,
    /// The other encoding lacks one of the characters.
    Untranslatable,
}

impl NotText {
    /// Which of the two it is, as errors tell it.
    pub fn is_untranslatable(self) -> bool {
        self == NotText::Untranslatable
    }
}

/// UTF-8 of `text`, which is in the server's encoding. Only in a SQL_ASCII database can it be
/// [`NotText::Invalid`].
pub fn to_utf8(text: &[u8]) -> Result<Converted<'_>, NotText> {
    if text.is_ascii() {
        return Ok(Converted::Same(text));
    }
    match server_encoding() {
        UTF8 => Ok(Converted::Same(text)),
        SQL_ASCII if std::str::from_utf8(text).is_err() => Err(NotText::Invalid),
        SQL_ASCII => Ok(Converted::Same(text)),
        // SAFETY: reads `length` bytes.
        _ => convert(text, |text, length| unsafe { pg_sys::pg_server_to_any(text, length, UTF8) }),
    }
}

/// `bytes`, which should be UTF-8, in the server's encoding.
pub fn from_utf8(bytes: &[u8]) -> Result<Converted<'_>, NotText> {
    let text = std::str::from_utf8(bytes).map_err(|_| NotText::Invalid)?;
    match server_encoding() {
        _ if text.contains('\0') => Err(NotText::Invalid),
        UTF8 | SQL_ASCII => Ok(Converted::Same(bytes)),
        _ if text.is_ascii() => Ok(Converted::Same(bytes)),
        // SAFETY: reads `length` bytes.
        _ => convert(bytes, |text, length| unsafe { pg_sys::pg_any_to_server(text, length, UTF8) }),
    }
}

/// [`to_utf8`] as a string, without anything in another's place: for what values are bound to.
pub fn to_exact_string(text: &[u8]) -> Result<String, NotText> {
    let utf8 = to_utf8(text)?;
    std::str::from_utf8(&utf8).map(str::to_owned).map_err(|_| NotText::Invalid)
}

/// [`to_utf8`] as a string, with U+FFFD for what is not UTF-8 after all.
pub fn to_string(text: &[u8]) -> String {
    match to_utf8(text) {
        Ok(utf8) => String::from_utf8_lossy(&utf8).into_owned(),
        Err(_) => String::from_utf8_lossy(text).into_owned(),
    }
}

/// [`to_string`] of a name.
pub fn text(name: &CStr) -> String {
    to_string(name.to_bytes())
}

/// A message as every server encoding can show it: characters beyond ASCII become `?` where the
/// server's is not UTF-8.
pub fn shown(message: String) -> String {
    if message.is_ascii() || server_encoding() == UTF8 {
        return message;
    }
    message.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect()
}

/// A column of text in a function's result: in the server's encoding, or as [`shown`] where that lacks a character.
/// Rows can hold what messages cannot.
pub struct RowText(pub String);

impl IntoDatum for RowText {
    fn into_datum(self) -> Option<pg_sys::Datum> {
        let exact = from_utf8(self.0.as_bytes()).map(|text| VarlenaBuf::copy_of(&text));
        let text = exact.unwrap_or_else(|_| VarlenaBuf::copy_of(shown(self.0).as_bytes()));
        Some(text.into_datum())
    }

    fn type_oid() -> pg_sys::Oid {
        pg_sys::TEXTOID
    }
}

// SAFETY: the datum is a palloc'd text, as results are.
unsafe impl BoxRet for RowText {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        match self.into_datum() {
            // SAFETY: a non-null varlena in the function's memory context.
            Some(datum) => unsafe { fcinfo.return_raw_datum(datum) },
            None => fcinfo.return_null(),
        }
    }
}

pgrx::impl_sql_translatable!(RowText, "text");

/// A column of type name in a function's result, likewise.
pub struct RowName(pub String);

impl IntoDatum for RowName {
    fn into_datum(self) -> Option<pg_sys::Datum> {
        const LONGEST: usize = pg_sys::NAMEDATALEN as usize - 1;
        let exact = from_utf8(self.0.as_bytes()).map(|text| text.to_vec());
        let mut text = exact.unwrap_or_else(|_| shown(self.0).into_bytes());
        text.truncate(LONGEST);
        // SAFETY: a palloc'd name, which is of fixed size and filled with zeros.
        unsafe {
            let name = pg_sys::palloc0(LONGEST + 1).cast::<u8>();
            std::ptr::copy_nonoverlapping(text.as_ptr(), name, text.len());
            Some(pg_sys::Datum::from(name))
        }
    }

    fn type_oid() -> pg_sys::Oid {
        pg_sys::NAMEOID
    }
}

// SAFETY: the datum is a palloc'd name, as results are.
unsafe impl BoxRet for RowName {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        match self.into_datum() {
            // SAFETY: a non-null name in the function's memory context.
            Some(datum) => unsafe { fcinfo.return_raw_datum(datum) },
            None => fcinfo.return_null(),
        }
    }
}

pgrx::impl_sql_translatable!(RowName, "name");

/// As [`RowText`], text that is in the server's encoding already.
pub struct ServerText(pub Vec<u8>);

impl IntoDatum for ServerText {
    fn into_datum(self) -> Option<pg_sys::Datum> {
        Some(VarlenaBuf::copy_of(&self.0).into_datum())
    }

    fn type_oid() -> pg_sys::Oid {
        pg_sys::TEXTOID
    }
}

// SAFETY: the datum is a palloc'd text, as results are.
unsafe impl BoxRet for ServerText {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        match self.into_datum() {
            // SAFETY: a non-null varlena in the function's memory context.
            Some(datum) => unsafe { fcinfo.return_raw_datum(datum) },
            None => fcinfo.return_null(),
        }
    }
}

pgrx::impl_sql_translatable!(ServerText, "text");

/// The name of the encoding that text sealed as bytes is in, if it is not UTF-8: this database's, or where that is
/// no guide, the one that most databases have had.
pub fn likely_of_bytes() -> &'static str {
    if [UTF8, SQL_ASCII].contains(&server_encoding()) {
        return "LATIN1";
    }
    // SAFETY: gives the name that this backend keeps for good, of ASCII letters.
    let name = unsafe { CStr::from_ptr(pg_sys::GetDatabaseEncodingName()) };
    name.to_str().unwrap_or("LATIN1")
}

fn server_encoding() -> c_int {
    // SAFETY: reads a variable of this backend.
    unsafe { pg_sys::GetDatabaseEncoding() }
}

fn convert<'a>(
    text: &'a [u8],
    conversion: fn(*const c_char, c_int) -> *mut c_char,
) -> Result<Converted<'a>, NotText> {
    // A conversion function holds nothing that an error would leave behind.
    let converted =
        PgTryBuilder::new(|| Some(conversion(text.as_ptr().cast(), text.len() as c_int)))
            .catch_when(pgrx::PgSqlErrorCode::ERRCODE_UNTRANSLATABLE_CHARACTER, |_| None)
            .catch_when(pgrx::PgSqlErrorCode::ERRCODE_CHARACTER_NOT_IN_REPERTOIRE, |_| None)
            .execute();
    match converted.map(NonNull::new) {
        Some(Some(made)) if made.as_ptr().cast_const().cast() != text.as_ptr() => {
            Ok(Converted::Palloced(Palloced(made)))
        }
        Some(_) => Ok(Converted::Same(text)),
        None => Err(NotText::Untranslatable),
    }
}

impl Deref for Converted<'_> {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Converted::Same(text) => text,
            // SAFETY: a NUL-terminated string of our own.
            Converted::Palloced(text) => unsafe { CStr::from_ptr(text.0.as_ptr()) }.to_bytes(),
        }
    }
}

impl Drop for Palloced {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: palloc'd by the conversion, and nobody else's.
            unsafe { pg_sys::pfree(self.0.as_ptr().cast()) }
        }
    }
}
