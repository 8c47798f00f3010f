//! Bytes that grow, in PostgreSQL's memory: an allocation that fails there ends the statement, not the process.

use std::ptr::NonNull;

use pgrx::pg_sys;

use crate::pg::varlena::{MAX_LEN, palloc};

/// Bytes in the memory context that was current when they were made; given back when this is dropped.
pub struct Growing {
    bytes: NonNull<u8>,
    len: usize,
    room: usize,
}

impl Growing {
    /// A copy of `bytes`, of which there are at most [`MAX_LEN`].
    pub fn copy_of(bytes: &[u8]) -> Growing {
        let room = (bytes.len() * 2).clamp(256, MAX_LEN);
        // SAFETY: palloc answers with memory of that size, which is allowed, or raises.
        let memory = unsafe { NonNull::new_unchecked(palloc(room).cast::<u8>()) };
        let mut copy = Growing { bytes: memory, len: 0, room };
        copy.append(bytes);
        copy
    }

    /// Appends bytes; false, and nothing done, if there would be more than [`MAX_LEN`].
    pub fn push(&mut self, bytes: &[u8]) -> bool {
        if bytes.len() > MAX_LEN - self.len {
            return false;
        }
        if bytes.len() > self.room - self.len {
            let room = (self.len + bytes.len()).max(self.room * 2).min(MAX_LEN);
            // SAFETY: palloc'd by this type; repalloc answers with memory of that size, which is allowed, or raises.
            unsafe {
                let memory = pg_sys::repalloc(self.bytes.as_ptr().cast(), room);
                self.bytes = NonNull::new_unchecked(memory.cast());
            }
            self.room = room;
        }
        self.append(bytes);
        true
    }

    /// Appends what there is room for.
    fn append(&mut self, bytes: &[u8]) {
        // SAFETY: the caller saw to the room; what is appended is not in it.
        unsafe {
            let end = self.bytes.as_ptr().add(self.len);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), end, bytes.len());
        }
        self.len += bytes.len();
    }

    /// All of them.
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: as many were written.
        unsafe { std::slice::from_raw_parts(self.bytes.as_ptr(), self.len) }
    }
}

impl Drop for Growing {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: palloc'd by this type, and lent to nobody for longer than it lives.
            unsafe { pg_sys::pfree(self.bytes.as_ptr().cast()) }
        }
    }
}
