//! A row taken apart: its columns' values.

use std::ffi::c_char;

use pgrx::pg_sys;

use crate::pg::varlena::palloc;

unsafe extern "C" {
    // access/htup_details.h, without the guard of pgrx's bindings, which costs a row more than it does: raises nothing
    // for a tuple that has all columns, or nothing in those that it lacks.
    fn heap_deform_tuple(
        tuple: pg_sys::HeapTuple,
        descriptor: pg_sys::TupleDesc,
        values: *mut pg_sys::Datum,
        is_null: *mut bool,
    );
}

/// A row taken apart.
pub struct Values<'a> {
    values: &'a mut [pg_sys::Datum],
    is_null: &'a mut [bool],
}

/// Memory that a row can be taken apart in, one after the other.
#[derive(Clone, Copy)]
pub struct Room {
    pub values: *mut pg_sys::Datum,
    pub is_null: *mut bool,
}

impl Values<'_> {
    /// As many as are counted, in PostgreSQL's memory.
    pub fn taken(values: impl Iterator<Item = Option<pg_sys::Datum>>, count: usize) -> Self {
        let mut taken = Self::nulls(count);
        for (at, value) in values.take(count).enumerate() {
            taken.set(at, value);
        }
        taken
    }

    fn nulls(count: usize) -> Self {
        let most = count.max(1);
        // SAFETY: palloc answers with memory of that size, or raises; all of it is written.
        unsafe {
            let values = palloc(most * size_of::<pg_sys::Datum>()).cast::<pg_sys::Datum>();
            let is_null = palloc(most).cast::<bool>();
            for at in 0..count {
                values.add(at).write(pg_sys::Datum::null());
                is_null.add(at).write(true);
            }
            Values {
                values: std::slice::from_raw_parts_mut(values, count),
                is_null: std::slice::from_raw_parts_mut(is_null, count),
            }
        }
    }

    /// The value at `at`; `None` for NULL.
    pub fn at(&self, at: usize) -> Option<pg_sys::Datum> {
        (!self.is_null[at]).then(|| self.values[at])
    }

    /// Sets the value at `at`.
    pub fn set(&mut self, at: usize, value: Option<pg_sys::Datum>) {
        self.is_null[at] = value.is_none();
        self.values[at] = value.unwrap_or(pg_sys::Datum::null());
    }

    /// As parameters of a statement: the values, and a mark for each that is NULL.
    pub fn for_spi(&self) -> (*mut pg_sys::Datum, *const c_char) {
        // SAFETY: palloc answers with memory of that size, or raises; all of it is written.
        unsafe {
            let marks = palloc(self.is_null.len().max(1)).cast::<c_char>();
            for (at, is_null) in self.is_null.iter().enumerate() {
                marks.add(at).write(if *is_null { b'n' } else { b' ' } as c_char);
            }
            (self.values.as_ptr().cast_mut(), marks)
        }
    }

    /// A tuple of them, in the current memory context.
    ///
    /// # Safety
    /// They are values of the descriptor's columns.
    pub unsafe fn form(&mut self, descriptor: pg_sys::TupleDesc) -> pg_sys::HeapTuple {
        // SAFETY: by contract.
        unsafe {
            pg_sys::heap_form_tuple(descriptor, self.values.as_mut_ptr(), self.is_null.as_mut_ptr())
        }
    }

    /// Takes `tuple` apart, in the current memory context.
    ///
    /// # Safety
    /// `tuple` is one of `descriptor`'s, and both outlive what is made of them.
    pub unsafe fn of(tuple: pg_sys::HeapTuple, descriptor: pg_sys::TupleDesc) -> Self {
        // SAFETY: by contract; palloc answers with memory of that size, or raises.
        unsafe {
            let count = columns(descriptor);
            let values = palloc(count * size_of::<pg_sys::Datum>()).cast();
            Self::in_room(tuple, descriptor, Room { values, is_null: palloc(count).cast() })
        }
    }

    /// Takes `tuple` apart.
    ///
    /// # Safety
    /// That of [`Self::of`]; the room is for as many columns as the descriptor has, and for `'a` nobody else's.
    pub unsafe fn in_room(
        tuple: pg_sys::HeapTuple,
        descriptor: pg_sys::TupleDesc,
        Room { values, is_null }: Room,
    ) -> Self {
        // SAFETY: by contract; as many values and nulls are written as there are columns. With columns missing in the
        // tuple PostgreSQL may raise where it has values for them, so that its guard is needed.
        unsafe {
            let count = columns(descriptor);
            if stored_columns(tuple) >= count || !has_missing(descriptor) {
                heap_deform_tuple(tuple, descriptor, values, is_null);
            } else {
                pg_sys::heap_deform_tuple(tuple, descriptor, values, is_null);
            }
            Values {
                values: std::slice::from_raw_parts_mut(values, count),
                is_null: std::slice::from_raw_parts_mut(is_null, count),
            }
        }
    }
}

/// Whether rows that were stored before a column was added have a value in it.
///
/// # Safety
/// The descriptor is one.
pub unsafe fn has_missing(descriptor: pg_sys::TupleDesc) -> bool {
    // SAFETY: by contract.
    unsafe { (*descriptor).constr.as_ref() }
        .is_some_and(|constraints| !constraints.missing.is_null())
}

/// How many columns there are, at most 1,600.
///
/// # Safety
/// The descriptor is one.
pub unsafe fn columns(descriptor: pg_sys::TupleDesc) -> usize {
    // SAFETY: by contract.
    unsafe { (*descriptor).natts.unsigned_abs() as usize }
}

/// How many columns a tuple has: fewer than its table when some were added since.
///
/// # Safety
/// The tuple is one.
pub unsafe fn stored_columns(tuple: pg_sys::HeapTuple) -> usize {
    // SAFETY: by contract.
    unsafe { pg_sys::htup::HeapTupleHeaderGetNatts((*tuple).t_data).into() }
}
