//! A trigger's call: who fired it, with which row.

use std::ffi::{CStr, c_char, c_int};

use pgrx::pg_sys;
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;

use crate::pg::encoding;
use crate::pg::tid::Tid;
use crate::pg::varlena::{VarlenaBuf, palloc};

unsafe extern "C-unwind" {
    // utils/datum.h, which pgrx does not bind. Fetches what it must from TOAST, and so may raise.
    fn datum_image_eq(
        one: pg_sys::Datum,
        other: pg_sys::Datum,
        by_value: bool,
        length: c_int,
    ) -> bool;
}

unsafe extern "C" {
    // utils/datum.h, which pgrx does not bind; raises nothing.
    fn datumIsEqual(
        one: pg_sys::Datum,
        other: pg_sys::Datum,
        by_value: bool,
        length: c_int,
    ) -> bool;
    // executor/spi.h, without the guard of pgrx's bindings: for a column that exists they raise
    // nothing, and a guard costs a row more than they do.
    fn SPI_fnumber(descriptor: pg_sys::TupleDesc, name: *const c_char) -> c_int;
    fn SPI_gettypeid(descriptor: pg_sys::TupleDesc, number: c_int) -> pg_sys::Oid;
    // access/htup_details.h, likewise: raises nothing for a tuple that has all columns.
    fn heap_deform_tuple(
        tuple: pg_sys::HeapTuple,
        descriptor: pg_sys::TupleDesc,
        values: *mut pg_sys::Datum,
        is_null: *mut bool,
    );
}

/// The call of a trigger function.
pub struct TriggerCall<'a> {
    data: &'a pg_sys::TriggerData,
}

/// The row that a BEFORE trigger is given and hands on, changed or not.
pub struct Row<'a> {
    /// As it was given.
    tuple: pg_sys::HeapTuple,
    descriptor: pg_sys::TupleDesc,
    /// All columns, once one was replaced.
    changed: Option<Values<'a>>,
}

/// A row taken apart.
pub struct Values<'a> {
    values: &'a mut [pg_sys::Datum],
    is_null: &'a mut [bool],
}

impl<'a> TriggerCall<'a> {
    /// `None` when the function is not called as a trigger.
    ///
    /// # Safety
    /// `fcinfo` is the call's own, and outlives `'a`.
    pub unsafe fn from_fcinfo(fcinfo: pg_sys::FunctionCallInfo) -> Option<TriggerCall<'a>> {
        // SAFETY: by contract; the node's tag says whether it is a TriggerData.
        unsafe {
            let context = (*fcinfo).context;
            if context.is_null() || (*context).type_ != pg_sys::NodeTag::T_TriggerData {
                return None;
            }
            Some(TriggerCall { data: &*context.cast::<pg_sys::TriggerData>() })
        }
    }

    fn event(&self, mask: u32) -> u32 {
        self.data.tg_event & mask
    }

    /// Fired before the event.
    pub fn is_before(&self) -> bool {
        self.event(pg_sys::TRIGGER_EVENT_TIMINGMASK) == pg_sys::TRIGGER_EVENT_BEFORE
    }

    /// Fired in place of the event, on a view.
    pub fn is_instead(&self) -> bool {
        self.event(pg_sys::TRIGGER_EVENT_TIMINGMASK) == pg_sys::TRIGGER_EVENT_INSTEAD
    }

    /// Fired for each row.
    pub fn is_for_row(&self) -> bool {
        self.event(pg_sys::TRIGGER_EVENT_ROW) != 0
    }

    /// Fired by INSERT, or by COPY.
    pub fn is_insert(&self) -> bool {
        self.event(pg_sys::TRIGGER_EVENT_OPMASK) == pg_sys::TRIGGER_EVENT_INSERT
    }

    /// Fired by UPDATE.
    pub fn is_update(&self) -> bool {
        self.event(pg_sys::TRIGGER_EVENT_OPMASK) == pg_sys::TRIGGER_EVENT_UPDATE
    }

    /// Its OID.
    pub fn oid(&self) -> pg_sys::Oid {
        // SAFETY: a trigger's description is there while it runs.
        unsafe { (*self.data.tg_trigger).tgoid }
    }

    /// The table it stands on; for a partition the partition itself.
    pub fn relation_oid(&self) -> pg_sys::Oid {
        // SAFETY: a trigger's relation is open while it runs.
        unsafe { (*self.data.tg_relation).rd_id }
    }

    /// The trigger's name.
    pub fn name(&self) -> String {
        // SAFETY: NUL-terminated, for as long as the trigger runs.
        let name = unsafe { CStr::from_ptr((*self.data.tg_trigger).tgname) };
        encoding::to_string(name.to_bytes())
    }

    /// The arguments given in CREATE TRIGGER.
    pub fn arguments(&self) -> impl Iterator<Item = &'a CStr> {
        let trigger = self.data.tg_trigger;
        // SAFETY: PostgreSQL keeps as many NUL-terminated arguments as it counts.
        (0..unsafe { (*trigger).tgnargs } as usize)
            .map(move |i| unsafe { CStr::from_ptr(*(*trigger).tgargs.add(i)) })
    }

    /// The number of the column named `name`, and its type; `None` when there is none.
    pub fn column(&self, name: &CStr) -> Option<(i16, pg_sys::Oid)> {
        // SAFETY: the relation's descriptor is valid while the trigger runs; SPI_fnumber answers
        // SPI_ERROR_NOATTRIBUTE, or a negative number for a system column.
        unsafe {
            let descriptor = self.descriptor();
            let number = SPI_fnumber(descriptor, name.as_ptr());
            if number <= 0 {
                return None;
            }
            Some((number as i16, SPI_gettypeid(descriptor, number)))
        }
    }

    /// Whether PostgreSQL computes the column itself, once triggers before the change have run.
    pub fn is_generated(&self, column: i16) -> bool {
        // SAFETY: the descriptor is valid while the trigger runs, and its constraints with it.
        unsafe {
            let constraints = (*self.descriptor()).constr;
            if constraints.is_null() || !has_generated(&*constraints) {
                return false;
            }
            pg_sys::get_attgenerated(self.relation_oid(), column) != 0
        }
    }

    /// The row as it is about to be stored.
    pub fn new_row(&self) -> Row<'a> {
        let tuple = if self.is_update() { self.data.tg_newtuple } else { self.data.tg_trigtuple };
        Row { tuple, descriptor: self.descriptor(), changed: None }
    }

    /// Where the row stands that UPDATE replaces; `None` on INSERT.
    pub fn old_row(&self) -> Option<Tid> {
        // SAFETY: the row that a trigger is fired for is there while it runs.
        self.is_update().then(|| Tid::of(unsafe { &(*self.data.tg_trigtuple).t_self }))
    }

    /// A column of the row that UPDATE replaces; `None` for NULL, and on INSERT.
    pub fn old_value(&self, column: i16) -> Option<pg_sys::Datum> {
        if !self.is_update() {
            return None;
        }
        // SAFETY: `column` came from `column()` of the same relation.
        unsafe { value(self.data.tg_trigtuple, self.descriptor(), column) }
    }

    /// Whether the statement that fired UPDATE names the column among those that it sets. In MERGE those of all its
    /// actions count.
    pub fn names(&self, column: i16) -> bool {
        let number = i32::from(column) - pg_sys::FirstLowInvalidHeapAttributeNumber;
        // SAFETY: the set lives as long as the trigger runs; null is the empty one.
        self.is_update() && unsafe { pg_sys::bms_is_member(number, self.data.tg_updatedcols) }
    }

    /// Whether UPDATE gives the column another value than it had.
    pub fn changes(&self, column: i16, kind: pg_sys::Oid, new: Option<pg_sys::Datum>) -> bool {
        !is_same_value(self.old_value(column), new, kind)
    }

    /// The row that UPDATE or DELETE is about, taken apart.
    pub fn old_values(&self) -> Values<'a> {
        // SAFETY: the tuple is one of the descriptor's, and there while the trigger runs.
        unsafe { Values::of(self.data.tg_trigtuple, self.descriptor()) }
    }

    /// The row that INSERT or UPDATE is to store, taken apart.
    pub fn new_values(&self) -> Values<'a> {
        // SAFETY: as above.
        unsafe { Values::of(self.new_row().tuple, self.descriptor()) }
    }

    /// The row that UPDATE or DELETE is about.
    pub fn old_tuple(&self) -> pg_sys::HeapTuple {
        self.data.tg_trigtuple
    }

    /// What to answer for the row as it was given.
    pub fn as_given(&self) -> pg_sys::Datum {
        let tuple = if self.is_update() { self.data.tg_newtuple } else { self.data.tg_trigtuple };
        pg_sys::Datum::from(tuple)
    }

    /// The columns of what it stands on.
    pub fn descriptor(&self) -> pg_sys::TupleDesc {
        // SAFETY: a trigger's relation is open while it runs.
        unsafe { (*self.data.tg_relation).rd_att }
    }
}

impl<'a> Row<'a> {
    /// A column's value; `None` for NULL.
    pub fn value(&self, column: i16) -> Option<pg_sys::Datum> {
        match &self.changed {
            Some(columns) if columns.is_null[index(column)] => None,
            Some(columns) => Some(columns.values[index(column)]),
            // SAFETY: `column` came from `column()` of the same relation.
            None => unsafe { value(self.tuple, self.descriptor, column) },
        }
    }

    /// Replaces a column's value.
    pub fn replace(&mut self, column: i16, value: VarlenaBuf) {
        self.replace_by(column, value.into_datum());
    }

    /// As [`Self::replace`], by a value of the column's type that outlives the row.
    pub fn replace_by(&mut self, column: i16, value: pg_sys::Datum) {
        let columns = self.columns();
        columns.values[index(column)] = value;
        columns.is_null[index(column)] = false;
    }

    /// Makes a column NULL.
    pub fn empty(&mut self, column: i16) {
        self.columns().is_null[index(column)] = true;
    }

    fn columns(&mut self) -> &mut Values<'a> {
        // SAFETY: the tuple is one of the descriptor's.
        self.changed.get_or_insert_with(|| unsafe { Values::of(self.tuple, self.descriptor) })
    }

    /// The tuple to answer with: the one given, unless a value was replaced.
    pub fn into_datum(self) -> pg_sys::Datum {
        let Some(mut columns) = self.changed else { return pg_sys::Datum::from(self.tuple) };
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
        // SAFETY: by contract; as many values and nulls are written as there are columns, which are
        // at most 1,600. With columns missing in the tuple PostgreSQL may raise, so that its guard
        // is needed.
        unsafe {
            let count = (*descriptor).natts.unsigned_abs() as usize;
            let values = palloc(count * size_of::<pg_sys::Datum>()).cast::<pg_sys::Datum>();
            let is_null = palloc(count).cast::<bool>();
            let stored = pg_sys::htup::HeapTupleHeaderGetNatts((*tuple).t_data);
            if usize::from(stored) >= count {
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

fn has_generated(constraints: &pg_sys::TupleConstr) -> bool {
    #[cfg(any(feature = "pg14", feature = "pg15", feature = "pg16", feature = "pg17"))]
    return constraints.has_generated_stored;
    #[cfg(not(any(feature = "pg14", feature = "pg15", feature = "pg16", feature = "pg17")))]
    {
        constraints.has_generated_stored || constraints.has_generated_virtual
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
unsafe fn value(
    tuple: pg_sys::HeapTuple,
    descriptor: pg_sys::TupleDesc,
    column: i16,
) -> Option<pg_sys::Datum> {
    let mut is_null = true;
    // SAFETY: by contract.
    let datum = unsafe { pg_sys::heap_getattr(tuple, column.into(), descriptor, &mut is_null) };
    if is_null { None } else { Some(datum) }
}

/// Whether the session plays what others have done: most triggers do not fire there.
pub fn is_replica() -> bool {
    // SAFETY: reads a variable of this backend.
    unsafe { pg_sys::SessionReplicationRole == pg_sys::SESSION_REPLICATION_ROLE_REPLICA as c_int }
}

/// Whether two bytea datums of the same row version are the same stored value, byte for byte,
/// without fetching anything from TOAST.
pub fn is_same_stored_value(old: pg_sys::Datum, new: pg_sys::Datum) -> bool {
    // SAFETY: both are non-null bytea datums.
    unsafe { datumIsEqual(old, new, false, -1) }
}

/// Whether two values of the type `kind` are the same, byte for byte, however they are stored.
pub fn is_same_value(
    one: Option<pg_sys::Datum>,
    other: Option<pg_sys::Datum>,
    kind: pg_sys::Oid,
) -> bool {
    let (Some(one), Some(other)) = (one, other) else { return one.is_none() && other.is_none() };
    let (mut length, mut by_value) = (0, false);
    // SAFETY: both are values of the type, which is there while a value of it is.
    unsafe {
        pg_sys::get_typlenbyval(kind, &mut length, &mut by_value);
        pg_guard_ffi_boundary(|| datum_image_eq(one, other, by_value, length.into()))
    }
}
