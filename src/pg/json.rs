//! jsonb to and from Rust.

use std::ffi::CString;

use pgrx::callconv::{Arg, ArgAbi, BoxRet, FcInfo};
use pgrx::datum::{Datum, FromDatum};
use pgrx::pg_sys;

use crate::pg::encoding::{self, NotText};

/// The text of a jsonb datum, in UTF-8; `None` when it is longer than `longest` bytes: numbers of few
/// bytes have as many digits as they like, and what has no room in Rust's memory ends the server.
///
/// # Safety
/// `datum` is a non-null jsonb.
pub unsafe fn text_of_jsonb(datum: pg_sys::Datum, longest: usize) -> Option<String> {
    // SAFETY: detoasting gives a whole jsonb; its text is palloc'd and NUL-terminated.
    unsafe {
        let jsonb = pg_sys::pg_detoast_datum(datum.cast_mut_ptr()).cast::<pg_sys::Jsonb>();
        let size = pgrx::varsize_any(jsonb.cast()) as std::ffi::c_int;
        let text = pg_sys::JsonbToCString(
            std::ptr::null_mut(),
            std::ptr::addr_of_mut!((*jsonb).root),
            size,
        );
        let bytes = std::ffi::CStr::from_ptr(text).to_bytes();
        let owned = (bytes.len() <= longest).then(|| encoding::to_string(bytes));
        pg_sys::pfree(text.cast());
        owned
    }
}

/// JSON without any character that a server's encoding could lack: beyond ASCII there are some in strings alone.
pub fn in_ascii(json: &str) -> String {
    let mut ascii = String::with_capacity(json.len());
    for character in json.chars() {
        if character.is_ascii() {
            ascii.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                ascii.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    ascii
}

/// A jsonb argument or result.
pub struct Jsonb(pg_sys::Datum);

impl Jsonb {
    /// From JSON text in UTF-8.
    pub fn from_text(json: &str) -> Result<Jsonb, NotText> {
        let text =
            CString::new(&*encoding::from_utf8(json.as_bytes())?).map_err(|_| NotText::Invalid)?;
        let argument = Some(pg_sys::Datum::from(text.as_ptr()));
        // SAFETY: jsonb_in takes a NUL-terminated string and answers with a palloc'd jsonb.
        let jsonb = unsafe { pgrx::direct_function_call_as_datum(pg_sys::jsonb_in, &[argument]) };
        jsonb.map(Jsonb).ok_or(NotText::Invalid)
    }

    /// As JSON text in UTF-8; `None` when it, or the jsonb, is longer than `longest` bytes.
    pub fn text(&self, longest: usize) -> Option<String> {
        // SAFETY: the datum is a jsonb, an argument's or our own.
        unsafe {
            if pg_sys::toast_raw_datum_size(self.0) > longest {
                return None;
            }
            text_of_jsonb(self.0, longest)
        }
    }
}

impl FromDatum for Jsonb {
    unsafe fn from_polymorphic_datum(
        datum: pg_sys::Datum,
        is_null: bool,
        _typoid: pg_sys::Oid,
    ) -> Option<Self> {
        if is_null { None } else { Some(Jsonb(datum)) }
    }
}

// SAFETY: a non-null argument of a function declared with jsonb is a jsonb, which outlives the call.
unsafe impl<'fcx> ArgAbi<'fcx> for Jsonb {
    unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
        // SAFETY: as above; pgrx hands only non-null arguments to this.
        match unsafe { arg.unbox_arg_using_from_datum() } {
            Some(jsonb) => jsonb,
            None => Jsonb(pg_sys::Datum::null()),
        }
    }
}

// SAFETY: the datum is a palloc'd jsonb.
unsafe impl BoxRet for Jsonb {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        // SAFETY: as above, in the function's memory context.
        unsafe { fcinfo.return_raw_datum(self.0) }
    }
}

pgrx::impl_sql_translatable!(Jsonb, "jsonb");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beyond_ascii_comes_back() {
        for text in ["schl\u{fc}ssel \u{1f511}\n\"", "a\u{e9}\u{4e2d}\\\""] {
            let json = in_ascii(&serde_json::to_string(text).unwrap_or_default());
            assert!(json.bytes().all(|byte| byte.is_ascii() && byte >= b' '));
            assert_eq!(serde_json::from_str::<String>(&json).ok().as_deref(), Some(text));
        }
    }
}
