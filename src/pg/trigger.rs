//! A trigger's call: who fired it, with which row.

use std::ffi::CStr;
use std::marker::PhantomData;

use pgrx::callconv::{BoxRet, FcInfo};
use pgrx::datum::Datum;
use pgrx::pg_sys;

use crate::pg::encoding;
use crate::pg::varlena::VarlenaBuf;

unsafe extern "C" {
    // utils/datum.h, which pgrx does not bind; raises nothing.
    fn datumIsEqual(
        one: pg_sys::Datum,
        other: pg_sys::Datum,
        by_value: bool,
        length: std::ffi::c_int,
    ) -> bool;
}

/// The call of a trigger function.
pub struct TriggerCall<'a> {
    data: &'a pg_sys::TriggerData,
}

/// The row a BEFORE trigger hands on.
pub struct Row<'a> {
    tuple: pg_sys::HeapTuple,
    call: PhantomData<&'a ()>,
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
            let descriptor = (*self.data.tg_relation).rd_att;
            let number = pg_sys::SPI_fnumber(descriptor, name.as_ptr());
            if number <= 0 {
                return None;
            }
            Some((number as i16, pg_sys::SPI_gettypeid(descriptor, number)))
        }
    }

    /// The row as it is about to be stored.
    pub fn new_row(&self) -> Row<'a> {
        let tuple = if self.is_update() { self.data.tg_newtuple } else { self.data.tg_trigtuple };
        Row { tuple, call: PhantomData }
    }

    /// A column of the row about to be stored; `None` for NULL.
    pub fn new_value(&self, row: &Row<'a>, column: i16) -> Option<pg_sys::Datum> {
        self.value(row.tuple, column)
    }

    /// A column of the row that UPDATE replaces; `None` for NULL, and on INSERT.
    pub fn old_value(&self, column: i16) -> Option<pg_sys::Datum> {
        if self.is_update() { self.value(self.data.tg_trigtuple, column) } else { None }
    }

    fn value(&self, tuple: pg_sys::HeapTuple, column: i16) -> Option<pg_sys::Datum> {
        let mut is_null = true;
        // SAFETY: `column` came from `column()` of the same relation.
        let datum = unsafe {
            let descriptor = (*self.data.tg_relation).rd_att;
            pg_sys::SPI_getbinval(tuple, descriptor, i32::from(column), &mut is_null)
        };
        if is_null { None } else { Some(datum) }
    }

    /// The row with one column replaced.
    pub fn with_value(&self, row: Row<'a>, column: i16, value: VarlenaBuf) -> Row<'a> {
        let (mut column, mut datum, mut is_null) =
            (std::ffi::c_int::from(column), value.into_datum(), false);
        // SAFETY: copies the tuple into the trigger's memory context; `column` is one of its own.
        let tuple = unsafe {
            pg_sys::heap_modify_tuple_by_cols(
                row.tuple,
                (*self.data.tg_relation).rd_att,
                1,
                &mut column,
                &mut datum,
                &mut is_null,
            )
        };
        Row { tuple, call: PhantomData }
    }
}

/// Whether two bytea datums of the same row version are the same stored value, byte for byte,
/// without fetching anything from TOAST.
pub fn is_same_stored_value(old: pg_sys::Datum, new: pg_sys::Datum) -> bool {
    // SAFETY: both are non-null bytea datums.
    unsafe { datumIsEqual(old, new, false, -1) }
}

// SAFETY: a trigger function returns the tuple's pointer, as PostgreSQL asks.
unsafe impl BoxRet for Row<'_> {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        // SAFETY: as above; the tuple lives in the trigger's memory context or is the caller's.
        unsafe { fcinfo.return_raw_datum(pg_sys::Datum::from(self.tuple)) }
    }
}

pgrx::impl_sql_translatable!(Row<'_>, "trigger");
