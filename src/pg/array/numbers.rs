//! Arrays of `bigint`.

use pgrx::pg_sys;

use super::{Elements, TakenApart, slice_of};
use crate::pg::kinds::Storage;

/// How the elements of a `bigint[]` are stored.
const NUMBERS: Storage = Storage { len: 8, by_value: true, align: b'd' as std::ffi::c_char };

/// A `bigint[]` argument as it stands there, of whatever shape.
pub struct Numbers<'a> {
    /// Those that are not NULL, if none is.
    plain: &'a [i64],
    /// All of them, if one is NULL.
    with_null: Option<TakenApart<'a>>,
}

impl<'a> Numbers<'a> {
    /// # Safety
    /// `datum` is a non-null bigint[] that outlives `'a`, as the current memory context does.
    pub unsafe fn of(datum: pg_sys::Datum) -> Numbers<'a> {
        // SAFETY: by contract; after an array's head stand its sizes and lower bounds, and then, aligned as the array
        // is, as many elements as the sizes give, if there is no bitmap of those that are NULL.
        unsafe {
            let array = pg_sys::pg_detoast_datum(datum.cast_mut_ptr()).cast::<pg_sys::ArrayType>();
            if (*array).dataoffset != 0 {
                let datum = pg_sys::Datum::from(array);
                let all = TakenApart::of(datum, pg_sys::INT8OID, NUMBERS);
                return Numbers { plain: &[], with_null: Some(all) };
            }
            let dimensions = (*array).ndim.unsigned_abs() as usize;
            let head = array.add(1).cast::<i32>();
            let sizes = std::slice::from_raw_parts(head, dimensions);
            let count = match sizes {
                [] => 0,
                sizes => sizes.iter().map(|size| size.unsigned_abs() as usize).product(),
            };
            let plain = slice_of(head.add(2 * dimensions).cast::<i64>(), count);
            Numbers { plain, with_null: None }
        }
    }

    /// All of them, if they stand side by side: none is NULL.
    pub fn plain(&self) -> Option<&[i64]> {
        if self.with_null.is_none() { Some(self.plain) } else { None }
    }

    /// How many there are, with those that are NULL.
    pub fn len(&self) -> usize {
        self.with_null.as_ref().map_or(self.plain.len(), |all| all.values.len())
    }

    /// Whether one is NULL.
    pub fn has_null(&self) -> bool {
        self.with_null.as_ref().is_some_and(|all| all.is_null.contains(&true))
    }

    /// Those that are not NULL.
    pub fn present(&self) -> impl Iterator<Item = i64> {
        let others = self.with_null.iter().flat_map(TakenApart::elements).flatten();
        self.plain.iter().copied().chain(others.map(|datum| datum.value() as i64))
    }
}

/// A `bigint[]` of these.
pub fn of_numbers(elements: &[i64]) -> pg_sys::Datum {
    let mut array = Elements::of_len(elements.len());
    for (at, element) in elements.iter().enumerate() {
        array.set(at, pg_sys::Datum::from(*element));
    }
    let sizes = [elements.len()];
    // SAFETY: elements of that type. An empty array has no dimension.
    unsafe { array.into_array(&sizes[..elements.len().min(1)], pg_sys::INT8OID, NUMBERS) }
}
