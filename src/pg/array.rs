//! Arrays: as arguments, taken apart, and put together.

mod numbers;

use std::ffi::{CStr, CString};

use pgrx::callconv::{Arg, ArgAbi};
use pgrx::datum::FromDatum;
use pgrx::pg_sys;

use crate::pg::encoding::{self, NotText};
use crate::pg::kinds::Storage;
use crate::pg::varlena::{Varlena, VarlenaBuf, palloc};

pub use numbers::{Numbers, of_numbers};

/// How text is stored.
const TEXT: Storage = Storage { len: -1, by_value: false, align: b'i' as std::ffi::c_char };

/// Makes a type that has `of(datum)` one of arguments, of functions declared with that SQL type.
macro_rules! argument {
    ($kind:ident, $sql:literal, $empty:expr) => {
        impl FromDatum for $kind {
            unsafe fn from_polymorphic_datum(
                datum: pg_sys::Datum,
                is_null: bool,
                _typoid: pg_sys::Oid,
            ) -> Option<Self> {
                // SAFETY: pgrx passes the datum of an argument of that type.
                (!is_null).then(|| unsafe { $kind::of(datum) })
            }
        }

        // SAFETY: a non-null argument of a function declared with that type is one.
        unsafe impl<'fcx> ArgAbi<'fcx> for $kind {
            unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
                // SAFETY: as above.
                unsafe { arg.unbox_arg_using_from_datum() }.unwrap_or($empty)
            }
        }

        pgrx::impl_sql_translatable!($kind, $sql);
    };
}

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
const MOST: usize = 1 << 18;

impl TextArray {
    /// # Safety
    /// `datum` is a non-null text[].
    unsafe fn of(datum: pg_sys::Datum) -> TextArray {
        // SAFETY: by contract; elements that are not NULL are text.
        unsafe {
            if pg_sys::toast_raw_datum_size(datum) > LONGEST {
                return TextArray::TooLong;
            }
            let array = TakenApart::of(datum, pg_sys::TEXTOID, TEXT);
            // A NULL takes one bit.
            if array.values.len() > MOST {
                return TextArray::TooLong;
            }
            let text = |element: Option<pg_sys::Datum>| {
                element
                    .map(|element| encoding::to_exact_string(&Varlena::from_datum(element)))
                    .transpose()
            };
            let texts = array.elements().map(text).collect::<Result<_, _>>();
            texts.map_or_else(TextArray::NotUtf8, TextArray::Elements)
        }
    }
}

argument!(TextArray, "text[]", TextArray::Elements(Vec::new()));

/// The elements of a `text[]` argument as they stand there, in the server's encoding: nothing is copied.
pub struct RawTexts<'a>(TakenApart<'a>);

impl<'a> RawTexts<'a> {
    /// # Safety
    /// `datum` is a non-null text[] that outlives `'a`, as the current memory context does.
    pub unsafe fn of(datum: pg_sys::Datum) -> RawTexts<'a> {
        // SAFETY: by contract.
        RawTexts(unsafe { TakenApart::of(datum, pg_sys::TEXTOID, TEXT) })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.values.len()
    }

    /// Each of them, `None` for NULL.
    pub fn iter(&self) -> impl Iterator<Item = Option<Varlena<'a>>> {
        // SAFETY: elements that are not NULL are text, and outlive `'a`.
        self.0.elements().map(|element| element.map(|text| unsafe { Varlena::from_datum(text) }))
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
const MOST_NAMES: usize = 2000;

impl NameArray {
    /// # Safety
    /// `datum` is a non-null name[].
    unsafe fn of(datum: pg_sys::Datum) -> NameArray {
        let len = pg_sys::NAMEDATALEN as i16;
        let storage = Storage { len, by_value: false, align: b'c' as std::ffi::c_char };
        // SAFETY: by contract.
        let array = unsafe { TakenApart::of(datum, pg_sys::NAMEOID, storage) };
        if array.values.len() > MOST_NAMES {
            return NameArray::TooLong;
        }
        // SAFETY: a name is a NUL-terminated string in 64 bytes.
        let name = |name: pg_sys::Datum| unsafe { CStr::from_ptr(name.cast_mut_ptr()) }.to_owned();
        NameArray::Elements(array.elements().map(|element| element.map(name)).collect())
    }
}

argument!(NameArray, "name[]", NameArray::Elements(Vec::new()));

/// A `regclass[]` argument.
pub struct RelationArray(
    /// Its elements, `None` for a NULL among them.
    pub Vec<Option<pg_sys::Oid>>,
);

impl RelationArray {
    /// # Safety
    /// `datum` is a non-null regclass[].
    unsafe fn of(datum: pg_sys::Datum) -> RelationArray {
        let storage = Storage { len: 4, by_value: true, align: b'i' as std::ffi::c_char };
        // SAFETY: by contract; a regclass is stored as an oid is.
        let array = unsafe { TakenApart::of(datum, pg_sys::REGCLASSOID, storage) };
        let oid = |datum: pg_sys::Datum| pg_sys::Oid::from(datum.value() as u32);
        RelationArray(array.elements().map(|element| element.map(oid)).collect())
    }
}

argument!(RelationArray, "regclass[]", RelationArray(Vec::new()));

/// An array taken apart, in the memory context that was current.
pub struct TakenApart<'a> {
    sizes: &'a [i32],
    lower_bounds: &'a [i32],
    values: &'a [pg_sys::Datum],
    is_null: &'a [bool],
}

impl<'a> TakenApart<'a> {
    /// # Safety
    /// `datum` is a non-null array of `element`, which is stored so, and outlives `'a`; so does the current memory
    /// context.
    pub unsafe fn of(datum: pg_sys::Datum, element: pg_sys::Oid, storage: Storage) -> Self {
        let (mut values, mut nulls, mut count) = (std::ptr::null_mut(), std::ptr::null_mut(), 0);
        // SAFETY: by contract; after an array's head stand its sizes and lower bounds. PostgreSQL fills in two arrays
        // of `count` elements.
        unsafe {
            let array = pg_sys::pg_detoast_datum(datum.cast_mut_ptr()).cast::<pg_sys::ArrayType>();
            let dimensions = (*array).ndim.unsigned_abs() as usize;
            let sizes = array.add(1).cast::<i32>();
            pg_sys::deconstruct_array(
                array,
                element,
                storage.len.into(),
                storage.by_value,
                storage.align,
                &mut values,
                &mut nulls,
                &mut count,
            );
            let count = count.unsigned_abs() as usize;
            TakenApart {
                sizes: std::slice::from_raw_parts(sizes, dimensions),
                lower_bounds: std::slice::from_raw_parts(sizes.add(dimensions), dimensions),
                values: slice_of(values, count),
                is_null: slice_of(nulls, count),
            }
        }
    }

    /// How long each dimension is, outermost first.
    pub fn sizes(&self) -> impl ExactSizeIterator<Item = usize> {
        self.sizes.iter().map(|size| size.unsigned_abs() as usize)
    }

    /// Whether every dimension counts from 1.
    pub fn counts_from_1(&self) -> bool {
        self.lower_bounds.iter().all(|bound| *bound == 1)
    }

    /// All elements, `None` for NULL.
    pub fn elements(&self) -> impl Iterator<Item = Option<pg_sys::Datum>> + use<'a> {
        self.values.iter().zip(self.is_null).map(|(value, is_null)| (!is_null).then_some(*value))
    }
}

/// # Safety
/// There are `count` elements at `first`, which outlive `'a`, or there are none.
unsafe fn slice_of<'a, T>(first: *const T, count: usize) -> &'a [T] {
    // SAFETY: by contract.
    if count == 0 { &[] } else { unsafe { std::slice::from_raw_parts(first, count) } }
}

/// Elements of an array that is being put together, in PostgreSQL's memory.
pub struct Elements<'a> {
    values: &'a mut [pg_sys::Datum],
    is_null: &'a mut [bool],
}

impl Elements<'_> {
    /// Most elements of an array (utils/array.h).
    pub const MOST: usize = 0x3fff_ffff / size_of::<pg_sys::Datum>();

    /// `count` elements, all NULL; at most [`Self::MOST`].
    pub fn of_len(count: usize) -> Self {
        // SAFETY: palloc answers with memory of that size, which is allowed, or raises; all of it is written before it
        // is read.
        unsafe {
            let values = palloc(count * size_of::<pg_sys::Datum>()).cast::<pg_sys::Datum>();
            let is_null = palloc(count).cast::<bool>();
            for at in 0..count {
                values.add(at).write(pg_sys::Datum::null());
                is_null.add(at).write(true);
            }
            Elements {
                values: std::slice::from_raw_parts_mut(values, count),
                is_null: std::slice::from_raw_parts_mut(is_null, count),
            }
        }
    }

    /// Sets the element `at`.
    pub fn set(&mut self, at: usize, value: pg_sys::Datum) {
        if let (Some(element), Some(is_null)) = (self.values.get_mut(at), self.is_null.get_mut(at))
        {
            *element = value;
            *is_null = false;
        }
    }

    /// The array of `dimensions`, counted from 1, whose lengths give the number of elements.
    ///
    /// # Safety
    /// The elements are of type `element`, which is stored so.
    pub unsafe fn into_array(
        self,
        dimensions: &[usize],
        element: pg_sys::Oid,
        storage: Storage,
    ) -> pg_sys::Datum {
        let count = dimensions.len().min(pg_sys::MAXDIM as usize);
        let (mut sizes, mut lower_bounds) = ([0i32; 6], [1i32; 6]);
        for (size, dimension) in sizes.iter_mut().zip(dimensions) {
            *size = i32::try_from(*dimension).unwrap_or(i32::MAX);
        }
        // SAFETY: by contract; PostgreSQL copies the elements.
        let array = unsafe {
            pg_sys::construct_md_array(
                self.values.as_mut_ptr(),
                self.is_null.as_mut_ptr(),
                count as std::ffi::c_int,
                sizes.as_mut_ptr(),
                lower_bounds.as_mut_ptr(),
                element,
                storage.len.into(),
                storage.by_value,
                storage.align,
            )
        };
        pg_sys::Datum::from(array)
    }
}

/// A `bytea[]` whose elements stand side by side in `bytes`, each of them `len` long: written as it stands in memory, for
/// each question makes one.
pub fn of_bytes(bytes: &[u8], len: usize) -> pg_sys::Datum {
    const ALIGN: usize = align_of::<i32>();
    /// After the array's own words: how many elements, and the number of the first.
    const HEAD: usize = size_of::<pg_sys::ArrayType>() + 2 * size_of::<i32>();
    if bytes.is_empty() {
        // SAFETY: an array without elements and dimensions, in memory of its own.
        return pg_sys::Datum::from(unsafe { pg_sys::construct_empty_array(pg_sys::BYTEAOID) });
    }
    let (elements, each) =
        (bytes.chunks_exact(len), (pg_sys::VARHDRSZ + len).next_multiple_of(ALIGN));
    let count = elements.len();
    let mut array = VarlenaBuf::of_len(HEAD - pg_sys::VARHDRSZ + count * each);
    array.as_mut_slice().fill(0);
    let array = array.into_datum();
    // SAFETY: memory for all of it, aligned as PostgreSQL aligns values; each element has a length word, and is aligned as
    // that is. A dimension, no NULL.
    unsafe {
        let head = array.cast_mut_ptr::<pg_sys::ArrayType>();
        (*head).ndim = 1;
        (*head).elemtype = pg_sys::BYTEAOID;
        let dimension = head.add(1).cast::<i32>();
        dimension.write(count as i32);
        dimension.add(1).write(1);
        let first = head.cast::<u8>().add(HEAD);
        for (at, element) in elements.enumerate() {
            let place = first.add(at * each);
            pgrx::set_varsize_4b(place.cast(), (pg_sys::VARHDRSZ + len) as i32);
            std::ptr::copy_nonoverlapping(element.as_ptr(), place.add(pg_sys::VARHDRSZ), len);
        }
    }
    array
}
