//! Memory of PostgreSQL's that outlives a call: what is kept there from row to row needs no malloc.

use std::ffi::CStr;
use std::marker::PhantomData;

use pgrx::pg_sys;

/// A memory context that lives as long as `'a`.
#[derive(Clone, Copy)]
pub struct Memory<'a>(pg_sys::MemoryContext, PhantomData<&'a ()>);

impl<'a> Memory<'a> {
    /// That of what a call keeps for the calls after it.
    ///
    /// # Safety
    /// `fcinfo` is the call's own, with its `flinfo`; what is made there is not used after the `FmgrInfo` is gone.
    pub unsafe fn of_call(fcinfo: pg_sys::FunctionCallInfo) -> Memory<'a> {
        // SAFETY: by contract.
        Memory(unsafe { (*(*fcinfo).flinfo).fn_mcxt }, PhantomData)
    }

    /// Room for `count` of `T`, which nothing was written to.
    pub fn room<T>(self, count: usize) -> *mut T {
        // SAFETY: the context lives; PostgreSQL raises for more than it allows, and aligns for all types.
        unsafe { pg_sys::MemoryContextAlloc(self.0, count.max(1) * size_of::<T>()).cast() }
    }

    /// What `items` gives, in order; its first error, if there is one.
    pub fn filled<T: Copy, E>(
        self,
        items: impl ExactSizeIterator<Item = Result<T, E>>,
    ) -> Result<&'a mut [T], E> {
        let room = self.room::<T>(items.len());
        let (count, mut written) = (items.len(), 0);
        for item in items.take(count) {
            let item = item?;
            // SAFETY: there is room for as many as are counted.
            unsafe { room.add(written).write(item) };
            written += 1;
        }
        // SAFETY: so many were written, and nobody else has the room.
        Ok(unsafe { std::slice::from_raw_parts_mut(room, written) })
    }

    /// A copy of `text`, up to a NUL in it.
    pub fn text(self, text: &[u8]) -> &'a CStr {
        let len = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
        let room = self.room::<u8>(len + 1);
        // SAFETY: there is room for all and the NUL behind it.
        unsafe {
            std::ptr::copy_nonoverlapping(text.as_ptr(), room, len);
            room.add(len).write(0);
            CStr::from_bytes_with_nul_unchecked(std::slice::from_raw_parts(room, len + 1))
        }
    }
}
