//! Arrays of text, and of names, as arguments.

use std::ffi::{CStr, CString};

use pgrx::callconv::{Arg, ArgAbi};
use pgrx::datum::FromDatum;
use pgrx::pg_sys;

use crate::pg::encoding::{self, NotText};
use crate::pg::varlena::Varlena;

/// A `text[]` argument in UTF-8.
pub enum TextArray {
    /// Its elements, `None` for a NULL among them.
    Elements(Vec<Option<String>>),
    /// Longer than [`LONGEST`], or more than [`MOST`]; not copied.
    TooLong,
    /// An element that is not UTF-8 and cannot be made so.
    NotUtf8(NotText),
}

/// Bytes of the whole array.
const LONGEST: usize = 1 << 20;
/// Elements of it.
const MOST: i32 = 1 << 18;

impl FromDatum for TextArray {
    unsafe fn from_polymorphic_datum(
        datum: pg_sys::Datum,
        is_null: bool,
        _typoid: pg_sys::Oid,
    ) -> Option<Self> {
        if is_null {
            return None;
        }
        let (mut elements, mut nulls, mut count) = (std::ptr::null_mut(), std::ptr::null_mut(), 0);
        // SAFETY: pgrx passes the datum of a text[] argument; text is a varlena of alignment int.
        // PostgreSQL fills in two arrays of `count` elements.
        unsafe {
            if pg_sys::toast_raw_datum_size(datum) > LONGEST {
                return Some(TextArray::TooLong);
            }
            pg_sys::deconstruct_array(
                pg_sys::pg_detoast_datum(datum.cast_mut_ptr()).cast(),
                pg_sys::TEXTOID,
                -1,
                false,
                b'i' as std::ffi::c_char,
                &mut elements,
                &mut nulls,
                &mut count,
            );
            // A NULL takes one bit.
            if count > MOST {
                return Some(TextArray::TooLong);
            }
            let text = |i| {
                (!*nulls.add(i))
                    .then(|| encoding::to_exact_string(&Varlena::from_datum(*elements.add(i))))
                    .transpose()
            };
            let texts = (0..count as usize).map(text).collect::<Result<_, _>>();
            Some(texts.map_or_else(TextArray::NotUtf8, TextArray::Elements))
        }
    }
}

// SAFETY: a non-null argument of a function declared with text[] is one.
unsafe impl<'fcx> ArgAbi<'fcx> for TextArray {
    unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
        // SAFETY: as above.
        match unsafe { arg.unbox_arg_using_from_datum() } {
            Some(array) => array,
            None => TextArray::Elements(Vec::new()),
        }
    }
}

pgrx::impl_sql_translatable!(TextArray, "text[]");

/// The elements of a `text[]` argument as they stand there, in the server's encoding: nothing is copied.
pub struct RawTexts<'a> {
    elements: &'a [pg_sys::Datum],
    nulls: &'a [bool],
}

impl<'a> RawTexts<'a> {
    /// # Safety
    /// `datum` is a non-null text[] that outlives `'a`, as the current memory context does.
    pub unsafe fn of(datum: pg_sys::Datum) -> RawTexts<'a> {
        let (mut elements, mut nulls, mut count) = (std::ptr::null_mut(), std::ptr::null_mut(), 0);
        // SAFETY: by contract; as in `TextArray`.
        unsafe {
            pg_sys::deconstruct_array(
                pg_sys::pg_detoast_datum(datum.cast_mut_ptr()).cast(),
                pg_sys::TEXTOID,
                -1,
                false,
                b'i' as std::ffi::c_char,
                &mut elements,
                &mut nulls,
                &mut count,
            );
            if count <= 0 {
                return RawTexts { elements: &[], nulls: &[] };
            }
            RawTexts {
                elements: std::slice::from_raw_parts(elements, count as usize),
                nulls: std::slice::from_raw_parts(nulls, count as usize),
            }
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.elements.len()
    }

    /// Each of them, `None` for NULL.
    pub fn iter(&self) -> impl Iterator<Item = Option<Varlena<'a>>> {
        // SAFETY: elements that are not NULL are text, and outlive `'a`.
        self.elements
            .iter()
            .zip(self.nulls)
            .map(|(element, is_null)| (!is_null).then(|| unsafe { Varlena::from_datum(*element) }))
    }
}

/// A `name[]` argument, in the server's encoding.
pub enum NameArray {
    /// Its elements, `None` for a NULL among them.
    Elements(Vec<Option<CString>>),
    /// More than a table has columns; not copied.
    TooLong,
}

/// As many as a table may have columns, by far.
const MOST_NAMES: i32 = 2000;

impl FromDatum for NameArray {
    unsafe fn from_polymorphic_datum(
        datum: pg_sys::Datum,
        is_null: bool,
        _typoid: pg_sys::Oid,
    ) -> Option<Self> {
        if is_null {
            return None;
        }
        let (mut elements, mut nulls, mut count) = (std::ptr::null_mut(), std::ptr::null_mut(), 0);
        // SAFETY: pgrx passes the datum of a name[] argument; a name is a NUL-terminated string in 64 bytes.
        // PostgreSQL fills in two arrays of `count` elements.
        unsafe {
            pg_sys::deconstruct_array(
                pg_sys::pg_detoast_datum(datum.cast_mut_ptr()).cast(),
                pg_sys::NAMEOID,
                pg_sys::NAMEDATALEN as std::ffi::c_int,
                false,
                b'c' as std::ffi::c_char,
                &mut elements,
                &mut nulls,
                &mut count,
            );
            if count > MOST_NAMES {
                return Some(NameArray::TooLong);
            }
            let name = |i| {
                (!*nulls.add(i))
                    .then(|| CStr::from_ptr((*elements.add(i)).cast_mut_ptr()).to_owned())
            };
            Some(NameArray::Elements((0..count as usize).map(name).collect()))
        }
    }
}

// SAFETY: a non-null argument of a function declared with name[] is one.
unsafe impl<'fcx> ArgAbi<'fcx> for NameArray {
    unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
        // SAFETY: as above.
        match unsafe { arg.unbox_arg_using_from_datum() } {
            Some(array) => array,
            None => NameArray::Elements(Vec::new()),
        }
    }
}

pgrx::impl_sql_translatable!(NameArray, "name[]");
