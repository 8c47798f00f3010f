//! A C string under construction in PostgreSQL's memory: what an output function answers with.

use std::ptr::NonNull;

use pgrx::pg_sys;

use crate::pg::varlena::palloc;

/// The longest: PostgreSQL's limit of one allocation, less the byte that ends it.
pub const MAX_LEN: usize = 0x3fff_ffff - 1;

/// A palloc'd C string, handed to PostgreSQL when it is done.
pub struct CStringBuf {
    bytes: NonNull<u8>,
    len: usize,
}

impl CStringBuf {
    /// `len` bytes, at most [`MAX_LEN`], which the caller writes; none of them is to be 0.
    pub fn of_len(len: usize) -> CStringBuf {
        // SAFETY: palloc answers with memory of that size, which is allowed, or raises; its last byte ends the string.
        unsafe {
            let bytes = palloc(len + 1).cast::<u8>();
            bytes.add(len).write(0);
            CStringBuf { bytes: NonNull::new_unchecked(bytes), len }
        }
    }

    /// A copy of `text`.
    pub fn copy_of(text: &[u8]) -> CStringBuf {
        let mut copy = CStringBuf::of_len(text.len());
        copy.as_mut_slice().copy_from_slice(text);
        copy
    }

    /// The bytes before the one that ends it.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: `of_len` made that many; `self` is their only owner.
        unsafe { std::slice::from_raw_parts_mut(self.bytes.as_ptr(), self.len) }
    }

    /// Gives the memory to PostgreSQL; its memory context frees it.
    pub fn into_datum(self) -> pg_sys::Datum {
        pg_sys::Datum::from(self.bytes.as_ptr())
    }
}
