//! A trigger's call: who fired it, with which row.

mod kept;
mod row;
mod values;

use std::ffi::{CStr, c_char, c_int};

use pgrx::pg_sys;
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;

use crate::pg::encoding;
use crate::pg::tid::Tid;

pub use row::Row;
pub use values::Values;

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
    // nodes/bitmapset.h, without the guard of pgrx's bindings, which costs a row more than it does: raises nothing for a
    // number that is not negative.
    fn bms_is_member(number: c_int, set: *const pg_sys::Bitmapset) -> bool;
    // executor/spi.h, as above: they look through a descriptor.
    fn SPI_fnumber(descriptor: pg_sys::TupleDesc, name: *const c_char) -> c_int;
    fn SPI_gettypeid(descriptor: pg_sys::TupleDesc, number: c_int) -> pg_sys::Oid;
}

/// The call of a trigger function.
pub struct TriggerCall<'a> {
    data: &'a pg_sys::TriggerData,
    fcinfo: pg_sys::FunctionCallInfo,
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
            Some(TriggerCall { data: &*context.cast::<pg_sys::TriggerData>(), fcinfo })
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
    pub fn arguments(&self) -> impl ExactSizeIterator<Item = &'a CStr> {
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
        // SAFETY: a trigger's rows are of its relation, and there while it runs.
        unsafe { Row::of(self.new_tuple(), self.descriptor(), None) }
    }

    fn new_tuple(&self) -> pg_sys::HeapTuple {
        if self.is_update() { self.data.tg_newtuple } else { self.data.tg_trigtuple }
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
        unsafe { row::value(self.data.tg_trigtuple, self.descriptor(), column) }
    }

    /// Whether the statement that fired UPDATE names the column among those that it sets. In MERGE those of all its
    /// actions count.
    pub fn names(&self, column: i16) -> bool {
        let number = i32::from(column) - pg_sys::FirstLowInvalidHeapAttributeNumber;
        // SAFETY: the set lives as long as the trigger runs; null is the empty one.
        self.is_update() && unsafe { bms_is_member(number, self.data.tg_updatedcols) }
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
        unsafe { Values::of(self.new_tuple(), self.descriptor()) }
    }

    /// The row that UPDATE or DELETE is about.
    pub fn old_tuple(&self) -> pg_sys::HeapTuple {
        self.data.tg_trigtuple
    }

    /// What to answer for the row as it was given.
    pub fn as_given(&self) -> pg_sys::Datum {
        pg_sys::Datum::from(self.new_tuple())
    }

    /// The columns of what it stands on.
    pub fn descriptor(&self) -> pg_sys::TupleDesc {
        // SAFETY: a trigger's relation is open while it runs.
        unsafe { (*self.data.tg_relation).rd_att }
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
