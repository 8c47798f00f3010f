//! Where secrets live: pages of their own, locked in memory, left out of core dumps, zeroed in a
//! child after fork, wiped when a secret is dropped and when the process ends. A page that nobody
//! may touch stands before and after them, so that running over the end of something else stops
//! there.

use std::alloc::Layout;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use zeroize::Zeroize;

use crate::error::{Error, Result};

/// The first chunk is 64 KiB: within the smallest common RLIMIT_MEMLOCK, and a whole number of
/// pages. Each is twice as large as the one before, up to a huge page: finding the pages of
/// thousands of keys costs as much as sealing does. Where so much cannot be locked it is less.
const FIRST_CHUNK: usize = 64 * 1024;
const LARGEST_CHUNK: usize = 2 * 1024 * 1024;

/// A cache line: slots start and end on one.
pub const LINE: usize = 64;

thread_local! {
    static ARENA: RefCell<Arena> = RefCell::new(Arena::default());
    static UNLOCKED: Cell<bool> = const { Cell::new(false) };
}

#[derive(Default)]
struct Arena {
    chunks: Vec<Chunk>,
    /// Bytes of the last chunk that have been given out.
    used: usize,
    /// Slots given back, by size.
    free: HashMap<usize, Vec<NonNull<u8>>>,
}

/// Memory mapped for as long as the process lives.
#[derive(Clone, Copy)]
struct Chunk {
    start: NonNull<u8>,
    size: usize,
}

/// An owner of a `T` in the arena; dropping it drops the `T` and wipes its slot.
pub struct Locked<T>(NonNull<T>);

impl<T> Locked<T> {
    /// Puts `value` into the arena.
    pub fn new(value: T) -> Result<Locked<T>> {
        let slot = ARENA.with_borrow_mut(|arena| arena.take(slot_size::<T>()))?.cast::<T>();
        // SAFETY: the slot is large and aligned enough, and nobody else's.
        unsafe { slot.as_ptr().write(value) };
        Ok(Locked(slot))
    }
}

impl<T> Deref for Locked<T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: written by `new`, ours until dropped. After a fork the child reads zeros, which
        // are a valid `T` for the types kept here; their users notice (the id of a key, the
        // transaction of a run of nonces, a derived key that is none).
        unsafe { self.0.as_ref() }
    }
}

impl<T> DerefMut for Locked<T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above, and `self` is borrowed alone.
        unsafe { self.0.as_mut() }
    }
}

impl<T> Drop for Locked<T> {
    fn drop(&mut self) {
        let (slot, size) = (self.0.cast::<u8>(), slot_size::<T>());
        // SAFETY: ours, dropped once; after that only bytes are left to wipe.
        unsafe {
            self.0.as_ptr().drop_in_place();
            wipe(slot, size);
        }
        // Already gone at thread exit; the slot is wiped, and the process ends.
        let _ = ARENA.try_with(|arena| {
            if let Ok(mut arena) = arena.try_borrow_mut() {
                arena.free.entry(size).or_default().push(slot);
            }
        });
    }
}

/// Whether every page so far is locked in memory.
pub fn is_memory_locked() -> bool {
    !UNLOCKED.get()
}

/// Zeroes everything, whoever still owns it: for the end of the process.
pub fn wipe_all() {
    let _ = ARENA.try_with(|arena| {
        if let Ok(arena) = arena.try_borrow() {
            for chunk in &arena.chunks {
                // SAFETY: the chunk is mapped for as long as the process lives.
                unsafe { wipe(chunk.start, chunk.size) };
            }
        }
    });
}

/// Whether no byte of this thread's secrets is left.
#[cfg(test)]
pub fn is_zero() -> bool {
    ARENA.with_borrow(|arena| {
        arena.chunks.iter().all(|chunk| {
            // SAFETY: mapped for as long as the process lives, and written by this thread alone.
            let bytes = unsafe { std::slice::from_raw_parts(chunk.start.as_ptr(), chunk.size) };
            bytes.iter().all(|byte| *byte == 0)
        })
    })
}

impl Arena {
    fn take(&mut self, size: usize) -> Result<NonNull<u8>> {
        if let Some(slot) = self.free.get_mut(&size).and_then(Vec::pop) {
            return Ok(slot);
        }
        let last = match self.chunks.last() {
            Some(chunk) if self.used + size <= chunk.size => *chunk,
            last => {
                let chunk = Chunk::locked(last.map_or(FIRST_CHUNK, Chunk::next_size))?;
                self.chunks.push(chunk);
                self.used = 0;
                chunk
            }
        };
        // SAFETY: `used + size` stays within the chunk.
        let slot = unsafe { last.start.add(self.used) };
        self.used += size;
        Ok(slot)
    }
}

fn slot_size<T>() -> usize {
    let layout = Layout::new::<T>();
    debug_assert!(layout.align() <= LINE && layout.size() <= FIRST_CHUNK);
    layout.size().next_multiple_of(LINE)
}

impl Chunk {
    fn next_size(&self) -> usize {
        LARGEST_CHUNK.min(self.size * 2)
    }

    /// As many bytes that are locked as there may be, at most `size`. Where none may the work goes
    /// on without, and `envelope.stats` says so.
    fn locked(mut size: usize) -> Result<Chunk> {
        loop {
            let (chunk, mapping) = Chunk::map(size)?;
            // SAFETY: the chunk, and then its mapping, which nobody uses yet.
            unsafe {
                if libc::mlock(chunk.start.as_ptr().cast(), size) == 0 {
                    return Ok(chunk);
                }
                if size == FIRST_CHUNK {
                    UNLOCKED.set(true);
                    return Ok(chunk);
                }
                libc::munmap(mapping.start.as_ptr().cast(), mapping.size);
            }
            size /= 2;
        }
    }

    /// Maps `size` bytes, aligned to it where that makes a huge page of them; also the whole
    /// mapping, with what stands before and after them.
    fn map(size: usize) -> Result<(Chunk, Chunk)> {
        // SAFETY: a fresh private mapping; rights and advice concern it alone. Where huge pages are
        // refused the work goes on.
        unsafe {
            let guard = usize::try_from(libc::sysconf(libc::_SC_PAGESIZE)).unwrap_or(FIRST_CHUNK);
            let alignment = if size == LARGEST_CHUNK { size } else { guard };
            let mapped = size + alignment + guard;
            let all = libc::mmap(
                std::ptr::null_mut(),
                mapped,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            );
            if all == libc::MAP_FAILED {
                return Err(Error::System(std::io::Error::last_os_error().to_string()));
            }
            let pages = all.byte_add(guard);
            let pages = pages.byte_add(pages.align_offset(alignment));
            if libc::mprotect(pages, size, libc::PROT_READ | libc::PROT_WRITE) != 0
                || libc::madvise(pages, size, libc::MADV_DONTDUMP) != 0
                || libc::madvise(pages, size, libc::MADV_WIPEONFORK) != 0
            {
                let error = std::io::Error::last_os_error().to_string();
                libc::munmap(all, mapped);
                return Err(Error::System(error));
            }
            if size == LARGEST_CHUNK {
                libc::madvise(pages, size, libc::MADV_HUGEPAGE);
            }
            match (NonNull::new(pages.cast()), NonNull::new(all.cast())) {
                (Some(start), Some(all)) => {
                    Ok((Chunk { start, size }, Chunk { start: all, size: mapped }))
                }
                _ => Err(Error::System("no memory".into())),
            }
        }
    }
}

/// # Safety
/// `size` bytes from `start` are writable and hold nothing that will be used.
unsafe fn wipe(start: NonNull<u8>, size: usize) {
    // SAFETY: by contract.
    unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), size) }.zeroize();
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_dropped_secret_is_wiped_and_its_slot_used_again() {
        let first = Locked::new([7u8; 32]).unwrap();
        let slot = first.0;
        drop(first);
        // SAFETY: the page stays mapped.
        assert_eq!(unsafe { slot.as_ptr().read() }, [0; 32]);
        assert_eq!(Locked::new([8u8; 32]).unwrap().0, slot);
    }

    #[test]
    fn secrets_do_not_overlap_across_chunks() {
        let many: Vec<_> = (0..4_000u16).map(|i| Locked::new([i; 512]).unwrap()).collect();
        assert!(many.iter().zip(0..).all(|(secret, i)| secret.iter().all(|&n| n == i)));
    }

    #[test]
    fn all_is_wiped_at_the_end() {
        let secret = Locked::new([9u8; 64]).unwrap();
        wipe_all();
        assert_eq!(*secret, [0; 64]);
    }
}
