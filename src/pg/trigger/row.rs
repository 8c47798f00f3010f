//! The row that a trigger is given, read and changed column by column.

use std::ffi::c_int;

use pgrx::pg_sys;

use super::values::{Room, Values, has_missing, stored_columns};
use crate::pg::varlena::VarlenaBuf;

unsafe extern "C" {
    // access/htup_details.h, without the guard of pgrx's bindings, which costs a row more than it does: raises nothing.
    fn nocachegetattr(
        tuple: pg_sys::HeapTuple,
        column: c_int,
        descriptor: pg_sys::TupleDesc,
    ) -> pg_sys::Datum;
}

/// The row that a BEFORE trigger is given and hands on, changed or not.
pub struct Row<'a> {
    /// As it was given.
    tuple: pg_sys::HeapTuple,
    descriptor: pg_sys::TupleDesc,
    /// For its columns.
    room: Option<Room>,
    /// All columns, once they were looked for together.
    apart: Option<Values<'a>>,
    is_changed: bool,
}

impl<'a> Row<'a> {
    /// With `room`, if there is some; else in the current memory context.
    ///
    /// # Safety
    /// `tuple` is one of `descriptor`'s, and both outlive `'a`. The room is for as many columns, and for `'a` nobody
    /// else's.
    pub(super) unsafe fn of(
        tuple: pg_sys::HeapTuple,
        descriptor: pg_sys::TupleDesc,
        room: Option<Room>,
    ) -> Row<'a> {
        Row { tuple, descriptor, room, apart: None, is_changed: false }
    }

    /// Whether a column is NULL; the value is not looked for.
    pub fn is_null(&self, column: i16) -> bool {
        match &self.apart {
            Some(columns) => columns.at(index(column)).is_none(),
            // SAFETY: `column` came from `column()` of the same relation.
            None => unsafe { is_null(self.tuple, self.descriptor, column) },
        }
    }

    /// A column's value; `None` for NULL.
    pub fn value(&self, column: i16) -> Option<pg_sys::Datum> {
        match &self.apart {
            Some(columns) => columns.at(index(column)),
            // SAFETY: as above.
            None => unsafe { value(self.tuple, self.descriptor, column) },
        }
    }

    /// Replaces a column's value.
    pub fn replace(&mut self, column: i16, value: VarlenaBuf) {
        self.replace_by(column, value.into_datum());
    }

    /// As [`Self::replace`], by a value of the column's type that outlives the row.
    pub fn replace_by(&mut self, column: i16, value: pg_sys::Datum) {
        self.change(column, Some(value));
    }

    /// Makes a column NULL.
    pub fn empty(&mut self, column: i16) {
        self.change(column, None);
    }

    fn change(&mut self, column: i16, value: Option<pg_sys::Datum>) {
        self.is_changed = true;
        self.columns().set(index(column), value);
    }

    /// Finds all columns at once, as changing one of them needs: to read one after the other before that costs more.
    pub fn take_apart(&mut self) {
        self.columns();
    }

    fn columns(&mut self) -> &mut Values<'a> {
        // SAFETY: the tuple is one of the descriptor's; the room is this row's.
        self.apart.get_or_insert_with(|| unsafe {
            match self.room {
                Some(room) => Values::in_room(self.tuple, self.descriptor, room),
                None => Values::of(self.tuple, self.descriptor),
            }
        })
    }

    /// The tuple to answer with: the one given, unless a value was replaced.
    pub fn into_datum(self) -> pg_sys::Datum {
        let Some(mut columns) = self.apart.filter(|_| self.is_changed) else {
            return pg_sys::Datum::from(self.tuple);
        };
        // SAFETY: values and nulls are those of the descriptor's columns. The new tuple, in the
        // trigger's memory context, stands where the old one does, as `heap_modify_tuple` has it.
        unsafe {
            let tuple = columns.form(self.descriptor);
            (*(*tuple).t_data).t_ctid = (*(*self.tuple).t_data).t_ctid;
            (*tuple).t_self = (*self.tuple).t_self;
            (*tuple).t_tableOid = (*self.tuple).t_tableOid;
            pg_sys::Datum::from(tuple)
        }
    }
}

/// Where a column stands among a row's values.
fn index(column: i16) -> usize {
    usize::from(column.unsigned_abs()) - 1
}

/// A column's value in a tuple; `None` for NULL.
///
/// # Safety
/// The tuple is one of the descriptor's, and `column` one of its columns.
pub(super) unsafe fn value(
    tuple: pg_sys::HeapTuple,
    descriptor: pg_sys::TupleDesc,
    column: i16,
) -> Option<pg_sys::Datum> {
    // SAFETY: by contract; what is not NULL stands in the tuple.
    unsafe {
        if stored_columns(tuple) <= index(column) {
            return if has_missing(descriptor) {
                added_since(tuple, descriptor, column)
            } else {
                None
            };
        }
        let is_null = is_null_here(tuple, column);
        (!is_null).then(|| nocachegetattr(tuple, column.into(), descriptor))
    }
}

/// # Safety
/// That of [`value`].
unsafe fn is_null(tuple: pg_sys::HeapTuple, descriptor: pg_sys::TupleDesc, column: i16) -> bool {
    // SAFETY: by contract.
    unsafe {
        if stored_columns(tuple) <= index(column) {
            return !has_missing(descriptor) || added_since(tuple, descriptor, column).is_none();
        }
        is_null_here(tuple, column)
    }
}

/// # Safety
/// The tuple has that column.
unsafe fn is_null_here(tuple: pg_sys::HeapTuple, column: i16) -> bool {
    // SAFETY: by contract; a tuple with NULLs has a bit for each column, set where there is a value.
    unsafe {
        if pg_sys::htup::HeapTupleNoNulls(tuple) {
            return false;
        }
        let at = index(column);
        *(*(*tuple).t_data).t_bits.as_ptr().add(at / 8) & (1 << (at % 8)) == 0
    }
}

/// The value of a column that the table has got since the tuple was stored.
///
/// # Safety
/// That of [`value`].
#[cold]
unsafe fn added_since(
    tuple: pg_sys::HeapTuple,
    descriptor: pg_sys::TupleDesc,
    column: i16,
) -> Option<pg_sys::Datum> {
    let mut is_null = true;
    // SAFETY: by contract.
    let datum = unsafe { pg_sys::heap_getattr(tuple, column.into(), descriptor, &mut is_null) };
    if is_null { None } else { Some(datum) }
}
