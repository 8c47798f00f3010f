//! Bytes in PostgreSQL's memory that grow as they are written: a row pays no malloc for them.

use std::ptr::NonNull;

use pgrx::pg_sys;

use crate::pg::varlena::palloc;

/// What most buffers need.
const FIRST: usize = 256;

/// Grows in the current memory context; freed when dropped. At most [`Buffer::most`] bytes: what would be more
/// is left out, and told by [`Buffer::bytes`].
pub struct Buffer {
    memory: NonNull<u8>,
    size: usize,
    len: usize,
    most: usize,
}

impl Buffer {
    /// Empty, for `most` bytes at most: less than PostgreSQL's limit of an allocation.
    pub fn of_most(most: usize) -> Buffer {
        let size = FIRST.min(most).max(1);
        // SAFETY: palloc answers with memory of that size, or raises.
        let memory = unsafe { NonNull::new_unchecked(palloc(size).cast::<u8>()) };
        Buffer { memory, size, len: 0, most }
    }

    /// Appends `bytes`.
    #[inline]
    pub fn push(&mut self, bytes: &[u8]) {
        let end = self.len.saturating_add(bytes.len());
        if end > self.most {
            return self.overflow();
        }
        if end > self.size {
            self.grow(end);
        }
        // SAFETY: `size` bytes are ours, and `end` is not more.
        unsafe {
            let at = self.memory.as_ptr().add(self.len);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), at, bytes.len());
        }
        self.len = end;
    }

    /// As if more had been written than it takes.
    pub fn overflow(&mut self) {
        self.len = usize::MAX;
    }

    #[inline(never)]
    fn grow(&mut self, end: usize) {
        let size = end.next_power_of_two().min(self.most);
        // SAFETY: the memory was palloc'd, and is nobody else's; repalloc raises when there is none.
        unsafe {
            let memory = pg_sys::repalloc(self.memory.as_ptr().cast(), size);
            self.memory = NonNull::new_unchecked(memory.cast());
        }
        self.size = size;
    }

    /// What was written; `None` when it was too much.
    pub fn bytes(&self) -> Option<&[u8]> {
        // SAFETY: so many bytes were written.
        (self.len <= self.most)
            .then(|| unsafe { std::slice::from_raw_parts(self.memory.as_ptr(), self.len) })
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: palloc'd, and nobody else's.
            unsafe { pg_sys::pfree(self.memory.as_ptr().cast()) }
        }
    }
}
