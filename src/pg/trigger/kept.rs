//! What the calls of a trigger keep from row to row of a statement: what its arguments mean, and room for a row.
//!
//! PostgreSQL calls a trigger through the same `FmgrInfo` for all rows that a statement brings to a table, and for each
//! partition through another one. It holds a copy of the trigger meanwhile, and a lock on the table; what may change all the
//! same is the table's descriptor, when something that the statement calls renames a column.

use std::ffi::CStr;

use pgrx::pg_sys;

use super::values::{Room, columns};
use super::{Row, TriggerCall};
use crate::pg::call;
use crate::pg::memory::Memory;

/// What the first call keeps.
struct Kept<A> {
    of: Of,
    arguments: *mut A,
    count: usize,
    room: Room,
}

/// What it was made for.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Of {
    trigger: *mut pg_sys::Trigger,
    relation: pg_sys::Oid,
    descriptor: pg_sys::TupleDesc,
}

impl<'a> TriggerCall<'a> {
    /// What `read` has made of each argument, kept from row to row while the table stays as it is; and the row as it is about
    /// to be stored, in room that is kept, too.
    ///
    /// # Safety
    /// A function always keeps the same `A`, but for lifetimes.
    #[inline(always)]
    pub unsafe fn kept<A: Copy, E>(
        &self,
        read: impl Fn(Memory<'a>, &'a CStr) -> Result<A, E>,
    ) -> Result<(&'a mut [A], Row<'a>), E> {
        let of = Of {
            trigger: self.data.tg_trigger,
            relation: self.relation_oid(),
            descriptor: self.descriptor(),
        };
        // SAFETY: by contract. `A` is `Copy`, and needs no drop. What is kept lives as long as the `FmgrInfo`, with the copy
        // of the trigger that the arguments stand in; calls through it do not overlap.
        unsafe {
            let kept = call::kept(self.fcinfo, |_| Ok(Kept::nothing()))?;
            if kept.of != of {
                // Nothing counts while it is being read, which may fail.
                *kept = Kept::nothing();
                *kept = self.read_all(Memory::of_call(self.fcinfo), of, read)?;
            }
            let arguments = std::slice::from_raw_parts_mut(kept.arguments, kept.count);
            Ok((arguments, Row::of(self.new_tuple(), of.descriptor, Some(kept.room))))
        }
    }

    #[inline(never)]
    fn read_all<A: Copy, E>(
        &self,
        memory: Memory<'a>,
        of: Of,
        read: impl Fn(Memory<'a>, &'a CStr) -> Result<A, E>,
    ) -> Result<Kept<A>, E> {
        let arguments = memory.filled(self.arguments().map(|text| read(memory, text)))?;
        // SAFETY: a relation's descriptor is one.
        let count = unsafe { columns(of.descriptor) };
        let room = Room { values: memory.room(count), is_null: memory.room(count) };
        Ok(Kept { of, count: arguments.len(), arguments: arguments.as_mut_ptr(), room })
    }
}

impl<A> Kept<A> {
    fn nothing() -> Kept<A> {
        let (trigger, descriptor) = (std::ptr::null_mut(), std::ptr::null_mut());
        let (values, is_null) = (std::ptr::null_mut(), std::ptr::null_mut());
        Kept {
            of: Of { trigger, relation: pg_sys::InvalidOid, descriptor },
            arguments: std::ptr::null_mut(),
            count: 0,
            room: Room { values, is_null },
        }
    }
}
